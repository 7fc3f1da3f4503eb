// Sentences for failures that gRPC itself reports.
#include <string_view>

#include <weft/client/rpc_status.h>

namespace weft {
namespace {

constexpr char kUnreached[] = "weft/unreached";

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// "failed to connect…; last error: UNKNOWN: ipv4:1.2.3.4:5: Failed to connect to remote host:
// Connection refused" → "Connection refused".
std::string last_part(const std::string& message) {
  const size_t colon = message.rfind(": ");
  return colon == std::string::npos ? message : message.substr(colon + 2);
}

// gRPC's own words for a connection that broke under a call.
bool is_lost_connection(const std::string& message) {
  for (const char* words : {"Socket closed", "Connection reset", "Broken pipe", "GOAWAY", "recvmsg",
                            "Endpoint read failed", "transport", "Transport", "keepalive"}) {
    if (contains(message, words)) return true;
  }
  return message.empty();
}

}  // namespace

bool is_connect_failure(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAVAILABLE &&
         (contains(status.error_message(), "failed to connect to all addresses") ||
          contains(status.error_message(), "DNS resolution failed") ||
          contains(status.error_message(), "empty address list"));
}

Status status_from_grpc(const grpc::Status& status, const std::string& server) {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<StatusCode>(status.error_code());
  const std::string& message = status.error_message();
  if (is_connect_failure(status)) {
    if (contains(message, "DNS resolution failed")) {
      return make_status(code, "the address of the server, " + server +
                                   ", cannot be resolved: check it, it has the form HOST:PORT");
    }
    return make_status(code, "no weftd answers at " + server + " (" + last_part(message) +
                                 "): start it, or check the address");
  }
  if (code == StatusCode::kUnavailable && is_lost_connection(message)) {
    return make_status(code, "the connection to weftd at " + server +
                                 " was lost: see whether it still runs, then try again");
  }
  if (code == StatusCode::kDeadlineExceeded && contains(message, "Deadline Exceeded")) {
    return make_status(code,
                       "weftd at " + server +
                           " did not finish the call before the deadline: try again with more "
                           "time");
  }
  if (code == StatusCode::kUnimplemented && message.empty()) {
    return make_status(code, "the server at " + server +
                                 " does not serve this: is it a weftd, "
                                 "and one that takes jobs (not --role worker)?");
  }
  return make_status(code, message);
}

void mark_unreached(Status* status) { status->SetPayload(kUnreached, absl::Cord()); }
bool is_unreached(const Status& status) { return status.GetPayload(kUnreached).has_value(); }

std::string code_name(StatusCode code) { return absl::StatusCodeToString(code); }

}  // namespace weft
