// The reconnecting read loop that watches and attachments share.
#include <algorithm>
#include <utility>

#include <weft/client/event_reader.h>

namespace weft {
namespace {

Status stopped_status() {
  return make_status(StatusCode::kCancelled, "the reader was stopped: open another one to go on");
}

}  // namespace

EventReader::EventReader(std::shared_ptr<ClientCore> core, const std::string& job_id,
                         uint64_t from_sequence, int64_t deadline_ms, Open open, Closed closed)
    : core_(std::move(core)),
      open_(std::move(open)),
      closed_(std::move(closed)),
      progress_(core_->options, core_->random(), job_id, from_sequence, deadline_ms) {}

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

StatusOr<std::optional<v1::Event>> EventReader::next() {
  if (!progress_.failure().ok()) return progress_.failure();
  if (progress_.ended()) return std::optional<v1::Event>();
  for (;;) {
    if (call_ == nullptr) {
      progress_.on_open();
      auto call = open_(progress_.next_sequence(), progress_.deadline());
      std::lock_guard lock(mutex_);
      call_ = std::move(call);
      if (stopped_) call_->cancel();
    }
    v1::Event event;
    while (call_->read(&event)) {
      const StatusOr<bool> deliver = progress_.on_event(event);
      if (!deliver.ok()) {
        call_->cancel();
        close_call();
        return deliver.status();
      }
      if (!*deliver) continue;
      if (progress_.ended()) close_call();
      return std::optional<v1::Event>(std::move(event));
    }

    grpc::Status ended = close_call();
    if (std::lock_guard lock(mutex_); stopped_) return progress_.fail(stopped_status());
    const auto wait = progress_.on_lost(std::move(ended));
    if (!wait) return progress_.failure();
    if (!pause(*wait)) return progress_.fail(stopped_status());
  }
}

void EventReader::stop() {
  std::lock_guard lock(mutex_);
  stopped_ = true;
  if (call_ != nullptr) call_->cancel();
}

}  // namespace weft
