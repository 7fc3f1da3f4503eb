// The test macros themselves: virtual time, seeds, and the end of a test that can never end.
#include "tests/support/coro_test.h"

#include <vector>

namespace weft {
namespace {

CORO_TEST(CoroTest, VirtualTimePassesAtOnce) {
  EventLoop& loop = *EventLoop::current();
  const int64_t start_ns = loop.now_ns();
  co_await sleep_for(std::chrono::hours(24 * 365));
  EXPECT_EQ(loop.now_ns() - start_ns, int64_t{365} * 24 * 3600 * 1'000'000'000);
}

CORO_TEST_SEEDED(CoroTest, BodyRunsForEverySeed, 3) {
  EXPECT_LE(seed, 3u);
  co_await yield_now();
}

}  // namespace
}  // namespace weft
