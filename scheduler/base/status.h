// Expected failures: absl's Status with the codes gRPC uses, built from std strings.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <string>
#include <string_view>

namespace weft {

using absl::Status;
using absl::StatusCode;
using absl::StatusOr;

// Debian's absl has a string_view of its own; this is the one place that knows.
inline absl::string_view to_absl(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view from_absl(absl::string_view text) { return {text.data(), text.size()}; }

// Every message is one sentence that says what to do.
inline Status make_status(StatusCode code, std::string_view message) {
  return Status(code, to_absl(message));
}

// INVALID_ARGUMENT that names the request field at fault; clients get it as BadRequest detail.
Status field_error(std::string_view field, std::string_view message);
// RESOURCE_EXHAUSTED or UNAVAILABLE that is worth trying again after `retry_ms`; clients get it as
// RetryInfo detail.
Status retry_error(StatusCode code, std::string_view message, int retry_ms);

// What the two functions above attached; empty or 0 when nothing.
std::string field_of(const Status& status);
int retry_ms_of(const Status& status);

}  // namespace weft

// WEFT_RETURN_IF_ERROR(expression): returns its Status from a function when it is not OK.
#define WEFT_RETURN_IF_ERROR(expression)                      \
  do {                                                        \
    if (auto weft_status = (expression); !weft_status.ok()) { \
      return weft_status;                                     \
    }                                                         \
  } while (false)
