// google.rpc details.
#include "daemon/rpc/status_map.h"

#include <google/rpc/error_details.pb.h>
#include <spdlog/spdlog.h>

#include <weft/base/limits.h>

namespace weft {
namespace {

constexpr int kRestartMs = 1000;

void add_detail(google::rpc::Status& status, const google::protobuf::Message& detail) {
  status.add_details()->PackFrom(detail);
}

// Status and details travel as metadata, of which clients take 8 KiB in all.
std::string shortened(std::string_view message) {
  if (message.size() <= limits::kStatusMessageBytes) return std::string(message);
  size_t end = limits::kStatusMessageBytes;
  while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xC0) == 0x80) --end;
  return std::string(message.substr(0, end)) + "…";
}

}  // namespace

google::rpc::Status to_rpc_status(const Status& status) {
  const std::string message = shortened(from_absl(status.message()));
  google::rpc::Status rich;
  rich.set_code(static_cast<int>(status.code()));
  rich.set_message(message);
  if (const std::string field = field_of(status); !field.empty()) {
    google::rpc::BadRequest detail;
    auto* violation = detail.add_field_violations();
    violation->set_field(field);
    violation->set_description(message);
    add_detail(rich, detail);
  }
  if (const int retry_ms = retry_ms_of(status); retry_ms > 0) {
    google::rpc::RetryInfo detail;
    detail.mutable_retry_delay()->set_seconds(retry_ms / 1000);
    detail.mutable_retry_delay()->set_nanos(retry_ms % 1000 * 1'000'000);
    add_detail(rich, detail);
  }
  if (status.code() == StatusCode::kResourceExhausted) {
    google::rpc::QuotaFailure detail;
    detail.add_violations()->set_description(message);
    add_detail(rich, detail);
  }
  return rich;
}

grpc::Status to_grpc(const Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const google::rpc::Status rich = to_rpc_status(status);
  return {static_cast<grpc::StatusCode>(status.code()), rich.message(),
          rich.details().empty() ? std::string() : rich.SerializeAsString()};
}

Status cancelled_error(CancelReason reason) {
  switch (reason) {
    case CancelReason::kDeadline:
      return make_status(StatusCode::kDeadlineExceeded,
                         "the deadline passed before the answer was there: allow more time");
    case CancelReason::kShutdown:
      return shutting_down_error();
    default:
      return make_status(StatusCode::kCancelled, "the call was cancelled");
  }
}

Status failed_error(const std::exception& failure) {
  spdlog::error("a request failed: {}", failure.what());
  return make_status(StatusCode::kInternal,
                     "the server failed at this request: its log says why, tell its operator");
}

Status shutting_down_error() {
  return retry_error(StatusCode::kUnavailable, "this server is shutting down: connect again",
                     kRestartMs);
}

}  // namespace weft
