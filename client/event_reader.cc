// The reconnecting read loop that watches and attachments share.
#include <algorithm>
#include <utility>

#include <weft/client/event_reader.h>
#include <weft/client/rpc_status.h>
#include <weft/client/text.h>

namespace weft {
namespace {

// A call that lived this long was a working one: the next loss starts its own count of tries.
constexpr auto kSettledCall = std::chrono::seconds(5);

EventReader::Deadline deadline_in(int64_t deadline_ms) {
  if (deadline_ms <= 0) return std::nullopt;
  return std::chrono::system_clock::now() + std::chrono::milliseconds(deadline_ms);
}

Status stopped_status() {
  return make_status(StatusCode::kCancelled, "the reader was stopped: open another one to go on");
}

}  // namespace

EventReader::EventReader(std::shared_ptr<ClientCore> core, const std::string& job_id,
                         uint64_t from_sequence, int64_t deadline_ms, Open open, Closed closed)
    : core_(std::move(core)),
      open_(std::move(open)),
      closed_(std::move(closed)),
      deadline_(deadline_in(deadline_ms)),
      cursor_(from_sequence),
      backoff_(core_->random()),
      failure_(check_text("id", job_id)) {}

EventReader::~EventReader() {
  if (call_ == nullptr) return;
  call_->cancel();
  close_call();
}

grpc::Status EventReader::close_call() {
  closed_();
  v1::Event rest;
  while (call_->read(&rest)) {
  }
  grpc::Status status = call_->finish();
  std::lock_guard lock(mutex_);
  call_ = nullptr;
  return status;
}

bool EventReader::pause(std::chrono::milliseconds duration) {
  constexpr std::chrono::milliseconds kSlice(100);  // how late stop() may be noticed
  const bool connected = core_->channel->GetState(false) == GRPC_CHANNEL_READY;
  while (duration.count() > 0) {
    if (std::lock_guard lock(mutex_); stopped_) return false;
    core_->wait_to_reconnect(std::min(duration, kSlice));
    if (!connected && core_->channel->GetState(false) == GRPC_CHANNEL_READY) break;
    duration -= kSlice;
  }
  std::lock_guard lock(mutex_);
  return !stopped_;
}

Status EventReader::fail(Status status) {
  failure_ = std::move(status);
  return failure_;
}

StatusOr<std::optional<v1::Event>> EventReader::next() {
  if (!failure_.ok()) return failure_;
  if (ended_) return std::optional<v1::Event>();
  for (;;) {
    if (call_ == nullptr) {
      opened_at_ = std::chrono::steady_clock::now();
      auto call = open_(cursor_.next(), deadline_);
      std::lock_guard lock(mutex_);
      call_ = std::move(call);
      if (stopped_) call_->cancel();
    }
    v1::Event event;
    while (call_->read(&event)) {
      met_server_ = true;
      backoff_.reset();
      if (Status status = cursor_.accept(event); !status.ok()) {
        call_->cancel();
        close_call();
        return fail(std::move(status));
      }
      if (event.has_chunks() && event.chunks().data_size() == 0) continue;
      if (event.has_finished()) {
        ended_ = true;
        close_call();
      }
      return std::optional<v1::Event>(std::move(event));
    }

    grpc::Status ended = close_call();
    if (std::lock_guard lock(mutex_); stopped_) return fail(stopped_status());
    if (ended.ok()) {
      ended =
          grpc::Status(grpc::StatusCode::UNAVAILABLE, "the stream ended before its job: try again");
    }
    Status status = status_from_grpc(ended, core_->options.server);
    if (status.code() != StatusCode::kUnavailable) return fail(std::move(status));
    if (!is_connect_failure(ended)) {
      met_server_ = true;
      if (std::chrono::steady_clock::now() - opened_at_ > kSettledCall) backoff_.reset();
    }
    const auto wait =
        backoff_.next(met_server_ ? core_->options.reconnect_for_ms : core_->options.retry_for_ms);
    if (!wait) {
      if (!met_server_) mark_unreached(&status);
      return fail(std::move(status));
    }
    if (!pause(*wait)) return fail(stopped_status());
  }
}

void EventReader::stop() {
  std::lock_guard lock(mutex_);
  stopped_ = true;
  if (call_ != nullptr) call_->cancel();
}

}  // namespace weft
