// When failures are retried: pauses, jitter and the end of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <vector>

#include <weft/base/random.h>
#include <weft/jobs/retry_policy.h>

namespace weft {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kThirtyDays = seconds(limits::kDurationSecondsMax);

TEST(RetryPolicy, DoublesFromTwoSecondsUpToAnHour) {
  const RetryPolicy policy;
  EXPECT_EQ(backoff_pause(policy.backoff, 1), seconds(2));
  EXPECT_EQ(backoff_pause(policy.backoff, 2), seconds(4));
  EXPECT_EQ(backoff_pause(policy.backoff, 11), seconds(2048));
  EXPECT_EQ(backoff_pause(policy.backoff, 12), hours(1));
  EXPECT_EQ(backoff_pause(policy.backoff, 64), hours(1));
  EXPECT_EQ(backoff_pause(policy.backoff, 100'000), hours(1));
  EXPECT_EQ(backoff_pause(policy.backoff, UINT32_MAX), hours(1));
  EXPECT_EQ(longest_pause(policy), hours(1));
}

TEST(RetryPolicy, FixedPausesAreAllTheSameAndTheLastListedOneStays) {
  EXPECT_EQ(backoff_pause(FixedBackoff{seconds(7)}, 1), seconds(7));
  EXPECT_EQ(backoff_pause(FixedBackoff{seconds(7)}, 99), seconds(7));
  const RetryPolicy listed{.backoff = ListedBackoff{{seconds(1), seconds(30), seconds(5)}}};
  EXPECT_EQ(backoff_pause(listed.backoff, 1), seconds(1));
  EXPECT_EQ(backoff_pause(listed.backoff, 2), seconds(30));
  EXPECT_EQ(backoff_pause(listed.backoff, 3), seconds(5));
  EXPECT_EQ(backoff_pause(listed.backoff, 4), seconds(5));
  EXPECT_EQ(longest_pause(listed), seconds(30));
}

TEST(RetryPolicy, TheLastAllowedFailureIsTheEnd) {
  const RetryPolicy three;
  EXPECT_TRUE(decide_retry(three, 1, 0).has_value());
  EXPECT_TRUE(decide_retry(three, 2, 0).has_value());
  EXPECT_FALSE(decide_retry(three, 3, 0).has_value());
  EXPECT_FALSE(decide_retry(three, 4, 0).has_value());
  EXPECT_FALSE(decide_retry({.max_attempts = 1}, 1, 0).has_value());
}

TEST(RetryPolicy, JitterStaysWithinItsPartOfThePause) {
  Random random(7);
  for (const double jitter : {0.0, 0.1, 0.5, 1.0}) {
    const RetryPolicy policy{.max_attempts = 100, .jitter = jitter};
    for (uint32_t failures = 1; failures < 100; ++failures) {
      const double pause = static_cast<double>(backoff_pause(policy.backoff, failures).count());
      for (const uint64_t bits : {uint64_t{0}, UINT64_MAX, random.next(), random.next()}) {
        const auto decided = decide_retry(policy, failures, bits);
        ASSERT_TRUE(decided.has_value());
        const auto ms = static_cast<double>(decided->count());
        EXPECT_GE(ms, std::max(1.0, std::floor(pause * (1 - jitter))));
        EXPECT_LE(ms, std::ceil(pause * (1 + jitter)));
      }
    }
  }
}

TEST(RetryPolicy, APauseThatIsAskedForIsKeptUpToTheLongestOfThePolicy) {
  Random random(9);
  const RetryPolicy policy{.backoff = ExponentialBackoff{.max = seconds(60)}};
  for (int i = 0; i < 100; ++i) {
    const auto asked = decide_retry(policy, 1, random.next(), seconds(20));
    EXPECT_GE(*asked, seconds(20));
    EXPECT_LE(*asked, seconds(30));
    const auto too_long = decide_retry(policy, 1, random.next(), hours(5));
    EXPECT_GE(*too_long, seconds(60));
    EXPECT_LE(*too_long, seconds(90));
    const auto shorter = decide_retry(policy, 1, random.next(), milliseconds(1));
    EXPECT_GE(*shorter, seconds(1));
    EXPECT_LE(*shorter, seconds(3));
  }
  EXPECT_FALSE(decide_retry(policy, 3, 0, seconds(20)).has_value());
}

TEST(RetryPolicy, NoPauseIsLongerThanTwiceThirtyDaysWhateverIsAskedFor) {
  Random random(8);
  for (const double factor : {1.0, 1.5, 10.0, 1e300, std::numeric_limits<double>::infinity(),
                              std::numeric_limits<double>::quiet_NaN()}) {
    const Backoff backoff = ExponentialBackoff{kThirtyDays, factor, kThirtyDays};
    const RetryPolicy policy{.max_attempts = UINT32_MAX, .backoff = backoff, .jitter = 1};
    for (uint32_t failures = 1; failures < 5000; failures += 7) {
      const auto pause = decide_retry(policy, failures, random.next());
      ASSERT_TRUE(pause.has_value());
      EXPECT_GE(*pause, milliseconds(1));
      EXPECT_LE(*pause, 2 * kThirtyDays);
    }
  }
}

// The most of `pauses` that lie within one window of this length.
size_t most_within(std::vector<int64_t> pauses, int64_t window_ms) {
  std::sort(pauses.begin(), pauses.end());
  size_t most = 0;
  for (size_t begin = 0, end = 0; end < pauses.size(); ++end) {
    while (pauses[end] - pauses[begin] >= window_ms) ++begin;
    most = std::max(most, end - begin + 1);
  }
  return most;
}

TEST(RetryPolicy, AThousandFailuresOfOneInstantComeBackSpreadOut) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Random random(seed);
    std::vector<int64_t> pauses;
    for (int i = 0; i < 1000; ++i) {
      pauses.push_back(decide_retry(RetryPolicy(), 1, random.next())->count());
    }
    EXPECT_LE(most_within(pauses, 100), 100u) << "seed " << seed;
    if (seed == 0) {
      std::printf("of 1000 failures of one instant %zu retry within one 100 ms\n",
                  most_within(pauses, 100));
    }
  }
}

TEST(RetryPolicy, AcceptsItsBounds) {
  EXPECT_TRUE(check_retry_policy({}).ok());
  EXPECT_TRUE(check_retry_policy({.max_attempts = 1, .jitter = 0}).ok());
  EXPECT_TRUE(check_retry_policy({.max_attempts = limits::kAttemptsMax, .jitter = 1}).ok());
  EXPECT_TRUE(check_retry_policy({.backoff = FixedBackoff{kThirtyDays}}).ok());
  EXPECT_TRUE(check_retry_policy({.backoff = FixedBackoff{milliseconds(1)}}).ok());
  const std::vector<milliseconds> full(limits::kBackoffPauses, kThirtyDays);
  EXPECT_TRUE(check_retry_policy({.backoff = ListedBackoff{full}}).ok());
  const ExponentialBackoff widest{kThirtyDays, 10, kThirtyDays};
  EXPECT_TRUE(check_retry_policy({.backoff = widest}).ok());
}

void expect_refused(const RetryPolicy& policy, const std::string& field) {
  const Status status = check_retry_policy(policy);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(field_of(status), field);
}

TEST(RetryPolicy, RefusesWhatIsBeyondThem) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  expect_refused({.max_attempts = 0}, "max_attempts");
  expect_refused({.max_attempts = limits::kAttemptsMax + 1}, "max_attempts");
  expect_refused({.jitter = -0.01}, "jitter");
  expect_refused({.jitter = 1.01}, "jitter");
  expect_refused({.jitter = nan}, "jitter");
  expect_refused({.backoff = FixedBackoff{milliseconds(0)}}, "pause");
  expect_refused({.backoff = FixedBackoff{milliseconds(-1)}}, "pause");
  expect_refused({.backoff = FixedBackoff{kThirtyDays + milliseconds(1)}}, "pause");
  expect_refused({.backoff = ListedBackoff{}}, "pauses");
  const std::vector<milliseconds> many(limits::kBackoffPauses + 1, seconds(1));
  expect_refused({.backoff = ListedBackoff{many}}, "pauses");
  expect_refused({.backoff = ListedBackoff{{seconds(1), seconds(0)}}}, "pauses");
  expect_refused({.backoff = ExponentialBackoff{.factor = 0.99}}, "factor");
  expect_refused({.backoff = ExponentialBackoff{.factor = 10.1}}, "factor");
  expect_refused({.backoff = ExponentialBackoff{.factor = nan}}, "factor");
  expect_refused({.backoff = ExponentialBackoff{.first = hours(2)}}, "first");
  expect_refused({.backoff = ExponentialBackoff{.first = milliseconds(0)}}, "first");
  expect_refused({.backoff = ExponentialBackoff{.max = kThirtyDays + milliseconds(1)}}, "max");
}

}  // namespace
}  // namespace weft
