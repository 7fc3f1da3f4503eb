// Jobs whose worker dies again and again: each session here ends without settling what it ran, as a
// killed process does.
#include <gmock/gmock.h>

#include "tests/store/store_file.h"

namespace weft::testing {
namespace {

using ::testing::HasSubstr;

class Suspects : public StoreFile {
 protected:
  // Takes everything that it gets and dies with it.
  void die(size_t expected) {
    session([expected](Harness& h) -> Task<void> {
      const auto jobs = co_await h.take(100);
      EXPECT_EQ(jobs.size(), expected);
    });
  }
  uint32_t crashes(const std::string& id) {
    uint32_t count = 0;
    session([&](Harness& h) -> Task<void> { count = (co_await h.get(id)).crashes(); });
    return count;
  }
};

TEST_F(Suspects, APoisonJobDiesAloneAndItsNeighboursLive) {
  session([](Harness& h) -> Task<void> {
    co_await h.add(Harness::make_spec_with_id("poison-job-1"));
    for (int i = 0; i < 20; ++i) co_await h.add(Harness::make_spec());
  });
  for (int i = 0; i < 3; ++i) die(21);
  session([](Harness& h) -> Task<void> {
    EXPECT_EQ(h.store().stats().suspect_jobs, 21u);  // nobody knows yet which one it is
    const auto jobs = co_await h.take(100);
    WEFT_ASSERT(jobs.size() == 1);
    EXPECT_EQ(jobs[0].spec().id(), "poison-job-1");
    EXPECT_EQ(jobs[0].crashes(), 3u);
    EXPECT_EQ(h.store().stats().suspect_jobs, 21u);
  });
  die(1);
  session([](Harness& h) -> Task<void> {
    const v1::Job dead = co_await h.get("poison-job-1");
    EXPECT_EQ(dead.state(), v1::JOB_STATE_DEAD);
    EXPECT_EQ(dead.crashes(), 5u);
    EXPECT_EQ(dead.outcome().error_code(), "crashed");
    EXPECT_THAT(dead.outcome().error_message(), HasSubstr("died 5 times"));
    EXPECT_TRUE(dead.has_finish_time());
    // The innocent ones follow one by one.
    for (int i = 0; i < 20; ++i) {
      const auto jobs = co_await h.take(100);
      WEFT_ASSERT(jobs.size() == 1);
      EXPECT_EQ(jobs[0].crashes(), 3u);
      co_await h.must(h.settle(Harness::token_of(jobs[0])));
    }
    EXPECT_EQ(h.store().stats().suspect_jobs, 0u);
  });
}

TEST_F(Suspects, BesideASuspectADeathCountsAgainstItAlone) {
  session(
      [](Harness& h) -> Task<void> { co_await h.add(Harness::make_spec_with_id("poison-job-1")); });
  for (int i = 0; i < 3; ++i) die(1);
  session(
      [](Harness& h) -> Task<void> { co_await h.add(Harness::make_spec_with_id("innocent-job")); });
  die(2);
  EXPECT_EQ(crashes("poison-job-1"), 4u);
  EXPECT_EQ(crashes("innocent-job"), 0u);
}

TEST_F(Suspects, ARetryByHandForgetsTheCrashes) {
  session(
      [](Harness& h) -> Task<void> { co_await h.add(Harness::make_spec_with_id("poison-job-1")); });
  for (int i = 0; i < 5; ++i) die(1);
  die(0);
  session([](Harness& h) -> Task<void> {
    const auto retried = co_await h.store().retry("poison-job-1");
    WEFT_ASSERT(retried.ok());
    EXPECT_EQ(retried->crashes(), 0u);
    EXPECT_EQ(retried->attempt(), 5u);
    EXPECT_EQ(h.store().stats().suspect_jobs, 0u);
  });
  die(1);
  EXPECT_EQ(crashes("poison-job-1"), 1u);
}

TEST_F(Suspects, AnOrderlyHandBackCountsNothing) {
  session(
      [](Harness& h) -> Task<void> { co_await h.add(Harness::make_spec_with_id("some-job-1")); });
  die(1);
  for (int i = 0; i < 5; ++i) {
    session([](Harness& h) -> Task<void> {
      const auto jobs = co_await h.take(1);
      WEFT_ASSERT(jobs.size() == 1);
      co_await h.must(h.release(Harness::token_of(jobs[0])));
    });
  }
  EXPECT_EQ(crashes("some-job-1"), 1u);
}

TEST_F(Suspects, AFlaggedSuspectIsCancelledAtItsLastDeath) {
  session(
      [](Harness& h) -> Task<void> { co_await h.add(Harness::make_spec_with_id("poison-job-1")); });
  for (int i = 0; i < 4; ++i) die(1);
  session([](Harness& h) -> Task<void> {
    co_await h.take(1);
    co_await h.must(h.store().cancel("poison-job-1", "enough"));
  });
  session([](Harness& h) -> Task<void> {
    const v1::Job job = co_await h.get("poison-job-1");
    EXPECT_EQ(job.state(), v1::JOB_STATE_CANCELLED);
    EXPECT_EQ(job.outcome().error_message(), "enough");
  });
}

}  // namespace
}  // namespace weft::testing
