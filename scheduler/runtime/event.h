// Event: a flag that tasks wait for.
#pragma once

#include <weft/runtime/event_loop.h>

namespace weft {

// Thread: the loop's. Lifetime: outlives its waits. Anybody may set it, so a deadlock over events
// is not seen (wait_graph.h).
class Event {
 public:
  class [[nodiscard]] EventWaiter final : public Waiter, public ListNode<EventWaiter> {
   public:
    explicit EventWaiter(Event& event) : event_(event) {}
    bool await_ready() noexcept { return refused() || event_.set_; }
    void await_suspend(std::coroutine_handle<> handle) noexcept {
      park(handle);
      event_.waiters_.push_back(*this);
    }
    void await_resume() const { check(); }
    bool cancel() noexcept override {
      unlink();
      return true;
    }
    std::string_view what() const override { return "an event"; }

   private:
    friend class Event;
    Event& event_;
  };

  Event() = default;
  ~Event() { WEFT_CHECK(waiters_.empty(), "an event outlives its waits"); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  bool is_set() const { return set_; }
  // Lets every waiting task go on, and all later ones until reset().
  void set() {
    set_ = true;
    notify_all();
  }
  void reset() { set_ = false; }
  // Lets go on those that wait now; the flag stays as it is.
  void notify_all() {
    WEFT_DCHECK(EventLoop::current() != nullptr, "an event is used on the loop thread");
    while (EventWaiter* waiter = waiters_.pop_front()) waiter->complete();
  }
  // co_await event.wait(): returns at once while set.
  EventWaiter wait() { return EventWaiter(*this); }

 private:
  bool set_ = false;
  IntrusiveList<EventWaiter, EventWaiter> waiters_;
};

}  // namespace weft
