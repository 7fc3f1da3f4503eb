// Status details survive, and clocks keep what they promise.
#include <gtest/gtest.h>

#include <weft/base/clock.h>
#include <weft/base/status.h>

namespace weft {
namespace {

TEST(Status, CarriesFieldAndRetryDelay) {
  const Status field = field_error("payload", "too large: put it in a file");
  EXPECT_EQ(field.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(field_of(field), "payload");
  EXPECT_EQ(retry_ms_of(field), 0);
  const Status retry = retry_error(StatusCode::kResourceExhausted, "full: try again later", 250);
  EXPECT_EQ(retry.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(retry_ms_of(retry), 250);
  EXPECT_EQ(field_of(retry), "");
  EXPECT_EQ(field_of(absl::OkStatus()), "");
}

TEST(Clock, VirtualTimeMovesOnlyForward) {
  VirtualClock clock;
  const int64_t wall_ns = clock.wall_ns();
  clock.advance_to(1000);
  clock.advance_to(500);
  EXPECT_EQ(clock.monotonic_ns(), 1000);
  EXPECT_EQ(clock.wall_ns(), wall_ns + 1000);
}

TEST(Clock, RealTimeDoesNotGoBack) {
  RealClock& clock = RealClock::instance();
  int64_t last_ns = clock.monotonic_ns();
  for (int i = 0; i < 1000; ++i) {
    const int64_t now_ns = clock.monotonic_ns();
    ASSERT_GE(now_ns, last_ns);
    last_ns = now_ns;
  }
  EXPECT_GT(clock.wall_ns(), 1'600'000'000'000'000'000);
}

}  // namespace
}  // namespace weft
