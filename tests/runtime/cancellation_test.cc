// The cancellation contract: reasons, deadlines, nesting, shields, and who wins which race.
#include <stdexcept>

#include <weft/runtime/cancellation.h>
#include <weft/runtime/channel.h>
#include <weft/runtime/combinators.h>
#include <weft/runtime/event.h>
#include <weft/runtime/task_group.h>

#include "tests/support/coro_test.h"

namespace weft {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

static_assert(!std::is_base_of_v<std::exception, Cancelled>);

Task<void> note_reason(std::optional<CancelReason>* out) {
  try {
    co_await sleep_for(hours(1));
  } catch (const Cancelled& cancelled) {
    *out = cancelled.reason();
    throw;
  }
}

CORO_TEST(CancelScope, EveryReasonArrivesAsGiven) {
  for (CancelReason reason :
       {CancelReason::kUserRequest, CancelReason::kDeadline, CancelReason::kLeaseLost,
        CancelReason::kShutdown, CancelReason::kConsumerGone, CancelReason::kSiblingFailed}) {
    std::optional<CancelReason> seen;
    CancelScope scope;
    auto canceller = [](CancelScope* target, CancelReason why) -> Task<void> {
      co_await sleep_for(milliseconds(1));
      target->cancel(why);
    };
    auto body = [&](TaskGroup& group) -> Task<void> {
      group.start(canceller, &scope, reason);
      const bool finished = co_await scope.run(note_reason(&seen));
      EXPECT_FALSE(finished);
    };
    co_await with_group(body);
    EXPECT_EQ(seen, reason);
    EXPECT_EQ(scope.own_reason(), reason);
    EXPECT_FALSE(to_string(reason).empty());
  }
}

CORO_TEST(CancelScope, TheFirstReasonStays) {
  std::optional<CancelReason> seen;
  CancelScope scope;
  scope.cancel(CancelReason::kLeaseLost);
  scope.cancel(CancelReason::kUserRequest);
  co_await scope.run(note_reason(&seen));
  EXPECT_EQ(seen, CancelReason::kLeaseLost);
}

CORO_TEST(CancelScope, DeadlineComesOnTime) {
  std::optional<CancelReason> seen;
  CancelScope scope;
  const int64_t start_ns = EventLoop::current()->now_ns();
  scope.set_deadline_after(hours(2));
  scope.set_deadline_after(milliseconds(250));  // the later call counts
  const bool finished = co_await scope.run(note_reason(&seen));
  EXPECT_FALSE(finished);
  EXPECT_EQ(seen, CancelReason::kDeadline);
  EXPECT_EQ(EventLoop::current()->now_ns() - start_ns, 250'000'000);
}

CORO_TEST(CancelScope, DeadlineTooFarToCountNeverComes) {
  CancelScope scope;
  scope.set_deadline_after(std::chrono::nanoseconds::max());
  auto nap = []() -> Task<void> { co_await sleep_for(hours(1)); };
  const bool finished = co_await scope.run(nap());
  EXPECT_TRUE(finished);
}

CORO_TEST(CancelScope, DeadlineOfAScopeNeverEnteredDisappearsWithIt) {
  {
    CancelScope scope;
    scope.set_deadline_after(seconds(1));
  }
  co_await sleep_for(seconds(2));
}

CORO_TEST(CancelScope, FinishedInTimeIsTrueAndDisarms) {
  CancelScope scope;
  scope.set_deadline_after(seconds(2));
  auto nap = []() -> Task<void> { co_await sleep_for(seconds(1)); };
  const bool finished = co_await scope.run(nap());
  EXPECT_TRUE(finished);
  co_await sleep_for(seconds(5));
  EXPECT_FALSE(scope.cancelled());
}

CORO_TEST(CancelScope, OuterCancelReachesInnerOnesWithItsReason) {
  std::optional<CancelReason> seen;
  bool inner_returned = false;
  CancelScope outer;
  outer.set_deadline_after(seconds(1));
  auto nested = [&]() -> Task<void> {
    CancelScope middle, inner;
    auto deeper = [&]() -> Task<void> {
      co_await inner.run(note_reason(&seen));
      inner_returned = true;
    };
    co_await middle.run(deeper());
    inner_returned = true;
  };
  const bool finished = co_await outer.run(nested());
  EXPECT_FALSE(finished);
  EXPECT_EQ(seen, CancelReason::kDeadline);
  EXPECT_FALSE(inner_returned) << "the cancellation belongs to the outer scope and passes through";
}

CORO_TEST(CancelScope, InnerCancelStaysInside) {
  std::optional<CancelReason> seen;
  CancelScope outer, inner;
  bool went_on = false;
  auto nested = [&]() -> Task<void> {
    inner.set_deadline_after(seconds(1));
    const bool finished = co_await inner.run(note_reason(&seen));
    EXPECT_FALSE(finished);
    co_await sleep_for(seconds(1));
    went_on = true;
  };
  const bool finished = co_await outer.run(nested());
  EXPECT_TRUE(finished);
  EXPECT_TRUE(went_on);
}

CORO_TEST(CancelScope, AlreadyCancelledThrowsOnFastPathsToo) {
  CancelScope scope;
  scope.cancel(CancelReason::kUserRequest);
  Channel<int> channel(4);
  channel.try_send(1);
  Event event;
  event.set();
  int threw = 0;
  auto body = [&]() -> Task<void> {
    try {
      co_await channel.receive();
    } catch (const Cancelled&) {
      ++threw;
    }
    try {
      co_await channel.send(2);
    } catch (const Cancelled&) {
      ++threw;
    }
    try {
      co_await event.wait();
    } catch (const Cancelled&) {
      ++threw;
    }
    try {
      co_await yield_now();
    } catch (const Cancelled&) {
      ++threw;
    }
  };
  const bool finished = co_await scope.run(body());
  EXPECT_TRUE(finished);
  EXPECT_EQ(threw, 4);
  EXPECT_EQ(channel.size(), 1u);
}

CORO_TEST_SEEDED(CancelScope, CompletionWinsThenTheNextAwaitThrows, 5) {
  Channel<int> channel(1);
  CancelScope scope;
  std::optional<int> got;
  bool second_threw = false;
  auto receiver = [&]() -> Task<void> {
    got = co_await channel.receive();
    try {
      co_await channel.receive();
    } catch (const Cancelled&) {
      second_threw = true;
    }
  };
  auto completer = [](Channel<int>* to, CancelScope* target) -> Task<void> {
    co_await sleep_for(milliseconds(1));
    to->try_send(7);
    target->cancel(CancelReason::kUserRequest);  // the receiver is ready, but has not run
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(completer, &channel, &scope);
    co_await scope.run(receiver());
  };
  co_await with_group(body);
  EXPECT_EQ(got, 7);
  EXPECT_TRUE(second_threw);
}

CORO_TEST(CancelScope, CancelThenCompletionLeavesTheValueInPlace) {
  Channel<int> channel(1);
  CancelScope scope;
  auto receiver = [&]() -> Task<void> {
    co_await channel.receive();
    ADD_FAILURE() << "cancelled before the value came";
  };
  auto canceller = [](Channel<int>* to, CancelScope* target) -> Task<void> {
    co_await sleep_for(milliseconds(1));
    target->cancel(CancelReason::kUserRequest);
    to->try_send(7);
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(canceller, &channel, &scope);
    co_await scope.run(receiver());
  };
  co_await with_group(body);
  EXPECT_EQ(channel.try_receive(), 7);
}

CORO_TEST(CancelScope, ShieldKeepsOutACancelFromBefore) {
  CancelScope outer;
  bool cleaned = false, after = false;
  auto work = [&]() -> Task<void> {
    bool cancelled = false;
    try {
      co_await sleep_for(hours(1));
    } catch (const Cancelled&) {
      cancelled = true;
    }
    EXPECT_TRUE(cancelled);
    auto cleanup = [](bool* flag) -> Task<void> {
      co_await sleep_for(seconds(1));
      *flag = true;
    };
    const bool in_time = co_await shielded(seconds(10), cleanup(&cleaned));
    EXPECT_TRUE(in_time);
    co_await yield_now();
    after = true;
  };
  outer.set_deadline_after(seconds(1));
  const bool finished = co_await outer.run(work());
  EXPECT_FALSE(finished);
  EXPECT_TRUE(cleaned);
  EXPECT_FALSE(after) << "the next await after the shield throws";
}

CORO_TEST_SEEDED(CancelScope, ShieldKeepsOutACancelThatArrivesWhileItIsActive, 5) {
  CancelScope outer;
  bool cleaned = false, after = false;
  auto work = [&]() -> Task<void> {
    auto cleanup = [](bool* flag) -> Task<void> {
      co_await sleep_for(seconds(5));
      CancelScope inner;  // a normal scope inside the shield is as safe
      auto more = []() -> Task<void> { co_await sleep_for(seconds(5)); };
      const bool finished = co_await inner.run(more());
      EXPECT_TRUE(finished);
      *flag = true;
    };
    const bool in_time = co_await shielded(hours(1), cleanup(&cleaned));
    EXPECT_TRUE(in_time);
    EXPECT_TRUE(cleaned);
    co_await yield_now();
    after = true;
  };
  outer.set_deadline_after(seconds(1));
  const int64_t start_ns = EventLoop::current()->now_ns();
  const bool finished = co_await outer.run(work());
  EXPECT_FALSE(finished);
  EXPECT_EQ(EventLoop::current()->now_ns() - start_ns, 10'000'000'000);
  EXPECT_TRUE(cleaned);
  EXPECT_FALSE(after);
}

CORO_TEST(CancelScope, ShieldHasADeadlineOfItsOwn) {
  auto endless = []() -> Task<void> { co_await sleep_for(hours(1)); };
  const bool in_time = co_await shielded(seconds(1), endless());
  EXPECT_FALSE(in_time);
}

CORO_TEST(CancelScope, SwallowingCancelledLastsOnlyUntilTheNextAwait) {
  CancelScope scope;
  int swallowed = 0;
  auto stubborn = [&]() -> Task<void> {
    for (int i = 0; i < 3; ++i) {
      try {
        co_await sleep_for(hours(1));
      } catch (...) {
        ++swallowed;
      }
    }
  };
  scope.set_deadline_after(seconds(1));
  const bool finished = co_await scope.run(stubborn());
  EXPECT_TRUE(finished);
  EXPECT_EQ(swallowed, 3);
}

CORO_TEST(CancelScope, ErrorsPassThrough) {
  CancelScope scope;
  bool caught = false;
  auto fail = []() -> Task<void> {
    throw std::runtime_error("broken");
    co_return;
  };
  try {
    co_await scope.run(fail());
  } catch (const std::runtime_error&) {
    caught = true;
  }
  EXPECT_TRUE(caught);
}

CORO_TEST(CancelScope, TaskMayCancelItself) {
  CancelScope scope;
  bool after = false;
  auto body = [&]() -> Task<void> {
    scope.cancel(CancelReason::kUserRequest);
    EXPECT_TRUE(scope.cancelled());
    co_await yield_now();
    after = true;
  };
  const bool finished = co_await scope.run(body());
  EXPECT_FALSE(finished);
  EXPECT_FALSE(after);
}

TEST(CancelScope, RootScopeStopsTheProgram) {
  VirtualClock clock;
  EventLoop loop({.clock = nullptr, .virtual_clock = &clock, .ready_seed = {}});
  int unwound = 0;
  auto serve = [](int* count) -> Task<void> {
    try {
      co_await sleep_for(hours(1));
    } catch (const Cancelled&) {
      ++*count;
      throw;
    }
  };
  auto main = [&]() -> Task<void> {
    auto body = [&](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < 10; ++i) group.start(serve, &unwound);
      co_await sleep_for(seconds(1));
      EventLoop::current()->root_scope().cancel(CancelReason::kShutdown);
    };
    co_await with_group(body);
  };
  CancelReason reason = CancelReason::kNone;
  try {
    loop.run(main());
  } catch (const Cancelled& cancelled) {
    reason = cancelled.reason();
  }
  EXPECT_EQ(reason, CancelReason::kShutdown);
  EXPECT_EQ(unwound, 10);
  EXPECT_EQ(live_frames(), 0);
}

CORO_TEST(CancelScope, ScopeEnteredFromAnOuterOneIsOutOfReachOfThoseBetween) {
  CancelScope outer;
  std::string log;
  Event never;
  auto wait_inside = [&]() -> Task<void> {
    CancelScope around;
    ScopeEntry entry(around, outer);
    co_await sleep_for(std::chrono::seconds(2));  // beyond the timeout
    log += "waited ";
    co_await never.wait();
  };
  auto body = [&]() -> Task<void> {
    co_await with_timeout(std::chrono::seconds(1), wait_inside());
    log += "went on";
  };
  auto run = [&](TaskGroup& group) -> Task<void> {
    group.start([&]() -> Task<void> {
      const bool finished = co_await outer.run(body());
      log += finished ? "finished" : "cancelled";
    });
    co_await sleep_for(std::chrono::seconds(3));
    EXPECT_EQ(log, "waited ");
    outer.cancel(CancelReason::kUserRequest);
  };
  co_await with_group(run);
  EXPECT_EQ(log, "waited cancelled");
}

}  // namespace
}  // namespace weft
