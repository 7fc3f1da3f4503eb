// Generator: lazy, one pass, an iterable that std::ranges takes.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <vector>

#include <weft/runtime/generator.h>

namespace weft {
namespace {

Generator<int> naturals(int* computed) {
  for (int i = 0;; ++i) {
    ++*computed;
    co_yield i;
  }
}

Generator<int> up_to(int end) {
  for (int i = 0; i < end; ++i) co_yield i;
}

// The iterable of Weft's ideas: `for` and std::ranges ask it for an iterator…
static_assert(std::ranges::input_range<Generator<int>>);
static_assert(std::ranges::view<Generator<int>>);
static_assert(std::ranges::viewable_range<Generator<int>>);
// …which is a one-pass iterator and no more: it cannot be run again from a copy.
using Iterator = std::ranges::iterator_t<Generator<int>>;
static_assert(std::input_iterator<Iterator>);
static_assert(!std::forward_iterator<Iterator>);
static_assert(!std::ranges::forward_range<Generator<int>>);
static_assert(std::sentinel_for<std::default_sentinel_t, Iterator>);
static_assert(!std::is_copy_constructible_v<Generator<int>>);

TEST(Generator, NothingIsComputedBeforeItIsAskedFor) {
  int computed = 0;
  Generator<int> numbers = naturals(&computed);
  EXPECT_EQ(computed, 0);
  auto it = numbers.begin();
  EXPECT_EQ(computed, 1);
  EXPECT_EQ(*it, 0);
  EXPECT_EQ(*it, 0);
  EXPECT_EQ(computed, 1);
  ++it;
  EXPECT_EQ(*it, 1);
  EXPECT_EQ(computed, 2);
}

TEST(Generator, TakesTenOfInfinitelyMany) {
  int computed = 0;
  std::vector<int> taken;
  for (int value : naturals(&computed) | std::views::take(10)) taken.push_back(value);
  EXPECT_EQ(taken, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_LE(computed, 11);
}

TEST(Generator, WorksWithViewsAndAlgorithms) {
  auto squares = up_to(10) | std::views::filter([](int v) { return v % 2 == 1; }) |
                 std::views::transform([](int v) { return v * v; });
  int sum = 0;
  std::ranges::for_each(squares, [&](int v) { sum += v; });
  EXPECT_EQ(sum, 1 + 9 + 25 + 49 + 81);
}

TEST(Generator, EmptyHasNoValue) {
  Generator<int> none = up_to(0);
  EXPECT_TRUE(none.begin() == none.end());
}

TEST(Generator, YieldsMoveOnlyValues) {
  auto boxes = []() -> Generator<std::unique_ptr<int>> {
    for (int i = 0; i < 3; ++i) co_yield std::make_unique<int>(i);
  };
  int sum = 0;
  for (const auto& box : boxes()) sum += *box;
  EXPECT_EQ(sum, 3);
}

TEST(Generator, ThrowsWhereTheNextValueIsAskedFor) {
  auto failing = []() -> Generator<int> {
    co_yield 1;
    throw std::runtime_error("no second value");
  };
  Generator<int> numbers = failing();
  auto it = numbers.begin();
  EXPECT_EQ(*it, 1);
  EXPECT_THROW(++it, std::runtime_error);
  EXPECT_TRUE(it == numbers.end());
}

TEST(Generator, DroppingItHalfWayRunsDestructors) {
  auto held = std::make_shared<int>(1);
  auto holding = [](std::shared_ptr<int> value) -> Generator<int> {
    for (;;) co_yield *value;
  };
  {
    Generator<int> numbers = holding(held);
    EXPECT_EQ(*numbers.begin(), 1);
    EXPECT_EQ(held.use_count(), 2);
  }
  EXPECT_EQ(held.use_count(), 1);
}

// Not inlined: the compiler may otherwise keep the frame on the stack.
[[gnu::noinline]] Generator<int> on_the_heap() { co_yield 1; }

TEST(Generator, FrameIsCountedAndGivenBack) {
  const int64_t before = live_frames();
  {
    Generator<int> numbers = on_the_heap();
    EXPECT_EQ(live_frames(), before + 1);
  }
  EXPECT_EQ(live_frames(), before);
}

}  // namespace
}  // namespace weft
