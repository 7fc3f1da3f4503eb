// EventLoop: its turn, its clocks, its seeded order, and its guard against other threads.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <iterator>
#include <thread>
#include <vector>

#include <weft/runtime/event.h>
#include <weft/runtime/event_loop.h>
#include <weft/runtime/fd_watch.h>
#include <weft/runtime/task_group.h>

#include "tests/support/coro_test.h"

namespace weft {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

std::vector<int> order_of(std::optional<uint64_t> seed) {
  VirtualClock clock;
  EventLoop loop({.clock = nullptr, .virtual_clock = &clock, .ready_seed = seed});
  std::vector<int> order;
  auto note = [](int id, std::vector<int>* out) -> Task<void> {
    for (int i = 0; i < 3; ++i) {
      co_await yield_now();
      out->push_back(id);
    }
  };
  auto main = [&]() -> Task<void> {
    auto body = [&](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < 20; ++i) group.start(note, i, &order);
      co_return;
    };
    co_await with_group(body);
  };
  loop.run(main());
  return order;
}

TEST(EventLoop, ReadyTasksRunInTheOrderTheyBecameReady) {
  const std::vector<int> order = order_of(std::nullopt);
  ASSERT_EQ(order.size(), 60u);
  for (size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i], static_cast<int>(i % 20));
}

TEST(EventLoop, SeededOrderIsShuffledAndReproducible) {
  const std::vector<int> once = order_of(42);
  EXPECT_EQ(once, order_of(42));
  EXPECT_NE(once, order_of(43));
  EXPECT_NE(once, order_of(std::nullopt));
}

CORO_TEST_SEEDED(EventLoop, SleepersWakeInTheOrderOfTheirTimes, 3) {
  std::vector<int> woken;
  auto nap = [](int ms, std::vector<int>* out) -> Task<void> {
    co_await sleep_for(milliseconds(ms));
    out->push_back(ms);
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int ms : {50, 10, 40, 20, 30}) group.start(nap, ms, &woken);
    co_return;
  };
  co_await with_group(body);
  EXPECT_EQ(woken, (std::vector<int>{10, 20, 30, 40, 50}));
}

CORO_TEST(EventLoop, NegativeAndEndlessSleepsAreTaken) {
  co_await sleep_for(seconds(-5));
  auto for_ever = [](TaskGroup& group) -> Task<void> {
    group.start([]() -> Task<void> { co_await sleep_for(std::chrono::nanoseconds::max()); });
    co_await sleep_for(hours(1));
    group.cancel(CancelReason::kUserRequest);
  };
  co_await with_group(for_ever);
}

TEST(EventLoop, RealClockSleepsAtLeastAsLongAsAsked) {
  EventLoop loop;
  auto nap = []() -> Task<int64_t> {
    EventLoop* here = EventLoop::current();
    const int64_t start_ns = here->exact_now_ns();
    co_await sleep_for(milliseconds(2));
    co_return here->exact_now_ns() - start_ns;
  };
  EXPECT_GE(loop.run(nap()), 2'000'000);
}

TEST(EventLoop, TaskThatNothingCanWakeIsUnwoundAndReported) {
  const int64_t before = live_frames();
  {
    VirtualClock clock;
    EventLoop loop({.clock = nullptr, .virtual_clock = &clock, .ready_seed = {}});
    auto stuck = []() -> Task<void> {
      Event never;
      co_await never.wait();
    };
    EXPECT_THROW(loop.run(stuck()), NothingPending);
  }
  EXPECT_EQ(live_frames(), before);
}

class Hook final : public TurnEndHook {
 public:
  explicit Hook(int* runs) : runs_(runs) {}
  void on_turn_end() override {
    ++*runs_;
    if (next != nullptr) EventLoop::current()->at_turn_end(*next);
  }
  Hook* next = nullptr;

 private:
  int* runs_;
};

CORO_TEST(EventLoop, HookRunsOnceForATurnHoweverOftenRequested) {
  int runs = 0, chained_runs = 0;
  Hook hook(&runs), chained(&chained_runs);
  hook.next = &chained;
  EventLoop* loop = EventLoop::current();
  for (int i = 0; i < 5; ++i) loop->at_turn_end(hook);
  EXPECT_EQ(runs, 0);
  co_await yield_now();
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(chained_runs, 1) << "a hook requested by a hook runs in the same turn";
  co_await yield_now();
  EXPECT_EQ(runs, 1);
}

CORO_TEST(EventLoop, ChainOfAwaitsThatNeverWaitsLetsTimersRun) {
  bool fired = false;
  auto timer = [](bool* flag) -> Task<void> {
    co_await yield_now();
    *flag = true;
  };
  auto nothing = []() -> Task<void> { co_return; };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(timer, &fired);
    for (int i = 0; i < 1'000'000 && !fired; ++i) co_await nothing();
    EXPECT_TRUE(fired);
  };
  co_await with_group(body);
}

CORO_TEST(EventLoop, StatsCountTurnsAndResumes) {
  const EventLoopStats before = EventLoop::current()->stats();
  for (int i = 0; i < 10; ++i) co_await yield_now();
  const EventLoopStats& after = EventLoop::current()->stats();
  EXPECT_GE(after.resumes - before.resumes, 9u);
  EXPECT_GE(after.turns - before.turns, 9u);
}

TEST(EventLoop, RunsSeveralMainsOneAfterAnother) {
  EventLoop loop;
  for (int i = 0; i < 3; ++i) {
    auto main = [](int value) -> Task<int> {
      co_await yield_now();
      co_return value;
    };
    EXPECT_EQ(loop.run(main(i)), i);
  }
}

TEST(EventLoopDeathTest, SecondLoopOnAThreadIsABrokenInvariant) {
  EventLoop loop;
  EXPECT_DEATH(EventLoop(), "a thread has one loop");
}

// Makes the kernel answer as one that has no epoll_pwait2.
bool take_epoll_pwait2_away() {
  sock_filter steps[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_epoll_pwait2, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(steps), steps};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST(EventLoopDeathTest, OldKernelOnlyCountsCoarser) {
  const auto run = [] {
    if (!take_epoll_pwait2_away()) std::_Exit(0);  // not here, so there is nothing to see
    EventLoop loop;
    const int64_t start_ns = loop.exact_now_ns();
    const auto main = []() -> Task<void> { co_await sleep_for(std::chrono::microseconds(1500)); };
    loop.run(main());
    const int64_t took_ns = loop.exact_now_ns() - start_ns;
    std::_Exit(took_ns >= 1'500'000 ? 0 : 1);
  };
  EXPECT_EXIT(run(), ::testing::ExitedWithCode(0), "");
}

#ifndef NDEBUG
// Row of the design: no races, because switches happen only at co_await on the loop's thread: every
// entry point asserts it.
template <typename Call>
void on_other_thread(Call call) {
  EventLoop loop;
  std::thread([&] { call(loop); }).join();
}

class Idle final : public Timer {
 public:
  void fire() override {}
};

TEST(LoopAffinityDeathTest, EntryPointsRefuseOtherThreads) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  constexpr char kMessage[] = "only on the thread of this loop";
  EXPECT_DEATH(on_other_thread([](EventLoop& loop) {
                 Idle timer;
                 loop.arm(timer, 1);
               }),
               kMessage);
  EXPECT_DEATH(on_other_thread([](EventLoop& loop) { loop.begin_external(); }), kMessage);
  EXPECT_DEATH(on_other_thread([](EventLoop& loop) { loop.end_external(); }), kMessage);
  EXPECT_DEATH(on_other_thread([](EventLoop& loop) { loop.poller(); }), kMessage);
  EXPECT_DEATH(on_other_thread([](EventLoop& loop) {
                 int runs = 0;
                 Hook hook(&runs);
                 loop.at_turn_end(hook);
               }),
               kMessage);
  EXPECT_DEATH(
      on_other_thread([](EventLoop& loop) { loop.run([]() -> Task<void> { co_return; }()); }),
      "thread");
  EXPECT_DEATH(on_other_thread([](EventLoop&) {
                 Event event;
                 event.set();
               }),
               "on the loop thread");
  EXPECT_DEATH(on_other_thread([](EventLoop&) {
                 CancelScope scope;
                 scope.cancel(CancelReason::kShutdown);
               }),
               "on the loop thread");
}
#endif

}  // namespace
}  // namespace weft
