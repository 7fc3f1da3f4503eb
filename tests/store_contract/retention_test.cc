// What a store promises about how long finished jobs are kept.
#include <gmock/gmock.h>

#include <chrono>

#include <weft/base/limits.h>
#include <weft/runtime/sleep.h>

#include "tests/store_contract/fixture.h"

namespace weft::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;

constexpr milliseconds kDefault(limits::kRetentionMs);

Task<v1::Job> run(Harness& h, std::string id, int64_t retention_s = -1, std::string queue = "q") {
  v1::JobSpec spec = Harness::make_spec(std::move(queue));
  spec.set_id(std::move(id));
  if (retention_s >= 0) spec.mutable_retention()->set_seconds(retention_s);
  v1::Job job = co_await h.run_one(std::move(spec));
  co_return job;
}

Task<void> run_and_settle(Harness& h, std::string id, int64_t retention_s = -1,
                          std::string queue = "q") {
  const v1::Job job = co_await run(h, std::move(id), retention_s, std::move(queue));
  co_await h.must(h.settle(Harness::token_of(job)));
}

Task<bool> is_there(Harness& h, std::string id) {
  const auto job = co_await h.store().get(std::move(id), false);
  EXPECT_TRUE(job.ok() || job.status().code() == StatusCode::kNotFound) << job.status();
  co_return job.ok();
}

Task<size_t> sweep(Harness& h, size_t max_items) {
  const auto swept = co_await h.store().sweep(max_items);
  EXPECT_TRUE(swept.ok()) << swept.status();
  co_return swept.ok() ? *swept : 0;
}

STORE_TEST(RetentionZeroLeavesNothingButTellsTheEnd) {
  const v1::Job job = co_await run(harness, "short-lived-1", 0);
  co_await harness.must(harness.append(Harness::token_of(job), 1, {"a"}));
  co_await harness.must(harness.store().send("short-lived-1", "ann", 1, "v"));
  const Status settled =
      co_await harness.settle(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, 1, "result");
  EXPECT_TRUE(settled.ok()) << settled;
  WEFT_ASSERT(harness.told.finished.size() == 1);
  EXPECT_EQ(harness.told.finished[0].outcome().result(), "result");
  EXPECT_EQ(harness.told.finished[0].last_sequence(), 1u);
  EXPECT_EQ(harness.told.finished[0].first_sequence(), 1u);
  const bool there = co_await is_there(harness, "short-lived-1");
  EXPECT_FALSE(there);
  const auto page = co_await harness.store().read("short-lived-1", 0, 100);
  EXPECT_EQ(page.status().code(), StatusCode::kNotFound) << page.status();
  const Status again = co_await harness.settle(Harness::token_of(job));
  EXPECT_EQ(again.code(), StatusCode::kNotFound) << again;
  const StoreStats stats = harness.store().stats();
  EXPECT_EQ(stats.finished_jobs, 0u);
  EXPECT_EQ(stats.removed_jobs, 1u);
  EXPECT_EQ(stats.running_jobs, 0u);
}

STORE_TEST(RetentionZeroHoldsForACancelledJobToo) {
  v1::JobSpec spec = Harness::make_spec_with_id("short-lived-1");
  spec.mutable_retention();
  co_await harness.add(spec);
  const auto cancelled = co_await harness.store().cancel("short-lived-1", "enough");
  WEFT_ASSERT(cancelled.ok());
  EXPECT_EQ(cancelled->result(), v1::CancelResponse::CANCELLED);
  EXPECT_EQ(cancelled->state(), v1::JOB_STATE_CANCELLED);
  EXPECT_EQ(harness.told.finished.size(), 1u);
  const bool there = co_await is_there(harness, "short-lived-1");
  EXPECT_FALSE(there);
}

STORE_TEST_WITH(TheDefaultRetentionIsAnOption, StoreOptions{.retention_ms = 0}) {
  co_await run_and_settle(harness, "short-lived-1");
  co_await run_and_settle(harness, "long-lived-1", 60);
  const bool short_lived = co_await is_there(harness, "short-lived-1");
  const bool long_lived = co_await is_there(harness, "long-lived-1");
  EXPECT_FALSE(short_lived);
  EXPECT_TRUE(long_lived);
}

STORE_TEST(AKeyOutlivesAJobWithoutRetention) {
  v1::JobSpec spec = Harness::make_spec_with_id("short-lived-1");
  spec.set_idempotency_key("short-lived-1");
  spec.mutable_retention();
  const v1::Job job = co_await harness.run_one(spec);
  co_await harness.must(harness.settle(Harness::token_of(job)));
  const auto again = co_await harness.submit(spec);
  WEFT_ASSERT(again.ok());
  EXPECT_TRUE(again->existing);
  spec.set_payload("other");
  const auto other = co_await harness.submit(spec);
  EXPECT_EQ(other.status().code(), StatusCode::kInvalidArgument);
}

STORE_TEST(SweepForgetsWhatIsOverInBoundedBatches) {
  for (int i = 0; i < 5; ++i) co_await run_and_settle(harness, "day-long-" + std::to_string(i));
  co_await run_and_settle(harness, "minute-long", 60);
  co_await run_and_settle(harness, "month-long", limits::kDurationSecondsMax);
  co_await harness.add(Harness::make_spec_with_id("waiting-job-1"));
  EXPECT_EQ(harness.store().stats().finished_jobs, 7u);
  size_t swept = co_await sweep(harness, 10);
  EXPECT_EQ(swept, 0u);
  co_await sleep_for(std::chrono::seconds(60));
  swept = co_await sweep(harness, 10);
  EXPECT_EQ(swept, 1u);
  const bool minute_long = co_await is_there(harness, "minute-long");
  EXPECT_FALSE(minute_long);
  co_await sleep_for(kDefault);
  swept = co_await sweep(harness, 3);
  EXPECT_EQ(swept, 3u);
  swept = co_await sweep(harness, 3);
  EXPECT_EQ(swept, 2u);
  swept = co_await sweep(harness, 3);
  EXPECT_EQ(swept, 0u);
  const bool month_long = co_await is_there(harness, "month-long");
  const bool waiting = co_await is_there(harness, "waiting-job-1");
  EXPECT_TRUE(month_long);
  EXPECT_TRUE(waiting);
  EXPECT_EQ(harness.store().stats().finished_jobs, 1u);
  EXPECT_EQ(harness.store().stats().removed_jobs, 6u);
}

STORE_TEST(StatsCountWhatWasSubmittedAndHowTheKeptOnesEnded) {
  for (int i = 0; i < 3; ++i)
    co_await run_and_settle(harness, "succeeded-" + std::to_string(i), 60);
  const v1::Job dead = co_await run(harness, "dead-job-1");
  co_await harness.must(harness.settle(Harness::token_of(dead), v1::JOB_STATE_DEAD));
  co_await harness.add(Harness::make_spec_with_id("cancelled-job-1"));
  co_await harness.add(Harness::make_spec_with_id("cancelled-job-1"));
  co_await harness.must(harness.store().cancel("cancelled-job-1", "enough"));
  StoreStats stats = harness.store().stats();
  EXPECT_EQ(stats.submitted_jobs, 5u) << "a repeated submission is no new job";
  EXPECT_EQ(stats.finished_jobs, 5u);
  EXPECT_EQ(stats.succeeded_jobs, 3u);
  EXPECT_EQ(stats.dead_jobs, 1u);
  EXPECT_EQ(stats.cancelled_jobs, 1u);
  EXPECT_TRUE(stats.admission.ok()) << stats.admission;
  co_await harness.must(harness.store().retry("dead-job-1"));
  co_await harness.must(harness.store().remove("cancelled-job-1"));
  co_await sleep_for(std::chrono::seconds(60));
  co_await sweep(harness, 2);
  stats = harness.store().stats();
  EXPECT_EQ(stats.submitted_jobs, 5u);
  EXPECT_EQ(stats.succeeded_jobs, 1u);
  EXPECT_EQ(stats.dead_jobs, 0u);
  EXPECT_EQ(stats.cancelled_jobs, 0u);
}

STORE_TEST_WITH(TheFirstFinishedOfAFullQueueAreTrimmed, StoreOptions{.finished_per_queue = 3}) {
  co_await run_and_settle(harness, "other-queue", -1, "other");
  const v1::Job early = co_await run(harness, "submitted-first");
  for (int i = 0; i < 3; ++i) co_await run_and_settle(harness, "finished-" + std::to_string(i));
  EXPECT_EQ(harness.store().stats().finished_jobs, 4u);
  co_await harness.must(harness.settle(Harness::token_of(early)));
  EXPECT_EQ(harness.store().stats().finished_jobs, 4u);
  EXPECT_EQ(harness.store().stats().removed_jobs, 1u);
  const auto page = co_await harness.store().list({.queue = "q"}, "", 10);
  WEFT_ASSERT(page.ok());
  std::vector<std::string> left;
  for (const v1::Job& job : page->jobs) left.push_back(job.spec().id());
  EXPECT_THAT(left, ElementsAre("finished-2", "finished-1", "submitted-first"));
  const bool other = co_await is_there(harness, "other-queue");
  EXPECT_TRUE(other);
}

STORE_TEST_WITH(OneSettlementTrimsFew, StoreOptions{.finished_per_queue = 1}) {
  std::vector<v1::JobSpec> specs(10, Harness::make_spec());
  co_await harness.store().submit(std::move(specs));
  const auto jobs = co_await harness.take(10);
  std::vector<Settlement> settlements;
  for (const v1::Job& job : jobs) {
    settlements.emplace_back(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, v1::Outcome(), 0);
  }
  auto settled = co_await harness.store().settle_and_take(std::move(settlements), TakeRequest());
  EXPECT_TRUE(settled.ok());
  // However they came, settling goes on until one is left.
  for (int i = 0; i < 10; ++i) {
    const uint64_t before = harness.store().stats().removed_jobs;
    co_await run_and_settle(harness, "another-" + std::to_string(i), -1, "default");
    EXPECT_LE(harness.store().stats().removed_jobs - before, limits::kTrimPerSettle);
  }
  EXPECT_EQ(harness.store().stats().finished_jobs, 1u);
  const bool newest = co_await is_there(harness, "another-9");
  EXPECT_TRUE(newest);
}

STORE_TEST_WITH(ARetriedJobIsNotTrimmed, StoreOptions{.finished_per_queue = 1}) {
  const v1::Job job = co_await run(harness, "dead-job-1");
  co_await harness.must(harness.settle(Harness::token_of(job), v1::JOB_STATE_DEAD));
  co_await harness.must(harness.store().retry("dead-job-1"));
  EXPECT_EQ(harness.store().stats().finished_jobs, 0u);
  co_await harness.take(1);
  co_await run_and_settle(harness, "finished-1");
  co_await run_and_settle(harness, "finished-2");
  co_await sleep_for(kDefault);
  const size_t swept = co_await sweep(harness, 10);
  EXPECT_EQ(swept, 1u);
  const bool there = co_await is_there(harness, "dead-job-1");
  EXPECT_TRUE(there);
}

}  // namespace
}  // namespace weft::testing
