// sleep_for, yield_now, set_task_name: what a task can ask of the loop itself.
#pragma once

#include <chrono>
#include <string>

#include <weft/runtime/event_loop.h>

namespace weft {

// co_await yield_now(): lets every other ready task run first.
class [[nodiscard]] yield_now final : public Waiter {
 public:
  bool await_ready() noexcept { return refused(); }
  void await_suspend(std::coroutine_handle<> handle) noexcept {
    park(handle);
    complete();
  }
  void await_resume() const { check(); }
  bool cancel() noexcept override { return true; }  // never parked long enough to be cancelled
  std::string_view what() const override { return "its turn"; }
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
