// all_of, any_of, with_timeout: what they return, throw and cancel.
#include <stdexcept>
#include <string>

#include <weft/runtime/combinators.h>

#include "tests/support/coro_test.h"

namespace weft {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

Task<int> later(milliseconds nap, int value) {
  co_await sleep_for(nap);
  co_return value;
}
Task<std::string> text(milliseconds nap) {
  co_await sleep_for(nap);
  co_return "text";
}
Task<void> nap_for(milliseconds nap) { co_await sleep_for(nap); }
Task<int> fail_after(milliseconds nap) {
  co_await sleep_for(nap);
  throw std::runtime_error("failed");
}
int64_t now_ms() { return EventLoop::current()->now_ns() / 1'000'000; }

CORO_TEST_SEEDED(AllOf, GivesEveryResultInOrder, 5) {
  auto [number, word, nothing] =
      co_await all_of(later(milliseconds(20), 1), text(milliseconds(10)), nap_for(milliseconds(5)));
  EXPECT_EQ(number, 1);
  EXPECT_EQ(word, "text");
  EXPECT_EQ(nothing, std::monostate());
  EXPECT_EQ(now_ms(), 20);
}

CORO_TEST(AllOf, TakesAVector) {
  std::vector<Task<int>> tasks;
  for (int i = 0; i < 50; ++i) tasks.push_back(later(milliseconds(50 - i), i));
  const std::vector<int> results = co_await all_of(std::move(tasks));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(results[static_cast<size_t>(i)], i);
  std::vector<Task<int>> none;
  const std::vector<int> empty = co_await all_of(std::move(none));
  EXPECT_TRUE(empty.empty());
}

CORO_TEST(AllOf, FirstErrorCancelsTheRest) {
  bool caught = false;
  try {
    co_await all_of(later(hours(1), 1), fail_after(milliseconds(5)));
  } catch (const std::runtime_error&) {
    caught = true;
  }
  EXPECT_TRUE(caught);
  EXPECT_EQ(now_ms(), 5);
}

CORO_TEST(AllOf, CancelledFromOutsideThrowsCancelled) {
  auto all = []() -> Task<void> { co_await all_of(later(hours(1), 1), later(hours(2), 2)); };
  const auto result = co_await with_timeout(seconds(1), all());
  EXPECT_FALSE(result.has_value());
}

CORO_TEST_SEEDED(AnyOf, GivesTheFirstAndCancelsTheOthers, 5) {
  std::vector<Task<int>> tasks;
  tasks.push_back(later(hours(1), 10));
  tasks.push_back(later(milliseconds(3), 11));
  tasks.push_back(later(hours(2), 12));
  const auto first = co_await any_of(std::move(tasks));
  EXPECT_EQ(first.index, 1u);
  EXPECT_EQ(first.value, 11);
  EXPECT_EQ(now_ms(), 3);
}

CORO_TEST(AnyOf, OneOfSeveralAtOnceWins) {
  std::vector<Task<int>> tasks;
  for (int i = 0; i < 5; ++i) tasks.push_back(later(milliseconds(3), i));
  const auto first = co_await any_of(std::move(tasks));
  EXPECT_EQ(first.value, static_cast<int>(first.index));
}

CORO_TEST(AnyOf, ErrorBeforeAResultIsThrown) {
  std::vector<Task<int>> tasks;
  tasks.push_back(later(seconds(1), 1));
  tasks.push_back(fail_after(milliseconds(1)));
  bool caught = false;
  try {
    co_await any_of(std::move(tasks));
  } catch (const std::runtime_error&) {
    caught = true;
  }
  EXPECT_TRUE(caught);
}

CORO_TEST(AnyOf, ErrorOfALoserIsDropped) {
  auto failing_cleanup = []() -> Task<int> {
    bool cancelled = false;
    try {
      co_await sleep_for(hours(1));
    } catch (const Cancelled&) {
      cancelled = true;
    }
    if (cancelled) throw std::runtime_error("cleanup failed");
    co_return 0;
  };
  std::vector<Task<int>> tasks;
  tasks.push_back(failing_cleanup());
  tasks.push_back(later(milliseconds(1), 5));
  const auto first = co_await any_of(std::move(tasks));
  EXPECT_EQ(first.value, 5);
}

CORO_TEST(AnyOf, CancelledFromOutsideThrowsCancelled) {
  auto race = []() -> Task<void> {
    std::vector<Task<void>> tasks;
    tasks.push_back(nap_for(hours(1)));
    tasks.push_back(nap_for(hours(2)));
    co_await any_of(std::move(tasks));
  };
  const auto result = co_await with_timeout(seconds(1), race());
  EXPECT_FALSE(result.has_value());
}

CORO_TEST(WithTimeout, GivesTheResultInTime) {
  const auto result = co_await with_timeout(seconds(1), later(milliseconds(999), 4));
  EXPECT_EQ(result, 4);
}

CORO_TEST(WithTimeout, GivesNothingWhenTimeIsUp) {
  const auto result = co_await with_timeout(seconds(1), later(milliseconds(1001), 4));
  EXPECT_FALSE(result.has_value());
  EXPECT_EQ(now_ms(), 1000);
}

CORO_TEST(WithTimeout, ErrorsPassThrough) {
  bool caught = false;
  try {
    co_await with_timeout(seconds(1), fail_after(milliseconds(1)));
  } catch (const std::runtime_error&) {
    caught = true;
  }
  EXPECT_TRUE(caught);
}

CORO_TEST(WithTimeout, NestedOnesEndAtTheNearest) {
  auto inner = []() -> Task<int> {
    const auto result = co_await with_timeout(hours(1), later(hours(2), 1));
    co_return result.value_or(-1);
  };
  const auto result = co_await with_timeout(seconds(1), inner());
  EXPECT_FALSE(result.has_value());
  EXPECT_EQ(now_ms(), 1000);
}

}  // namespace
}  // namespace weft
