// Task: lazy, awaited once, gives a value or throws; chains of any length need no stack.
#include <memory>
#include <stdexcept>
#include <string>

#include <weft/runtime/task.h>

#include "tests/support/coro_test.h"

namespace weft {
namespace {

using std::chrono::milliseconds;

Task<int> number(int value) { co_return value; }
Task<std::unique_ptr<int>> boxed(int value) { co_return std::make_unique<int>(value); }
Task<void> fail() {
  throw std::runtime_error("broken");
  co_return;
}
Task<void> fail_later() {
  co_await sleep_for(milliseconds(1));
  throw std::runtime_error("broken later");
}
Task<void> mark(bool* ran) {
  *ran = true;
  co_return;
}

static_assert(!std::is_copy_constructible_v<Task<int>>);
static_assert(std::is_nothrow_move_constructible_v<Task<int>>);

CORO_TEST(Task, GivesItsValue) {
  const int value = co_await number(7);
  EXPECT_EQ(value, 7);
}

CORO_TEST(Task, GivesMoveOnlyValue) {
  const std::unique_ptr<int> value = co_await boxed(7);
  EXPECT_EQ(*value, 7);
}

CORO_TEST(Task, ThrowsWhatItsBodyThrew) {
  std::string caught;
  try {
    co_await fail();
  } catch (const std::runtime_error& error) {
    caught = error.what();
  }
  EXPECT_EQ(caught, "broken");
  try {
    co_await fail_later();
  } catch (const std::runtime_error& error) {
    caught = error.what();
  }
  EXPECT_EQ(caught, "broken later");
}

CORO_TEST(Task, NeverAwaitedNeverRuns) {
  bool ran = false;
  {
    Task<void> task = mark(&ran);
    EXPECT_FALSE(ran);
  }
  EXPECT_FALSE(ran);
  Task<void> task = mark(&ran);
  EXPECT_FALSE(ran);
  co_await task;
  EXPECT_TRUE(ran);
}

CORO_TEST(Task, AssignmentDropsTheOldBody) {
  bool first = false, second = false;
  Task<void> task = mark(&first);
  task = mark(&second);
  co_await task;
  EXPECT_FALSE(first);
  EXPECT_TRUE(second);
}

CORO_TEST(Task, ParametersLiveUntilItsEnd) {
  auto count = std::make_shared<int>(0);
  auto body = [](std::shared_ptr<int> held) -> Task<long> {
    co_await sleep_for(milliseconds(1));
    co_return held.use_count();
  };
  const long during = co_await body(count);
  EXPECT_EQ(during, 2);
  EXPECT_EQ(count.use_count(), 1);
}

Task<int> depth(int levels) {
  if (levels == 0) co_return 0;
  co_return 1 + co_await depth(levels - 1);
}

CORO_TEST(Task, MillionAwaitsDeep) {
  const int reached = co_await depth(1'000'000);
  EXPECT_EQ(reached, 1'000'000);
}

Task<void> throw_at(int levels) {
  if (levels == 0) throw std::runtime_error("at the bottom");
  co_await throw_at(levels - 1);
}

CORO_TEST(Task, ExceptionPassesThroughTenThousandAwaits) {
  bool caught = false;
  try {
    co_await throw_at(10'000);
  } catch (const std::runtime_error&) {
    caught = true;
  }
  EXPECT_TRUE(caught);
}

CORO_TEST(Task, MillionAwaitsInALoop) {
  int64_t sum = 0;
  for (int i = 0; i < 1'000'000; ++i) sum += co_await number(i);
  EXPECT_EQ(sum, int64_t{999'999} * 500'000);
}

TEST(Task, RunGivesAndThrowsWhatMainDoes) {
  EventLoop loop;
  EXPECT_EQ(loop.run(number(3)), 3);
  EXPECT_EQ(*loop.run(boxed(4)), 4);
  EXPECT_THROW(loop.run(fail()), std::runtime_error);
  auto cancelled = []() -> Task<void> {
    EventLoop::current()->root_scope().cancel(CancelReason::kShutdown);
    co_await yield_now();
  };
  EXPECT_THROW(loop.run(cancelled()), Cancelled);
}

}  // namespace
}  // namespace weft
