// Slots: how many jobs run at once. Jobs that resume are served before new ones.
#pragma once

#include <weft/runtime/event.h>
#include <weft/runtime/event_loop.h>

namespace weft {

// Thread: the loop's. Lifetime: outlives the jobs that hold or await a slot.
class Slots {
 public:
  class [[nodiscard]] SlotWaiter final : public Waiter, public ListNode<SlotWaiter> {
   public:
    explicit SlotWaiter(Slots& slots) : slots_(slots) {}
    bool await_ready() noexcept { return refused() || slots_.reserve(1) == 1; }
    void await_suspend(std::coroutine_handle<> handle) noexcept {
      park(handle);
      slots_.resuming_.push_back(*this);
    }
    void await_resume() const { check(); }
    bool cancel() noexcept override {
      unlink();
      return true;
    }
    std::string_view what() const override { return "a slot"; }

   private:
    friend class Slots;
    Slots& slots_;
  };

  // `freed` is set when a slot is free and no job waits for it.
  Slots(size_t count, Event& freed) : total_(count), free_(count), freed_(freed) {}
  ~Slots() { WEFT_CHECK(free_ == total_, "slots outlive the jobs in them"); }
  Slots(const Slots&) = delete;
  Slots& operator=(const Slots&) = delete;

  size_t free() const { return free_; }
  size_t used() const { return total_ - free_; }
  // Takes up to `wanted` slots at once; returns how many.
  size_t reserve(size_t wanted) {
    const size_t given = wanted < free_ ? wanted : free_;
    free_ -= given;
    return given;
  }
  // co_await slots.acquire(): for a job that resumes.
  SlotWaiter acquire() { return SlotWaiter(*this); }
  void release() {
    if (SlotWaiter* waiter = resuming_.pop_front()) {
      waiter->complete();
      return;
    }
    ++free_;
    freed_.set();
  }

 private:
  const size_t total_;
  size_t free_;
  Event& freed_;
  IntrusiveList<SlotWaiter, SlotWaiter> resuming_;
};

}  // namespace weft
