// Status helpers: details travel as absl payloads until the gRPC edge turns them into messages.
#include <charconv>

#include <weft/base/status.h>

namespace weft {
namespace {

constexpr char kFieldUrl[] = "weft.field";
constexpr char kRetryUrl[] = "weft.retry_ms";

std::string payload_of(const Status& status, const char* url) {
  auto payload = status.GetPayload(url);
  return payload.has_value() ? std::string(*payload) : std::string();
}

}  // namespace

Status field_error(std::string_view field, std::string_view message) {
  Status status = make_status(StatusCode::kInvalidArgument, message);
  status.SetPayload(kFieldUrl, absl::Cord(to_absl(field)));
  return status;
}

Status retry_error(StatusCode code, std::string_view message, int retry_ms) {
  Status status = make_status(code, message);
  // From a view: clang mangles Cord's string template otherwise than the g++ that built Debian's
  // absl.
  status.SetPayload(kRetryUrl, absl::Cord(to_absl(std::to_string(retry_ms))));
  return status;
}

std::string field_of(const Status& status) { return payload_of(status, kFieldUrl); }

int retry_ms_of(const Status& status) {
  const std::string text = payload_of(status, kRetryUrl);
  int value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace weft
