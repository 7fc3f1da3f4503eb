// sleep_for, yield_now, set_task_name: what a task can ask of the loop itself.
#pragma once

#include <chrono>
#include <string>

#include <weft/runtime/event_loop.h>

namespace weft {

// co_await yield_now(): lets every other ready task run first. It never parks, so a cancellation
// that arrives meanwhile is thrown by the next await.
class [[nodiscard]] yield_now {
 public:
  bool await_ready() noexcept {
    reason_ = EventLoop::current()->context()->scope()->reason();
    return reason_ != CancelReason::kNone;
  }
  void await_suspend(std::coroutine_handle<> handle) { EventLoop::current()->requeue(handle); }
  void await_resume() const {
    if (reason_ != CancelReason::kNone) throw Cancelled(reason_);
  }

 private:
  CancelReason reason_ = CancelReason::kNone;
};

// co_await sleep_for(duration). Cancellation: wakes at once and throws.
class [[nodiscard]] sleep_for final : public Waiter, private Timer {
 public:
  explicit sleep_for(std::chrono::nanoseconds delay) : delay_(delay) {}
  bool await_ready() noexcept { return refused(); }
  void await_suspend(std::coroutine_handle<> handle) {
    park(handle);
    EventLoop* loop = EventLoop::current();
    loop->arm(*this, loop->after_ns(delay_));
  }
  void await_resume() const { check(); }
  bool cancel() noexcept override {
    EventLoop::current()->disarm(*this);
    return true;
  }
  std::string_view what() const override { return "a timer"; }

 private:
  void fire() override { complete(); }
  std::chrono::nanoseconds delay_;
};

// Names the running task for people: shown when a deadlock is refused.
inline void set_task_name(std::string name) {
  EventLoop::current()->context()->set_name(std::move(name));
}

}  // namespace weft
