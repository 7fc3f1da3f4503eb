// UNAVAILABLE is tried again, within the client's limits.
#include <weft/client/call_retry.h>
#include <weft/client/rpc_status.h>

namespace weft {

CallRetry::CallRetry(const ClientOptions& options, uint64_t seed)
    : options_(options),
      deadline_(std::chrono::system_clock::now() +
                std::chrono::milliseconds(options.call_deadline_ms)),
      backoff_(seed) {}

std::optional<std::chrono::milliseconds> CallRetry::after(const grpc::Status& answer,
                                                          Status* status) {
  *status = status_from_grpc(answer, options_.server);
  if (status->code() != StatusCode::kUnavailable) return std::nullopt;
  reached_ = reached_ || !is_connect_failure(answer);
  const auto pause = backoff_.next(options_.retry_for_ms);
  if (pause && std::chrono::system_clock::now() + *pause < deadline_) return pause;
  if (!reached_) mark_unreached(status);
  return std::nullopt;
}

}  // namespace weft
