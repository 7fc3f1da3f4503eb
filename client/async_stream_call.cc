// Start, then read after read, then finish: each asked for when the one before has ended.
#include <weft/client/async_stream_call.h>

namespace weft {

void AsyncStreamCall::start() { start_call(start_.start()); }

void AsyncStreamCall::on_start(bool ok) {
  if (abandoned()) return;
  if (!ok) return finish();
  read_event(&event_, read_.start());
  on_open();
}

v1::Event AsyncStreamCall::take() {
  v1::Event event = std::move(event_);
  event_.Clear();
  has_event_ = false;
  read_event(&event_, read_.start());
  return event;
}

void AsyncStreamCall::on_read(bool ok) {
  if (ok) {
    has_event_ = true;
  } else if (!abandoned()) {
    finish();
  }
}

void AsyncStreamCall::finish() {
  if (std::exchange(finishing_, true)) return;
  finish_call(&status_, finish_.start());
}

void AsyncStreamCall::on_finish(bool) { finished_ = true; }

AsyncWatchCall::AsyncWatchCall(AsyncCore& core, Semaphore::Permit permit,
                               const v1::WatchRequest& request,
                               std::optional<std::chrono::system_clock::time_point> deadline)
    : AsyncStreamCall(core, std::move(permit)) {
  if (deadline) context.set_deadline(*deadline);
  stream_ = core.client().stub->PrepareAsyncWatch(&context, request, core.queue());
  start();
}

AsyncAttachCall::AsyncAttachCall(AsyncCore& core, Semaphore::Permit permit,
                                 std::shared_ptr<AttachState> state, uint64_t from_sequence,
                                 std::optional<std::chrono::system_clock::time_point> deadline)
    : AsyncStreamCall(core, std::move(permit)),
      state_(std::move(state)),
      from_sequence_(from_sequence) {
  if (deadline) context.set_deadline(*deadline);
  stream_ = core.client().stub->PrepareAsyncAttach(&context, core.queue());
  start();
}

void AsyncAttachCall::on_open() {
  open_ = true;
  request_ = state_->open(from_sequence_);
  writing_ = true;
  stream_->Write(request_, write_.start());
}

void AsyncAttachCall::pump() {
  if (!open_ || writing_ || abandoned()) return;
  if (closing_) {
    open_ = false;
    writing_ = true;
    stream_->WritesDone(write_.start());
    return;
  }
  std::optional<v1::AttachRequest> request = state_->take_unwritten();
  if (!request) return;
  request_ = *std::move(request);
  writing_ = true;
  stream_->Write(request_, write_.start());
}

void AsyncAttachCall::half_close() {
  closing_ = true;
  pump();
}

// A write to a broken call is dropped: the reader notices, and another call is told everything.
void AsyncAttachCall::on_write(bool ok) {
  writing_ = false;
  if (!ok) open_ = false;
  pump();
}

}  // namespace weft
