// Semaphore: at most so many tasks at once.
#pragma once

#include <utility>

#include <weft/runtime/event_loop.h>

namespace weft {

// Fair: a task that asks for many is not overtaken by later ones that ask for few.
// Thread: the loop's. Lifetime: outlives its permits. Anybody may give a permit back, so a deadlock
// over semaphores is not seen (wait_graph.h).
class Semaphore {
 public:
  class [[nodiscard]] Permit {
   public:
    Permit(Permit&& other) noexcept
        : semaphore_(std::exchange(other.semaphore_, nullptr)), count_(other.count_) {}
    Permit& operator=(Permit&&) = delete;
    ~Permit() {
      if (semaphore_ != nullptr) semaphore_->release(count_);
    }

   private:
    friend class Semaphore;
    Permit(Semaphore& semaphore, size_t count) : semaphore_(&semaphore), count_(count) {}
    Semaphore* semaphore_;
    size_t count_;
  };

  class [[nodiscard]] PermitWaiter final : public Waiter, public ListNode<PermitWaiter> {
   public:
    PermitWaiter(Semaphore& semaphore, size_t count) : semaphore_(semaphore), count_(count) {}
    bool await_ready() noexcept {
      if (refused()) return true;
      if (!semaphore_.waiters_.empty() || semaphore_.free_ < count_) return false;
      semaphore_.free_ -= count_;
      return true;
    }
    void await_suspend(std::coroutine_handle<> handle) noexcept {
      park(handle);
      semaphore_.waiters_.push_back(*this);
    }
    Permit await_resume() {
      check();
      return Permit(semaphore_, count_);
    }
    bool cancel() noexcept override {
      unlink();
      semaphore_.hand_out();  // those behind a large request may go now
      return true;
    }
    std::string_view what() const override { return "a semaphore"; }

   private:
    friend class Semaphore;
    Semaphore& semaphore_;
    size_t count_;
  };

  explicit Semaphore(size_t permits) : free_(permits), permits_(permits) {}
  ~Semaphore() {
    WEFT_CHECK(free_ == permits_ && waiters_.empty(), "a semaphore outlives its permits");
  }
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  size_t free() const { return free_; }
  // auto permit = co_await semaphore.acquire();  count must not exceed the semaphore's permits.
  PermitWaiter acquire(size_t count = 1) {
    WEFT_CHECK(count <= permits_, "a request fits into the semaphore");
    return PermitWaiter(*this, count);
  }

 private:
  void release(size_t count) noexcept {
    free_ += count;
    hand_out();
  }
  void hand_out() noexcept {
    WEFT_DCHECK(EventLoop::current() != nullptr, "a permit is released on the loop thread");
    while (!waiters_.empty() && waiters_.front().count_ <= free_) {
      PermitWaiter* waiter = waiters_.pop_front();
      free_ -= waiter->count_;
      waiter->complete();
    }
  }

  size_t free_;
  size_t permits_;
  IntrusiveList<PermitWaiter, PermitWaiter> waiters_;
};

}  // namespace weft
