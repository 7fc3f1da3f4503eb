// The reconnecting read loop of async watches and attachments.
#include <weft/client/async_event_reader.h>
#include <weft/runtime/sleep.h>

namespace weft {

Task<StatusOr<std::optional<v1::Event>>> AsyncEventReader::next() {
  for (;;) {
    if (!progress_.failure().ok()) co_return progress_.failure();
    if (progress_.ended()) {
      // The server's last word, so that it does not take a normal end for a lost reader.
      if (call_ != nullptr) call_->half_close();
      while (call_ != nullptr && !call_->finished()) {
        if (call_->has_event()) call_->take();
        if (!call_->finished()) co_await call_->change();
      }
      call_.reset();
      co_return std::optional<v1::Event>();
    }
    if (call_ == nullptr) {
      Semaphore::Permit permit = co_await core_->streams.acquire();
      progress_.on_open();
      call_.reset(open_(std::move(permit), progress_.next_sequence(), progress_.deadline()));
    }
    while (!call_->has_event() && !call_->finished()) co_await call_->change();
    if (call_->has_event()) {
      v1::Event event = call_->take();
      const StatusOr<bool> deliver = progress_.on_event(event);
      if (!deliver.ok()) call_.reset();
      if (deliver.ok() && *deliver) co_return std::optional<v1::Event>(std::move(event));
    } else {
      const auto pause = progress_.on_lost(call_->status());
      call_.reset();
      if (pause) co_await sleep_for(*pause);
    }
  }
}

}  // namespace weft
