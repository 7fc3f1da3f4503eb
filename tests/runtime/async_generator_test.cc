// AsyncGenerator: values that wait, values sent back, and ends of every kind.
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <weft/runtime/async_generator.h>
#include <weft/runtime/async_range.h>
#include <weft/runtime/combinators.h>
#include <weft/runtime/event.h>
#include <weft/runtime/task_group.h>

#include "tests/support/coro_test.h"

namespace weft {
namespace {

// One pass, that cannot be begun again.
static_assert(AsyncIterator<AsyncGenerator<int>>);
static_assert(std::same_as<AsyncItem<AsyncGenerator<std::string, int>>, std::string>);
static_assert(!AsyncIterable<AsyncGenerator<int>>);
static_assert(!AsyncIterator<std::vector<int>>);

using std::chrono::milliseconds;
using std::chrono::seconds;

AsyncGenerator<int> up_to(int end, int* computed = nullptr) {
  for (int i = 0; i < end; ++i) {
    if (computed != nullptr) ++*computed;
    co_yield i;
  }
}

AsyncGenerator<int, int> steered() {
  int step = 1;
  for (int value = 0;; value += step) {
    std::optional<int> sent = co_yield value;
    if (sent) step = *sent;
  }
}

struct Flag {
  explicit Flag(bool* where) : target(where) {}
  ~Flag() { *target = true; }
  bool* target;
};

AsyncGenerator<int> guarded(bool* destroyed) {
  Flag flag(destroyed);
  for (int i = 0;; ++i) co_yield i;
}

CORO_TEST(AsyncGenerator, GivesValuesThenNothing) {
  AsyncGenerator<int> numbers = up_to(3);
  std::vector<int> seen;
  while (std::optional<int> value = co_await numbers.next()) seen.push_back(*value);
  EXPECT_EQ(seen, (std::vector<int>{0, 1, 2}));
  EXPECT_TRUE(numbers.done());
  const std::optional<int> after = co_await numbers.next();
  EXPECT_FALSE(after.has_value());
}

CORO_TEST(AsyncGenerator, ComputesOnlyWhatIsAskedFor) {
  int computed = 0;
  AsyncGenerator<int> numbers = up_to(1'000'000'000, &computed);
  EXPECT_EQ(computed, 0);
  for (int i = 0; i < 10; ++i) co_await numbers.next();
  EXPECT_EQ(computed, 10);
  co_await numbers.close();
}

CORO_TEST(AsyncGenerator, MayWaitBetweenValues) {
  auto slow = []() -> AsyncGenerator<int> {
    for (int i = 0; i < 3; ++i) {
      co_await sleep_for(seconds(1));
      co_yield i;
    }
  };
  AsyncGenerator<int> numbers = slow();
  const int64_t start_ns = EventLoop::current()->now_ns();
  int count = 0;
  while (co_await numbers.next()) ++count;
  EXPECT_EQ(count, 3);
  EXPECT_EQ(EventLoop::current()->now_ns() - start_ns, 3'000'000'000);
}

CORO_TEST(AsyncGenerator, SendChangesWhatComesNext) {
  AsyncGenerator<int, int> numbers = steered();
  const auto a = co_await numbers.next();
  const auto b = co_await numbers.next();
  const auto c = co_await numbers.send(10);
  const auto d = co_await numbers.next();
  const auto e = co_await numbers.send(-1);
  EXPECT_EQ(*a, 0);
  EXPECT_EQ(*b, 1);
  EXPECT_EQ(*c, 11);
  EXPECT_EQ(*d, 21);
  EXPECT_EQ(*e, 20);
  co_await numbers.close();
}

CORO_TEST(AsyncGenerator, SendBeforeTheFirstYieldWaitsForIt) {
  AsyncGenerator<int, int> numbers = steered();
  const auto first = co_await numbers.send(5);
  const auto second = co_await numbers.next();
  EXPECT_EQ(*first, 0);
  EXPECT_EQ(*second, 5);
  co_await numbers.close();
}

CORO_TEST(AsyncGenerator, CloseRunsDestructorsAndEndsIt) {
  bool destroyed = false;
  AsyncGenerator<int> numbers = guarded(&destroyed);
  co_await numbers.next();
  EXPECT_FALSE(destroyed);
  co_await numbers.close();
  EXPECT_TRUE(destroyed);
  EXPECT_TRUE(numbers.done());
  const auto after = co_await numbers.next();
  EXPECT_FALSE(after.has_value());
  co_await numbers.close();
}

CORO_TEST(AsyncGenerator, CloseBeforeTheStartNeverRunsTheBody) {
  int computed = 0;
  AsyncGenerator<int> numbers = up_to(3, &computed);
  co_await numbers.close();
  EXPECT_EQ(computed, 0);
  EXPECT_TRUE(numbers.done());
}

CORO_TEST(AsyncGenerator, CloseThrowsWhatTheEndThrows) {
  auto failing_end = []() -> AsyncGenerator<int> {
    bool closing = false;
    try {
      co_yield 1;
    } catch (const GeneratorClosed&) {
      closing = true;
    }
    if (closing) throw std::runtime_error("at the end");
  };
  AsyncGenerator<int> numbers = failing_end();
  co_await numbers.next();
  bool caught = false;
  try {
    co_await numbers.close();
  } catch (const std::runtime_error&) {
    caught = true;
  }
  EXPECT_TRUE(caught);
}

CORO_TEST(AsyncGenerator, ThrowsWhatItsBodyThrew) {
  auto failing = []() -> AsyncGenerator<int> {
    co_yield 1;
    co_await sleep_for(milliseconds(1));
    throw std::runtime_error("no second value");
  };
  AsyncGenerator<int> numbers = failing();
  co_await numbers.next();
  bool caught = false;
  try {
    co_await numbers.next();
  } catch (const std::runtime_error&) {
    caught = true;
  }
  EXPECT_TRUE(caught);
  const auto after = co_await numbers.next();
  EXPECT_FALSE(after.has_value());
}

CORO_TEST(AsyncGenerator, DroppedAtAYieldRunsDestructors) {
  bool destroyed = false;
  {
    AsyncGenerator<int> numbers = guarded(&destroyed);
    co_await numbers.next();
  }
  EXPECT_TRUE(destroyed);
}

CORO_TEST(AsyncGenerator, CancelledConsumerUnwindsTheBodyWhereItWaits) {
  bool destroyed = false;
  auto waiting = [](bool* flag) -> AsyncGenerator<int> {
    Flag guard(flag);
    co_await sleep_for(std::chrono::hours(1));
    co_yield 1;
  };
  AsyncGenerator<int> numbers = waiting(&destroyed);
  auto consume = [](AsyncGenerator<int>* source) -> Task<void> { co_await source->next(); };
  const auto result = co_await with_timeout(seconds(1), consume(&numbers));
  EXPECT_FALSE(result.has_value());
  EXPECT_TRUE(destroyed);
  EXPECT_TRUE(numbers.done());
}

CORO_TEST(AsyncGenerator, CancelledConsumerUnwindsABodyThatNeverWaits) {
  bool destroyed = false;
  AsyncGenerator<int> numbers = guarded(&destroyed);
  CancelScope scope;
  auto consume = [](AsyncGenerator<int>* source, CancelScope* own) -> Task<void> {
    co_await source->next();
    own->cancel(CancelReason::kUserRequest);
    while (co_await source->next()) {
    }
  };
  const bool finished = co_await scope.run(consume(&numbers, &scope));
  EXPECT_FALSE(finished);
  EXPECT_TRUE(destroyed);
}

CORO_TEST(AsyncGenerator, CancelledConsumerNeverStartsTheBody) {
  int computed = 0;
  AsyncGenerator<int> numbers = up_to(3, &computed);
  CancelScope scope;
  scope.cancel(CancelReason::kUserRequest);
  auto consume = [](AsyncGenerator<int>* source) -> Task<void> { co_await source->next(); };
  const bool finished = co_await scope.run(consume(&numbers));
  EXPECT_FALSE(finished);
  EXPECT_EQ(computed, 0);
}

// A body that stays in a scope of its own across its yields.
AsyncGenerator<int> scoped(int* ticks, bool* unwound) {
  Flag flag(unwound);
  CancelScope scope;
  ScopeEntry entry(scope);
  for (int i = 0;; ++i) {
    ++*ticks;
    co_yield i;
  }
}

CORO_TEST(AsyncGenerator, ScopeHeldAcrossYieldsIsNotTheConsumers) {
  int ticks = 0;
  bool unwound = false;
  AsyncGenerator<int> numbers = scoped(&ticks, &unwound);
  const CancelScope* own = EventLoop::current()->context()->scope();
  co_await numbers.next();
  EXPECT_EQ(EventLoop::current()->context()->scope(), own);
  co_await sleep_for(milliseconds(1));
  co_await numbers.next();
  EXPECT_EQ(EventLoop::current()->context()->scope(), own);
  co_await numbers.close();
  EXPECT_TRUE(unwound);
  EXPECT_EQ(EventLoop::current()->context()->scope(), own);
}

CORO_TEST(AsyncGenerator, DroppedWithAScopeHeldLeavesTheConsumersScopeAlone) {
  int ticks = 0;
  bool unwound = false;
  const CancelScope* own = EventLoop::current()->context()->scope();
  {
    AsyncGenerator<int> numbers = scoped(&ticks, &unwound);
    co_await numbers.next();
  }
  EXPECT_TRUE(unwound);
  EXPECT_EQ(EventLoop::current()->context()->scope(), own);
  co_await sleep_for(milliseconds(1));
}

CORO_TEST(AsyncGenerator, MovesBetweenTasksWithAScopeHeld) {
  int ticks = 0;
  bool unwound = false;
  AsyncGenerator<int> numbers = scoped(&ticks, &unwound);
  auto take_one = [](AsyncGenerator<int>* source) -> Task<void> { co_await source->next(); };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(take_one, &numbers);
    co_return;
  };
  co_await with_group(body);
  co_await with_group(body);
  co_await numbers.close();
  EXPECT_EQ(ticks, 2);
  EXPECT_TRUE(unwound);
}

// Gets each value from a child of its own, which it cancels before it yields.
AsyncGenerator<int> ticking(int* ticks) {
  CancelScope scope;
  ScopeEntry entry(scope);
  Channel<int> values(0);
  auto tick = [](Channel<int>* out, int* count) -> Task<void> {
    for (int i = 0;; ++i) {
      co_await sleep_for(milliseconds(10));
      ++*count;
      if (!co_await out->send(i)) co_return;
    }
  };
  for (int i = 0;; ++i) {
    auto once = [&](TaskGroup& group) -> Task<void> {
      group.start(tick, &values, ticks);
      co_await values.receive();
      group.cancel(CancelReason::kUserRequest);
    };
    co_await with_group(once);
    co_yield i;
  }
}

CORO_TEST(AsyncGenerator, GroupsInsideItsBodyJoinBeforeTheYield) {
  int ticks = 0;
  AsyncGenerator<int> numbers = ticking(&ticks);
  for (int i = 0; i < 5; ++i) {
    const auto value = co_await numbers.next();
    EXPECT_EQ(*value, i);
  }
  EXPECT_EQ(ticks, 5);
  co_await numbers.close();
}

CORO_TEST(AsyncGenerator, DeadlineThatPassesAtAYieldCancelsTheBodyNotTheConsumer) {
  auto limited = []() -> AsyncGenerator<int> {
    CancelScope scope;
    scope.set_deadline_after(seconds(1));
    ScopeEntry entry(scope);
    for (int i = 0;; ++i) co_yield i;
  };
  AsyncGenerator<int> numbers = limited();
  co_await numbers.next();
  co_await sleep_for(seconds(2));
  std::optional<CancelReason> reason;
  try {
    co_await numbers.next();
  } catch (const Cancelled& cancelled) {
    reason = cancelled.reason();
  }
  EXPECT_EQ(reason, CancelReason::kDeadline);
  EXPECT_TRUE(numbers.done());
  co_await sleep_for(seconds(1));  // the consumer itself is not cancelled
}

CORO_TEST(AsyncGenerator, MillionValuesNeedNoStack) {
  AsyncGenerator<int> numbers = up_to(1'000'000);
  int64_t count = 0;
  while (co_await numbers.next()) ++count;
  EXPECT_EQ(count, 1'000'000);
}

CORO_TEST(AsyncGenerator, MovedFromIsDone) {
  AsyncGenerator<int> a = up_to(2);
  AsyncGenerator<int> b = std::move(a);
  EXPECT_TRUE(a.done());  // NOLINT(bugprone-use-after-move): that is what is tested
  const auto none = co_await a.next();
  const auto first = co_await b.next();
  EXPECT_FALSE(none.has_value());
  EXPECT_EQ(*first, 0);
  co_await b.close();
}

}  // namespace
}  // namespace weft
