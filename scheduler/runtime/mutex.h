// Mutex: keeps other tasks out across awaits. Between two awaits no lock is ever needed.
#pragma once

#include <string>
#include <utility>

#include <weft/runtime/event_loop.h>
#include <weft/runtime/wait_graph.h>

namespace weft {

// Fair: tasks get it in the order they asked. Thread: the loop's. Lifetime: outlives its locks; a
// lock stays in the task that took it.
// Errors: lock() throws DeadlockError, naming the cycle, when the wait could never end.
class Mutex {
 public:
  class [[nodiscard]] Lock {
   public:
    Lock(Lock&& other) noexcept : mutex_(std::exchange(other.mutex_, nullptr)) {}
    Lock& operator=(Lock&&) = delete;
    ~Lock() {
      if (mutex_ != nullptr) mutex_->unlock();
    }

   private:
    friend class Mutex;
    explicit Lock(Mutex& mutex) : mutex_(&mutex) {}
    Mutex* mutex_;
  };

  class [[nodiscard]] LockWaiter final : public Waiter, public ListNode<LockWaiter> {
   public:
    explicit LockWaiter(Mutex& mutex) : mutex_(mutex) {}
    bool await_ready() {
      if (refused()) return true;
      TaskContext* self = EventLoop::current()->context();
      if (mutex_.owner_ == nullptr) {
        mutex_.owner_ = self;
        return true;
      }
      deadlock_ = find_wait_cycle(*self, *this).description;
      return !deadlock_.empty();
    }
    void await_suspend(std::coroutine_handle<> handle) noexcept {
      park(handle);
      ++waiting_;
      mutex_.waiters_.push_back(*this);
    }
    Lock await_resume() {
      check();
      if (!deadlock_.empty()) throw DeadlockError(deadlock_);
      return Lock(mutex_);
    }
    bool cancel() noexcept override {
      --waiting_;
      unlink();
      return true;
    }
    void visit_blockers(BlockerVisitor& visitor) override {
      if (mutex_.owner_ != nullptr) visitor.visit(*mutex_.owner_, *this);
    }
    std::string_view what() const override { return mutex_.what_; }
    // Ends the wait with DeadlockError: the way out of a cycle that another wait closed.
    void fail(std::string deadlock) noexcept {
      deadlock_ = std::move(deadlock);
      --waiting_;
      unlink();
      complete();
    }
    // How many tasks of this thread wait for some mutex; 0 means that no join can deadlock.
    static size_t waiting() { return waiting_; }

   private:
    friend class Mutex;
    inline static constinit thread_local size_t waiting_ = 0;
    Mutex& mutex_;
    std::string deadlock_;
  };

  explicit Mutex(const std::string& name = "unnamed") : what_("mutex '" + name + "'") {}
  ~Mutex() { WEFT_CHECK(owner_ == nullptr && waiters_.empty(), "a mutex outlives its locks"); }
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  // auto lock = co_await mutex.lock();
  LockWaiter lock() { return LockWaiter(*this); }

 private:
  void unlock() noexcept {
    WEFT_DCHECK(EventLoop::current() != nullptr, "a lock is released on the loop thread");
    LockWaiter* next = waiters_.pop_front();
    owner_ = next == nullptr ? nullptr : next->context();
    if (next == nullptr) return;
    --LockWaiter::waiting_;
    next->complete();
  }

  std::string what_;
  TaskContext* owner_ = nullptr;
  IntrusiveList<LockWaiter, LockWaiter> waiters_;
};

}  // namespace weft
