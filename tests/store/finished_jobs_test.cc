// The orders of finished jobs stay as small as what they hold.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <weft/store/finished_jobs.h>

namespace weft {
namespace {

using ::testing::ElementsAre;

constexpr int64_t kExpire_ms = 5000;

TEST(FinishedJobsTest, JobsThatLeftDoNotPileUpInASecondThatIsToCome) {
  FinishedJobs jobs(100);
  jobs.add("q", 1, kExpire_ms, JobState::kSucceeded);
  jobs.publish();
  for (int64_t age = 2; age < 10'000; ++age) {
    jobs.add("q", age, kExpire_ms, JobState::kDead);
    jobs.publish();
    jobs.remove(age);
    jobs.publish();
  }
  EXPECT_LT(jobs.entries(), 20u);
  EXPECT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs.count(JobState::kSucceeded), 1u);
  EXPECT_EQ(jobs.count(JobState::kDead), 0u);
  EXPECT_THAT(jobs.expired(kExpire_ms, 10), ElementsAre(1));
}

TEST(FinishedJobsTest, TheOthersOfASecondStayWhenMostOfThemLeave) {
  FinishedJobs jobs(1000);
  for (int64_t age = 1; age <= 300; ++age) jobs.add("q", age, kExpire_ms, JobState::kSucceeded);
  jobs.publish();
  for (int64_t age = 1; age <= 300; ++age) {
    if (age % 100 != 0) jobs.remove(age);
  }
  jobs.publish();
  EXPECT_THAT(jobs.expired(kExpire_ms, 10), ElementsAre(100, 200, 300));
  EXPECT_TRUE(jobs.expired(kExpire_ms - 1, 10).empty());
}

}  // namespace
}  // namespace weft
