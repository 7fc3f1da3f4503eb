// A million at once: parked coroutines, cancelled ones, and frames that all come back.
#include <vector>

#include <weft/runtime/channel.h>
#include <weft/runtime/task_group.h>

#include "tests/support/coro_test.h"

namespace weft {
namespace {

using std::chrono::microseconds;

Task<void> nap(int us, int* woken) {
  co_await sleep_for(microseconds(us));
  ++*woken;
}

CORO_TEST(Scale, MillionSleepingCoroutines) {
  constexpr int kTasks = 1'000'000;
  int woken = 0;
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int i = 0; i < kTasks; ++i) group.start(nap, 1'000'000 + (i % 1000) * 997, &woken);
    co_return;
  };
  co_await with_group(body);
  EXPECT_EQ(woken, kTasks);
}

CORO_TEST(Scale, HundredThousandCancelledAtOnce) {
  constexpr int kTasks = 100'000;
  int woken = 0;
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int i = 0; i < kTasks; ++i) group.start(nap, 1'000'000, &woken);
    co_await sleep_for(microseconds(10));
    group.cancel(CancelReason::kUserRequest);
  };
  co_await with_group(body);
  EXPECT_EQ(woken, 0);
}

TEST(FrameAllocator, CountsLiveFramesAndReusesFreedOnes) {
  const int64_t before = live_frames();
  std::vector<void*> frames;
  for (size_t bytes : {1u, 16u, 17u, 200u, 1024u, 1040u, 5000u}) {
    frames.push_back(allocate_frame(bytes));
  }
  EXPECT_EQ(live_frames(), before + 7);
  size_t index = 0;
  for (size_t bytes : {1u, 16u, 17u, 200u, 1024u, 1040u, 5000u}) free_frame(frames[index++], bytes);
  EXPECT_EQ(live_frames(), before);
  release_frame_cache();
  void* again = allocate_frame(200);
  free_frame(again, 200);
  EXPECT_EQ(live_frames(), before);
}

TEST(FrameAllocator, EveryTaskOfALoopGivesItsFrameBack) {
  const int64_t before = live_frames();
  int woken = 0;
  {
    VirtualClock clock;
    EventLoop loop({.clock = nullptr, .virtual_clock = &clock, .ready_seed = {}});
    auto main = [&]() -> Task<void> {
      auto body = [&](TaskGroup& group) -> Task<void> {
        for (int i = 0; i < 100; ++i) group.start(nap, i, &woken);
        co_await sleep_for(microseconds(50));
        EXPECT_GT(live_frames(), before + 50);
      };
      co_await with_group(body);
    };
    loop.run(main());
  }
  EXPECT_EQ(live_frames(), before);
}

}  // namespace
}  // namespace weft
