// Executor: the bounded pool for CPU work, so that one heavy job does not stall the loop.
#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <variant>
#include <vector>

#include <weft/base/limits.h>
#include <weft/base/ring.h>
#include <weft/runtime/event_loop.h>

namespace weft {

class OffloadBase;

// What a function on the pool asks to know that nobody wants its result any more.
// Thread: any. Lifetime: as long as the function runs.
class OffloadToken {
 public:
  explicit OffloadToken(const std::atomic<CancelReason>& reason) : reason_(&reason) {}
  bool cancelled() const { return reason() != CancelReason::kNone; }
  CancelReason reason() const { return reason_->load(std::memory_order_relaxed); }
  // Errors: throws Cancelled once the caller is cancelled.
  void throw_if_cancelled() const {
    if (cancelled()) throw Cancelled(reason());
  }

 private:
  const std::atomic<CancelReason>* reason_;
};

struct ExecutorOptions {
  size_t threads = 1;
  size_t queue = limits::kExecutorQueue;  // pieces of work that may wait in the pool
};

struct ExecutorStats {
  uint64_t finished = 0;
  uint64_t refused = 0;        // try_offload on a full queue
  size_t queued = 0;           // in the pool, not started
  size_t running = 0;          // started, or finished and not yet told to the loop
  size_t callers_waiting = 0;  // tasks that wait for room in the queue
};

// Threads run at nice 10 and SCHED_BATCH, so that the loop is served first.
// Thread: all members are the loop's. Lifetime: made and destroyed on the loop thread; the
// destructor joins the threads, which must have nothing left to do. Limits: `queue`; beyond it
// offload() waits, one caller of each lane in turn, and try_offload() refuses.
class Executor {
 public:
  // Waiting callers of one lane queue up behind each other; lanes take turns. A job queue that
  // floods the executor so delays only itself.
  class Lane : public ListNode<Lane> {
   public:
    Lane() = default;
    ~Lane();

   private:
    friend class Executor;
    friend class OffloadBase;
    IntrusiveList<OffloadBase, OffloadBase> waiting_;
  };

  explicit Executor(ExecutorOptions options = {});
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // co_await executor.offload(fn): runs fn() or fn(token) on a pool thread, returns or throws what
  // it does. Cancellation: work not yet started is dropped; work that runs is waited for, so fn may
  // refer to the caller's variables, and its OffloadToken says so: a long piece asks it now and
  // then.
  template <typename F>
  auto offload(F function);
  template <typename F>
  auto offload(Lane& lane, F function);
  // Like offload(), but nothing at once when the queue is full: nullopt, and fn is not run.
  template <typename F>
  auto try_offload(F function);

  ExecutorStats stats() const;
  size_t threads() const { return threads_.size(); }

 private:
  friend class OffloadBase;
  void submit(OffloadBase& work);
  bool withdraw(OffloadBase& work);
  void on_room();
  void run_thread();

  EventLoop& loop_;
  const size_t capacity_;
  Lane default_lane_;
  IntrusiveList<Lane, Lane> lanes_;  // those with callers waiting for room
  size_t callers_waiting_ = 0;
  size_t occupied_ = 0;  // handed to the pool and not delivered back, started or not
  uint64_t finished_ = 0;
  uint64_t refused_ = 0;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  Ring<OffloadBase*> queue_;
  size_t queued_ = 0;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

// One piece of work; the awaiter itself, because running work is always waited for.
class OffloadBase : public Waiter, public Mail, public ListNode<OffloadBase> {
 public:
  OffloadBase(Executor& executor, Executor::Lane& lane) : executor_(executor), lane_(lane) {}
  bool await_ready() noexcept { return refused(); }
  void await_suspend(std::coroutine_handle<> handle);
  bool cancel() noexcept override;
  std::string_view what() const override { return "the executor"; }

 protected:
  ~OffloadBase() = default;
  OffloadToken token() const { return OffloadToken(cancelled_); }
  virtual void run() noexcept = 0;  // on a pool thread

 private:
  friend class Executor;
  enum class Place : uint8_t { kNowhere, kLane, kPool };
  void deliver() override;
  Executor& executor_;
  Executor::Lane& lane_;
  Place place_ = Place::kNowhere;
  std::atomic<CancelReason> cancelled_{CancelReason::kNone};
};

// What F returns, given a token or not.
template <typename F>
struct OffloadResult : std::invoke_result<F&> {};
template <typename F>
  requires std::is_invocable_v<F&, OffloadToken>
struct OffloadResult<F> : std::invoke_result<F&, OffloadToken> {};

template <typename F>
class [[nodiscard]] Offload final : public OffloadBase {
  using T = typename OffloadResult<F>::type;

 public:
  Offload(Executor& executor, Executor::Lane& lane, F function)
      : OffloadBase(executor, lane), function_(std::move(function)) {}
  T await_resume() {
    check();
    if (error_) std::rethrow_exception(std::move(error_));
    if constexpr (!std::is_void_v<T>) return std::move(*result_);
  }

 private:
  void run() noexcept override {
    try {
      if constexpr (std::is_void_v<T>) {
        call();
      } else {
        result_.emplace(call());
      }
    } catch (...) {
      error_ = std::current_exception();
    }
  }
  T call() {
    if constexpr (std::is_invocable_v<F&, OffloadToken>) {
      return function_(token());
    } else {
      return function_();
    }
  }
  F function_;
  std::optional<std::conditional_t<std::is_void_v<T>, std::monostate, T>> result_;
  std::exception_ptr error_;
};

template <typename F>
auto Executor::offload(F function) {
  return Offload<F>(*this, default_lane_, std::move(function));
}

template <typename F>
auto Executor::offload(Lane& lane, F function) {
  return Offload<F>(*this, lane, std::move(function));
}

template <typename F>
auto Executor::try_offload(F function) {
  using T = typename OffloadResult<F>::type;
  using Result = std::optional<std::conditional_t<std::is_void_v<T>, std::monostate, T>>;
  return [](Executor& executor, F work) -> Task<Result> {
    if (executor.occupied_ >= executor.capacity_ + executor.threads_.size()) {
      ++executor.refused_;
      co_return std::nullopt;
    }
    if constexpr (std::is_void_v<T>) {
      co_await executor.offload(std::move(work));
      co_return Result(std::in_place);
    } else {
      co_return Result(co_await executor.offload(std::move(work)));
    }
  }(*this, std::move(function));
}

}  // namespace weft
