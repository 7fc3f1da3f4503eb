// TimerHeap against a reference that is too simple to be wrong.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include <weft/base/random.h>
#include <weft/runtime/timer_heap.h>

namespace weft {
namespace {

class Noted final : public Timer {
 public:
  Noted() = default;
  explicit Noted(int number) : id(number) {}
  void fire() override {}
  int id = 0;
  int64_t time_ns = 0;
  uint64_t order = 0;
};

TEST(TimerHeap, EmptyHasNothingDue) {
  TimerHeap heap;
  EXPECT_TRUE(heap.empty());
  EXPECT_EQ(heap.pop_due(INT64_MAX), nullptr);
}

TEST(TimerHeap, TimersOfOneTimeFireInTheOrderTheyWereArmed) {
  TimerHeap heap;
  std::vector<std::unique_ptr<Noted>> timers;
  for (int i = 0; i < 100; ++i) {
    timers.push_back(std::make_unique<Noted>(i));
    heap.arm(*timers.back(), 5);
  }
  for (int i = 0; i < 100; ++i) {
    Timer* timer = heap.pop_due(5);
    ASSERT_NE(timer, nullptr);
    EXPECT_EQ(static_cast<Noted*>(timer)->id, i);
    EXPECT_FALSE(timer->armed());
  }
  EXPECT_TRUE(heap.empty());
}

TEST(TimerHeap, DisarmTwiceIsHarmless) {
  TimerHeap heap;
  Noted timer;
  heap.arm(timer, 1);
  heap.disarm(timer);
  heap.disarm(timer);
  EXPECT_TRUE(heap.empty());
}

TEST(TimerHeap, RandomOperationsMatchTheReference) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Random random(seed);
    TimerHeap heap;
    std::vector<std::unique_ptr<Noted>> timers;
    for (int i = 0; i < 300; ++i) timers.push_back(std::make_unique<Noted>(i));
    std::vector<Noted*> armed;
    const auto sooner = [](Noted* a, Noted* b) {
      return a->time_ns != b->time_ns ? a->time_ns < b->time_ns : a->order < b->order;
    };
    uint64_t order = 0;
    int64_t now_ns = 0;
    for (int step = 0; step < 3000; ++step) {
      Noted& timer = *timers[random.below(timers.size())];
      switch (random.below(3)) {
        case 0:
        case 1:
          if (timer.armed()) {
            heap.disarm(timer);
            std::erase(armed, &timer);
          } else {
            timer.time_ns = now_ns + static_cast<int64_t>(random.below(50));
            timer.order = ++order;
            heap.arm(timer, timer.time_ns);
            armed.push_back(&timer);
          }
          break;
        default:
          now_ns += static_cast<int64_t>(random.below(20));
          while (Timer* due = heap.pop_due(now_ns)) {
            const auto first = std::min_element(armed.begin(), armed.end(), sooner);
            ASSERT_EQ(due, *first);
            ASSERT_LE((*first)->time_ns, now_ns);
            armed.erase(first);
          }
          for (Noted* left : armed) ASSERT_GT(left->time_ns, now_ns);
      }
      ASSERT_EQ(heap.size(), armed.size());
    }
    for (Noted* left : armed) heap.disarm(*left);
  }
}

}  // namespace
}  // namespace weft
