// Executor: bounded, fair between lanes, polite to the loop, and safe to cancel.
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <weft/runtime/combinators.h>
#include <weft/runtime/event.h>
#include <weft/runtime/executor.h>
#include <weft/runtime/task_group.h>

#include "tests/support/coro_test.h"

namespace weft {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Holds a pool thread until it is opened.
class Gate {
 public:
  auto pass() {
    return [future = future_] { future.wait(); };
  }
  void open() { promise_.set_value(); }

 private:
  std::promise<void> promise_;
  std::shared_future<void> future_ = promise_.get_future().share();
};

template <typename F>
Task<void> offload_counted(Executor* executor, F function, int* done) {
  co_await executor->offload(std::move(function));
  ++*done;
}

CORO_TEST(Executor, RunsOffTheLoopThreadAndGivesTheResult) {
  Executor executor;
  const auto here = std::this_thread::get_id();
  const auto there = co_await executor.offload([] { return std::this_thread::get_id(); });
  EXPECT_NE(there, here);
  EXPECT_EQ(std::this_thread::get_id(), here);
  const auto box = co_await executor.offload([] { return std::make_unique<int>(5); });
  EXPECT_EQ(*box, 5);
  int seen = 0;
  co_await executor.offload([&seen] { seen = 6; });
  EXPECT_EQ(seen, 6);
}

CORO_TEST(Executor, ThrowsWhatTheFunctionThrew) {
  Executor executor;
  std::string caught;
  try {
    co_await executor.offload([]() -> int { throw std::runtime_error("in the pool"); });
  } catch (const std::runtime_error& error) {
    caught = error.what();
  }
  EXPECT_EQ(caught, "in the pool");
}

// Row of the design: cancellation reaches work that runs, if it asks.
CORO_TEST(Executor, RunningWorkIsToldOfACancellationByItsToken) {
  Executor executor;
  const int unasked = co_await executor.offload([](OffloadToken token) {
    token.throw_if_cancelled();
    return token.cancelled() ? 1 : 0;
  });
  EXPECT_EQ(unasked, 0);
  std::promise<void> began;
  std::optional<CancelReason> seen;
  auto work = [&](OffloadToken token) {
    began.set_value();
    while (!token.cancelled()) std::this_thread::yield();
    seen = token.reason();
    token.throw_if_cancelled();
  };
  CancelScope scope;
  auto body = [&](TaskGroup& group) -> Task<void> {
    auto run = [&]() -> Task<void> {
      auto inner = [&]() -> Task<void> { co_await executor.offload(work); };
      const bool finished = co_await scope.run(inner());
      EXPECT_FALSE(finished);
    };
    group.start([&] { return run(); });
    co_await yield_now();
    began.get_future().wait();
    scope.cancel(CancelReason::kUserRequest);
  };
  co_await with_group(body);
  EXPECT_EQ(seen, CancelReason::kUserRequest);
}

CORO_TEST(Executor, ThreadsAreNice) {
  Executor executor({.threads = 2, .queue = 4});
  const int nice = co_await executor.offload(
      [] { return getpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid))); });
  EXPECT_EQ(nice, 10);
  EXPECT_EQ(getpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid))), 0);
}

// Row of the design: a flooded executor. Bound reached: callers wait, try_offload refuses.
CORO_TEST(FloodedExecutor, OneMoreThanItsBoundWaitsOrIsRefused) {
  constexpr size_t kThreads = 2, kQueue = 3;
  Executor executor({.threads = kThreads, .queue = kQueue});
  Gate gate;
  int done = 0;
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (size_t i = 0; i < kThreads + kQueue; ++i) {
      group.start(offload_counted<decltype(gate.pass())>, &executor, gate.pass(), &done);
    }
    co_await yield_now();
    EXPECT_EQ(executor.stats().callers_waiting, 0u);
    group.start(offload_counted<decltype(gate.pass())>, &executor, gate.pass(), &done);
    co_await yield_now();
    EXPECT_EQ(executor.stats().callers_waiting, 1u);
    bool ran = false;
    const auto refused = co_await executor.try_offload([&ran] { ran = true; });
    EXPECT_FALSE(refused.has_value());
    EXPECT_FALSE(ran);
    EXPECT_EQ(executor.stats().refused, 1u);
    EXPECT_EQ(done, 0);
    gate.open();
  };
  co_await with_group(body);
  EXPECT_EQ(done, static_cast<int>(kThreads + kQueue + 1));
  const ExecutorStats stats = executor.stats();
  EXPECT_EQ(stats.finished, kThreads + kQueue + 1);
  EXPECT_EQ(stats.queued + stats.running + stats.callers_waiting, 0u);
  const auto taken = co_await executor.try_offload([] { return 1; });
  EXPECT_EQ(taken, 1);
}

CORO_TEST(FloodedExecutor, LanesTakeTurns) {
  Executor executor({.threads = 1, .queue = 1});
  Gate gate;
  Executor::Lane flood, trickle;
  std::vector<std::string> order;
  int done = 0;
  auto caller = [](Executor* pool, Executor::Lane* lane, std::string name,
                   std::vector<std::string>* out) -> Task<void> {
    co_await pool->offload(*lane, [] {});
    out->push_back(name);
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(offload_counted<decltype(gate.pass())>, &executor, gate.pass(), &done);
    group.start(offload_counted<decltype(gate.pass())>, &executor, gate.pass(), &done);
    for (int i = 0; i < 100; ++i) {
      group.start(caller, &executor, &flood, std::string("flood"), &order);
    }
    co_await yield_now();
    for (int i = 0; i < 3; ++i) {
      group.start(caller, &executor, &trickle, std::string("trickle"), &order);
    }
    co_await yield_now();
    EXPECT_EQ(executor.stats().callers_waiting, 103u);
    gate.open();
  };
  co_await with_group(body);
  int seen = 0;
  size_t last = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (order[i] != "trickle") continue;
    ++seen;
    last = i;
  }
  EXPECT_EQ(seen, 3);
  EXPECT_LE(last, 7u) << "three calls beside a hundred are through after about six";
}

CORO_TEST(Executor, CancelledBeforeItsTurnIsNeverRun) {
  Executor executor({.threads = 1, .queue = 4});
  Gate gate;
  int done = 0;
  bool ran = false;
  auto mark = [&ran] { ran = true; };
  CancelScope scope;
  auto queued = [&]() -> Task<void> {
    const bool finished = co_await scope.run(offload_counted(&executor, mark, &done));
    EXPECT_FALSE(finished);
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(offload_counted<decltype(gate.pass())>, &executor, gate.pass(), &done);
    co_await yield_now();
    group.start(queued);
    co_await yield_now();
    co_await yield_now();
    EXPECT_GE(executor.stats().queued, 1u);
    scope.cancel(CancelReason::kUserRequest);
    co_await yield_now();
    co_await yield_now();
    gate.open();
  };
  co_await with_group(body);
  EXPECT_FALSE(ran);
  EXPECT_EQ(done, 1);
  EXPECT_EQ(executor.stats().finished, 1u);
}

CORO_TEST(Executor, CancelledWhileWaitingForRoomIsNeverRun) {
  Executor executor({.threads = 1, .queue = 0});
  Gate gate;
  int done = 0;
  bool ran = false;
  CancelScope scope;
  auto mark = [&ran] { ran = true; };
  auto waiting = [&]() -> Task<void> {
    co_await scope.run(offload_counted(&executor, mark, &done));
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(offload_counted<decltype(gate.pass())>, &executor, gate.pass(), &done);
    co_await yield_now();
    group.start(waiting);
    co_await yield_now();
    EXPECT_EQ(executor.stats().callers_waiting, 1u);
    scope.cancel(CancelReason::kUserRequest);
    EXPECT_EQ(executor.stats().callers_waiting, 0u);
    co_await yield_now();
    gate.open();
  };
  co_await with_group(body);
  EXPECT_FALSE(ran);
}

CORO_TEST(Executor, CancelledWhileRunningIsWaitedFor) {
  Executor executor({.threads = 1, .queue = 4});
  Gate gate;
  std::promise<void> started;
  CancelScope scope;
  bool finished = false;
  int seen = 0;
  auto work = [&]() -> Task<void> {
    int local = 0;  // the function refers to it: this frame must still be there
    auto function = [&started, &local, pass = gate.pass()] {
      started.set_value();
      pass();
      local = 1;
      return 7;
    };
    const int value = co_await executor.offload(function);
    EXPECT_EQ(value, 7) << "completion wins";
    seen = local;
  };
  auto running = [&]() -> Task<void> { finished = co_await scope.run(work()); };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(running);
    co_await yield_now();
    co_await yield_now();
    started.get_future().wait();
    scope.cancel(CancelReason::kUserRequest);
    co_await yield_now();
    EXPECT_EQ(seen, 0);
    gate.open();
  };
  co_await with_group(body);
  EXPECT_EQ(seen, 1);
  EXPECT_TRUE(finished);
}

CORO_TEST(Executor, OffloadAndCancelForEverLeavesTheQueueEmpty) {
  Executor executor({.threads = 1, .queue = 8});
  Gate gate;
  int done = 0;
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(offload_counted<decltype(gate.pass())>, &executor, gate.pass(), &done);
    co_await yield_now();
    for (int i = 0; i < 5000; ++i) {
      auto work = [&](TaskGroup& inner) -> Task<void> {
        inner.start([](Executor* pool) -> Task<void> { co_await pool->offload([] {}); }, &executor);
        co_await yield_now();
        inner.cancel(CancelReason::kUserRequest);
      };
      co_await with_group(work);
    }
    EXPECT_LE(executor.stats().queued, 1u);
    gate.open();
  };
  co_await with_group(body);
  EXPECT_EQ(executor.stats().finished, 1u);
}

CORO_TEST(Executor, ManyCallersManyThreads) {
  Executor executor({.threads = 4, .queue = 16});
  int64_t sum = 0;
  auto caller = [](Executor* pool, int64_t value, int64_t* total) -> Task<void> {
    for (int i = 0; i < 20; ++i) *total += co_await pool->offload([value] { return value; });
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int64_t i = 0; i < 200; ++i) group.start(caller, &executor, i, &sum);
    co_return;
  };
  co_await with_group(body);
  EXPECT_EQ(sum, 20 * 199 * 100);
  EXPECT_EQ(executor.stats().finished, 4000u);
}

CORO_TEST(Executor, VirtualTimeStandsStillWhileWorkRuns) {
  Executor executor;
  const int64_t start_ns = EventLoop::current()->now_ns();
  auto spin = [] {
    double x = 1;
    for (int i = 0; i < 200'000; ++i) x = x * 1.0000001 + 1;
    return x > 0;
  };
  const auto result =
      co_await with_timeout(milliseconds(1), [](Executor* pool, auto work) -> Task<bool> {
        co_return co_await pool->offload(work);
      }(&executor, spin));
  EXPECT_TRUE(result.has_value()) << "no time passes for the timer while the pool owes an answer";
  EXPECT_EQ(EventLoop::current()->now_ns(), start_ns);
}

}  // namespace
}  // namespace weft
