// EventLoop: one thread that runs every coroutine, one at a time, and waits for all of them at
// once.
//
// A turn: the tasks that were ready when it began (bounded in number) → mail from other threads →
// due timers → end-of-turn hooks → poll. While tasks are ready, the clock and the kernel are asked
// only every few turns. A task gives up the thread only where it awaits something
// that is not there yet; tasks go on in the order in which their answers arrive.
#pragma once

#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include <weft/base/clock.h>
#include <weft/base/histogram.h>
#include <weft/base/random.h>
#include <weft/base/ring.h>
#include <weft/runtime/cancellation.h>
#include <weft/runtime/mailbox.h>
#include <weft/runtime/poller.h>
#include <weft/runtime/task.h>
#include <weft/runtime/timer_heap.h>

namespace weft {

// Runs at the end of every turn in which it was requested: the place to send once what a turn
// collected. It may request other hooks for this same turn, but not itself. Lifetime: must not be
// destroyed while requested.
class TurnEndHook : public ListNode<TurnEndHook> {
 public:
  virtual void on_turn_end() = 0;

 protected:
  ~TurnEndHook() = default;
};

// Thrown by EventLoop::run when its task can never finish: nothing is ready, no timer is armed and
// nothing outside can wake it. Only a loop on a virtual clock can know this. By then the task has
// been cancelled (kShutdown) and has unwound; the loop is of no further use.
class NothingPending : public std::runtime_error {
 public:
  NothingPending()
      : std::runtime_error("the task waits, but nothing is pending that could wake it") {}
};

struct EventLoopOptions {
  Clock* clock = nullptr;                 // default: the real clock
  VirtualClock* virtual_clock = nullptr;  // if set: time stands still and jumps to the next timer
  std::optional<uint64_t> ready_seed;     // if set: ready tasks run in an order drawn from it
};

struct EventLoopStats {
  uint64_t turns = 0;
  uint64_t resumes = 0;
  uint64_t polls = 0;
  int64_t longest_busy_ns = 0;  // the longest time in which the kernel was not asked
  // The times in which it was not asked: an answer or a timer that came meanwhile was served so
  // late.
  Histogram lag;
};

// Thread: all members belong to the thread that made the loop, except post() and post_urgent().
// One loop a thread.
class EventLoop {
 public:
  explicit EventLoop(EventLoopOptions options = {});
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // The loop of this thread, or null.
  static EventLoop* current() { return current_; }

  // Runs until `main` has finished, and returns or throws what it did. Cancelled passes through.
  template <typename T>
  T run(Task<T> main);
  // The scope `main` runs in: cancelling it is how a signal stops the program.
  CancelScope& root_scope() { return root_scope_; }

  // Time as the loop last saw it (a few turns ago at most), and exact. Wall time is only for
  // showing and storing.
  int64_t now_ns() const { return now_ns_; }
  int64_t exact_now_ns() { return now_ns_ = clock_.monotonic_ns(); }
  // The time `delay` from now; one too far to count is the end of time.
  int64_t after_ns(std::chrono::nanoseconds delay) {
    int64_t at_ns;
    return __builtin_add_overflow(exact_now_ns(), delay.count(), &at_ns) ? INT64_MAX : at_ns;
  }
  int64_t wall_ns() const { return clock_.wall_ns(); }

  // Thread: any. Delivers `mail` on the loop thread.
  void post(Mail& mail) {
    if (mailbox_.post(&mail)) poller_.wake();
  }
  // Thread: any. Delivers `mail` on the loop thread before it resumes another task, even those that
  // were ready before. One at a time: it replaces what was not delivered yet.
  void post_urgent(Mail& mail) {
    urgent_.store(&mail, std::memory_order_release);
    poller_.wake();
  }
  // `mail` is not delivered any more. Whoever posts it has been stopped before.
  void withdraw_urgent(Mail& mail) {
    check_thread();
    Mail* posted = &mail;
    urgent_.compare_exchange_strong(posted, nullptr);
  }
  // Work that other threads owe the loop: while there is any, virtual time stands still.
  void begin_external() {
    check_thread();
    ++external_;
  }
  void end_external() {
    check_thread();
    --external_;
  }

  void arm(Timer& timer, int64_t at_ns) {
    check_thread();
    timers_.arm(timer, at_ns);
  }
  void disarm(Timer& timer) {
    check_thread();
    timers_.disarm(timer);
  }
  void at_turn_end(TurnEndHook& hook) {
    check_thread();
    hooks_.push_back(hook);
  }
  Poller& poller() {
    check_thread();
    return poller_;
  }
  const EventLoopStats& stats() const { return stats_; }

  // Thread: any. Since when the kernel was not asked, on the loop's clock; kIdle while it waits in
  // the kernel or does not run.
  static constexpr int64_t kIdle = INT64_MAX;
  int64_t busy_since_ns() const { return busy_since_ns_.load(std::memory_order_relaxed); }
  // Thread: any. Who runs; only for telling one from another.
  const void* running_id() {
    return std::atomic_ref<TaskContext*>(running_).load(std::memory_order_relaxed);
  }

  // For awaitables: the running context, and making a parked or new one ready.
  TaskContext* context() const { return running_; }
  void make_ready(TaskContext& context) {
    check_thread();
    WEFT_CHECK(
        context.state_ == TaskContext::State::kParked || context.state_ == TaskContext::State::kNew,
        "a context is made ready once per wait");
    context.state_ = TaskContext::State::kReady;
    context.waiter_ = nullptr;
    ready_.push_back({&context, context.handle_.address()});
  }
  // The running context goes on with `handle` when all that is ready now has run.
  void requeue(std::coroutine_handle<> handle) {
    check_thread();
    running_->state_ = TaskContext::State::kReady;
    ready_.push_back({running_, handle.address()});
  }
  // The trampoline: the running context goes on with `next` when the current coroutine returns. No
  // recursion, so a chain of a million awaits needs no stack.
  void resume_next(std::coroutine_handle<> next) { next_ = next; }
  // Destroys a finished root frame after the coroutine has returned.
  void destroy_after_return(std::coroutine_handle<> frame) {
    finished_ = frame;
    --tasks_;
  }
  void on_task_start() { ++tasks_; }
  // Tasks there are: running, ready or parked.
  size_t tasks() const { return tasks_; }

 private:
  // The frame stands beside the context, so that it can be fetched into the cache ahead of its
  // turn.
  struct ReadyTask {
    TaskContext* context;
    void* frame;
  };

  // Costs nothing in a release build; without it a call from another thread is a silent race.
  void check_thread() const { WEFT_DCHECK(current_ == this, "only on the thread of this loop"); }
  void run_until_done(const bool& done);
  void set_running(TaskContext* context) {
    std::atomic_ref<TaskContext*>(running_).store(context, std::memory_order_relaxed);
  }
  void set_busy_since(int64_t now_ns) { busy_since_ns_.store(now_ns, std::memory_order_relaxed); }
  void run_ready();
  void run_task(ReadyTask task);
  void deliver_urgent() {
    if (urgent_.load(std::memory_order_relaxed) == nullptr) [[likely]]
      return;
    if (Mail* mail = urgent_.exchange(nullptr, std::memory_order_acquire)) mail->deliver();
  }
  void run_timers();
  void run_hooks();
  void wait();

  inline static constinit thread_local EventLoop* current_ = nullptr;

  Clock& clock_;
  VirtualClock* virtual_clock_;
  std::optional<Random> shuffle_;
  std::vector<ReadyTask> shuffled_;
  Poller poller_;
  Mailbox mailbox_;
  TimerHeap timers_;
  IntrusiveList<TurnEndHook, TurnEndHook> hooks_;
  CancelScope root_scope_;
  Ring<ReadyTask> ready_;
  // Others read it too, so it is written atomically; the loop's own reads need no more than that.
  TaskContext* running_ = nullptr;
  std::atomic<int64_t> busy_since_ns_{kIdle};
  std::atomic<Mail*> urgent_{nullptr};
  std::coroutine_handle<> next_;
  std::coroutine_handle<> finished_;
  size_t tasks_ = 0;
  int64_t now_ns_ = 0;
  int64_t last_wait_ns_ = 0;
  int64_t external_ = 0;
  size_t resumes_since_poll_ = 0;
  size_t turns_since_poll_ = 0;
  EventLoopStats stats_;
};

// Told when a root task has ended. Thread: the loop's.
class TaskObserver {
 public:
  virtual void on_task_end(std::exception_ptr error, CancelReason cancelled) = 0;

 protected:
  ~TaskObserver() = default;
};

// Links a new context into `scope` and makes it ready.
inline void start_root(TaskContext& context, std::coroutine_handle<> handle, CancelScope& scope) {
  context.handle_ = handle;
  context.scope_ = &scope;
  scope.tasks_.push_back(context);
  EventLoop* loop = EventLoop::current();
  loop->on_task_start();
  loop->make_ready(context);
}

// The outermost coroutine of a context. It takes the function and its arguments by value, so that
// nothing the task uses can go away before it; a scope cancelled before the start means the body
// never runs.
template <typename F, typename... Args>
class RootTask {
 public:
  struct promise_type : TaskContext, FrameAllocated {
    TaskObserver* observer = nullptr;
    std::exception_ptr error;
    CancelReason cancelled = CancelReason::kNone;

    RootTask get_return_object() {
      return RootTask(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_always initial_suspend() noexcept { return {}; }
    struct Final {
      bool await_ready() noexcept { return false; }
      void await_suspend(std::coroutine_handle<promise_type> handle) noexcept {
        promise_type& promise = handle.promise();
        promise.unlink();
        EventLoop::current()->destroy_after_return(handle);
        promise.observer->on_task_end(std::move(promise.error), promise.cancelled);
      }
      void await_resume() noexcept {}
    };
    Final final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() noexcept {
      try {
        throw;
      } catch (const Cancelled& cancel) {
        cancelled = cancel.reason();
      } catch (...) {
        error = std::current_exception();
      }
    }
  };

  static TaskContext& start(CancelScope& scope, TaskObserver& observer, F function, Args... args) {
    RootTask root = body(std::move(function), std::move(args)...);
    root.handle_.promise().observer = &observer;
    start_root(root.handle_.promise(), root.handle_, scope);
    return root.handle_.promise();
  }

 private:
  explicit RootTask(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  static RootTask body(F function, Args... args) {
    const CancelScope* scope = EventLoop::current()->context()->scope();
    if (scope->cancelled()) throw Cancelled(scope->reason());
    co_await std::invoke(std::move(function), std::move(args)...);
  }
  std::coroutine_handle<promise_type> handle_;
};

// ---- implementation details only below

inline void internal::resume_next(std::coroutine_handle<> next) noexcept {
  EventLoop::current()->resume_next(next);
}

inline bool Waiter::refused() noexcept {
  reason_ = EventLoop::current()->context()->scope()->reason();
  return reason_ != CancelReason::kNone;
}

inline void Waiter::park(std::coroutine_handle<> handle) noexcept {
  EventLoop* loop = EventLoop::current();
  context_ = loop->context();
  context_->handle_ = handle;
  context_->waiter_ = this;
  context_->state_ = TaskContext::State::kParked;
  context_->parked_ticks_ = TaskContext::ticks(loop->now_ns());
}

inline void Waiter::complete() noexcept {
  WEFT_DCHECK(context_->waiter_ == this, "a waiter is completed while its context is parked on it");
  EventLoop::current()->make_ready(*context_);
}

template <typename T>
T EventLoop::run(Task<T> main) {
  check_thread();
  struct Observer final : TaskObserver {
    bool done = false;
    std::exception_ptr error;
    CancelReason cancelled = CancelReason::kNone;
    void on_task_end(std::exception_ptr failure, CancelReason reason) override {
      done = true;
      error = std::move(failure);
      cancelled = reason;
    }
  } observer;
  if constexpr (std::is_void_v<T>) {
    auto body = [](Task<void> task) -> Task<void> { co_await task; };
    RootTask<decltype(body), Task<void>>::start(root_scope_, observer, body, std::move(main));
    run_until_done(observer.done);
    if (observer.error) std::rethrow_exception(observer.error);
    if (observer.cancelled != CancelReason::kNone) throw Cancelled(observer.cancelled);
  } else {
    std::optional<T> result;
    auto body = [](Task<T> task, std::optional<T>* out) -> Task<void> {
      out->emplace(co_await task);
    };
    RootTask<decltype(body), Task<T>, std::optional<T>*>::start(root_scope_, observer, body,
                                                                std::move(main), &result);
    run_until_done(observer.done);
    if (observer.error) std::rethrow_exception(observer.error);
    if (observer.cancelled != CancelReason::kNone) throw Cancelled(observer.cancelled);
    return std::move(*result);
  }
}

}  // namespace weft
