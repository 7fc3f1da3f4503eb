// Losses and repeats of a stream, without the calls.
#include <utility>

#include <weft/client/rpc_status.h>
#include <weft/client/stream_progress.h>
#include <weft/client/text.h>

namespace weft {
namespace {

// A call that lived this long was a working one: the next loss starts its own count of tries.
constexpr auto kSettledCall = std::chrono::seconds(5);

StreamProgress::Deadline deadline_in(int64_t deadline_ms) {
  if (deadline_ms <= 0) return std::nullopt;
  return std::chrono::system_clock::now() + std::chrono::milliseconds(deadline_ms);
}

}  // namespace

StreamProgress::StreamProgress(const ClientOptions& options, uint64_t seed,
                               const std::string& job_id, uint64_t from_sequence,
                               int64_t deadline_ms)
    : options_(options),
      deadline_(deadline_in(deadline_ms)),
      cursor_(from_sequence),
      backoff_(seed),
      failure_(check_text("id", job_id)) {}

StatusOr<bool> StreamProgress::on_event(v1::Event& event) {
  met_server_ = true;
  backoff_.reset();
  if (Status status = cursor_.accept(event); !status.ok()) return fail(std::move(status));
  if (event.has_chunks() && event.chunks().data_size() == 0) return false;
  ended_ = event.has_finished();
  return true;
}

std::optional<std::chrono::milliseconds> StreamProgress::on_lost(grpc::Status ended) {
  if (ended.ok()) {
    ended =
        grpc::Status(grpc::StatusCode::UNAVAILABLE, "the stream ended before its job: try again");
  }
  Status status = status_from_grpc(ended, options_.server);
  if (status.code() != StatusCode::kUnavailable) {
    fail(std::move(status));
    return std::nullopt;
  }
  if (!is_connect_failure(ended)) {
    met_server_ = true;
    if (std::chrono::steady_clock::now() - opened_at_ > kSettledCall) backoff_.reset();
  }
  const auto wait = backoff_.next(met_server_ ? options_.reconnect_for_ms : options_.retry_for_ms);
  if (!wait) {
    if (!met_server_) mark_unreached(&status);
    fail(std::move(status));
  }
  return wait;
}

const Status& StreamProgress::fail(Status status) {
  failure_ = std::move(status);
  return failure_;
}

}  // namespace weft
