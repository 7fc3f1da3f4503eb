// What a store promises about attempts that are followed by others, and about their errors.
#include <gmock/gmock.h>

#include <weft/base/limits.h>
#include <weft/store/job_record.h>

#include "tests/store_contract/fixture.h"

namespace weft::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A server's clock goes on while it is asked.
constexpr int64_t kClock_ms = 900;

int64_t milliseconds(const google::protobuf::Timestamp& time) {
  return time.seconds() * 1000 + time.nanos() / 1'000'000;
}

// Lets the pause of a job pass, promotes it and takes it.
Task<v1::Job> take_after(Harness& h, std::chrono::milliseconds pause) {
  co_await sleep_for(pause + 1s);
  co_await h.promote();
  auto jobs = co_await h.take(1);
  EXPECT_EQ(jobs.size(), 1u);
  co_return jobs.empty() ? v1::Job() : std::move(jobs[0]);
}

Settlement dead(const v1::Job& job, std::string message) {
  v1::Outcome outcome;
  outcome.set_error_code("handler_error");
  outcome.set_error_message(std::move(message));
  return Settlement(Harness::token_of(job), v1::JOB_STATE_DEAD, std::move(outcome), 0);
}

STORE_TEST(AFailedAttemptIsFollowedByAnother) {
  const v1::Job job = co_await harness.run_one();
  harness.told.events.clear();
  const Status settled = co_await harness.settle_later(Harness::token_of(job), 10s);
  EXPECT_TRUE(settled.ok()) << settled;
  EXPECT_THAT(harness.told.events, IsEmpty());
  WEFT_ASSERT(harness.told.scheduled.size() == 1);
  EXPECT_NEAR(harness.told.scheduled[0].count(), 10'000, kClock_ms);

  const v1::Job stored = co_await harness.get(job.spec().id());
  EXPECT_EQ(stored.state(), v1::JOB_STATE_SCHEDULED);
  EXPECT_EQ(stored.failures(), 1u);
  EXPECT_EQ(stored.snoozes(), 0u);
  EXPECT_EQ(stored.attempt(), 1u);
  EXPECT_EQ(stored.worker(), "tester");
  EXPECT_FALSE(stored.has_outcome());
  EXPECT_FALSE(stored.has_finish_time());
  EXPECT_NEAR(milliseconds(stored.due_time()) - milliseconds(job.start_time()), 10'000, kClock_ms);
  WEFT_ASSERT(stored.errors_size() == 1);
  const v1::AttemptError& error = stored.errors(0);
  EXPECT_EQ(error.attempt(), 1u);
  EXPECT_EQ(error.worker(), "tester");
  EXPECT_EQ(error.error_code(), "handler_error");
  EXPECT_EQ(error.error_message(), "no such picture");
  EXPECT_EQ(milliseconds(error.start_time()), milliseconds(job.start_time()));
  EXPECT_GE(milliseconds(error.end_time()), milliseconds(error.start_time()));
  const StoreStats stats = harness.store().stats();
  EXPECT_EQ(stats.scheduled_jobs, 1u);
  EXPECT_EQ(stats.queued_jobs, 0u);
  EXPECT_EQ(stats.running_jobs, 0u);
  EXPECT_EQ(stats.finished_jobs, 0u);

  const v1::Job again = co_await take_after(harness, 10s);
  EXPECT_EQ(again.attempt(), 2u);
  EXPECT_EQ(again.failures(), 1u);
  EXPECT_EQ(again.spec().payload(), "payload");
  EXPECT_FALSE(again.has_due_time());
}

STORE_TEST(ASnoozeIsNoFailure) {
  const v1::Job job = co_await harness.run_one();
  const Status settled = co_await harness.snooze(Harness::token_of(job), 3s);
  EXPECT_TRUE(settled.ok()) << settled;
  const v1::Job stored = co_await harness.get(job.spec().id());
  EXPECT_EQ(stored.state(), v1::JOB_STATE_SCHEDULED);
  EXPECT_EQ(stored.snoozes(), 1u);
  EXPECT_EQ(stored.failures(), 0u);
  EXPECT_EQ(stored.errors_size(), 0);
  EXPECT_NEAR(milliseconds(stored.due_time()) - milliseconds(job.start_time()), 3000, kClock_ms);
}

STORE_TEST(ARepeatedPostponementIsAnsweredUntilTheNextTake) {
  const v1::Job job = co_await harness.run_one();
  const Token token = Harness::token_of(job);
  co_await harness.must(harness.settle_later(token, 10s));
  const Status scheduled = co_await harness.settle_later(token, 10s);
  EXPECT_TRUE(scheduled.ok()) << scheduled;
  const Status of_another =
      co_await harness.settle_later(Harness::token_of(job, Harness::kOtherWorker), 10s);
  EXPECT_EQ(of_another.code(), StatusCode::kAborted);
  co_await sleep_for(11s);
  co_await harness.promote();
  const Status queued = co_await harness.settle_later(token, 10s);
  EXPECT_TRUE(queued.ok()) << queued;
  const v1::Job waiting = co_await harness.get(job.spec().id());
  EXPECT_EQ(waiting.state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(waiting.failures(), 1u);
  co_await harness.take(1);
  const Status stale = co_await harness.settle_later(token, 10s);
  EXPECT_EQ(stale.code(), StatusCode::kAborted);
}

STORE_TEST(APostponedAttemptAppendsAndSavesNothingMore) {
  const v1::Job job = co_await harness.run_one();
  const Token token = Harness::token_of(job);
  co_await harness.must(harness.settle_later(token, 10s));
  const Status appended = co_await harness.append(token, 1, {"late"});
  EXPECT_EQ(appended.code(), StatusCode::kAborted);
  const Status released = co_await harness.release(token);
  EXPECT_EQ(released.code(), StatusCode::kAborted);
  std::vector<std::pair<Token, v1::Progress>> progress;
  progress.emplace_back(token, v1::Progress());
  const auto saved = co_await harness.store().save_progress(progress);
  EXPECT_EQ(saved[0].code(), StatusCode::kAborted);
}

STORE_TEST(AReleasedJobRefusesThePostponementOfItsAttempt) {
  const v1::Job job = co_await harness.run_one();
  co_await harness.must(harness.release(Harness::token_of(job)));
  const Status settled = co_await harness.settle_later(Harness::token_of(job), 1s);
  EXPECT_EQ(settled.code(), StatusCode::kAborted);
  const v1::Job stored = co_await harness.get(job.spec().id());
  EXPECT_EQ(stored.state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(stored.failures(), 0u);
  EXPECT_EQ(stored.errors_size(), 0);
}

STORE_TEST(AJobThatIsToBeCancelledIsNotPostponed) {
  const v1::Job job = co_await harness.run_one();
  co_await harness.must(harness.store().cancel(job.spec().id(), "not wanted"));
  harness.told.events.clear();
  co_await harness.must(harness.settle_later(Harness::token_of(job), 1s));
  EXPECT_THAT(harness.told.events,
              ElementsAre("finished " + job.spec().id() + " JOB_STATE_CANCELLED"));
  EXPECT_THAT(harness.told.scheduled, IsEmpty());
  const v1::Job stored = co_await harness.get(job.spec().id());
  EXPECT_EQ(stored.state(), v1::JOB_STATE_CANCELLED);
  EXPECT_EQ(stored.failures(), 1u);
  EXPECT_EQ(stored.errors_size(), 1);
  EXPECT_EQ(stored.outcome().error_code(), "cancelled");
  EXPECT_EQ(stored.outcome().error_message(), "not wanted");
  EXPECT_FALSE(stored.has_due_time());
  EXPECT_EQ(harness.store().stats().cancelled_jobs, 1u);
  EXPECT_EQ(harness.store().stats().scheduled_jobs, 0u);
}

STORE_TEST_WITH(NoFullQueueRefusesAPostponement, StoreOptions{.queued_per_queue = 1}) {
  const v1::Job job = co_await harness.run_one();
  co_await harness.add(Harness::make_spec());
  const Status settled = co_await harness.settle_later(Harness::token_of(job), 1s);
  EXPECT_TRUE(settled.ok()) << settled;
  EXPECT_EQ(harness.store().stats().scheduled_jobs, 1u);
  EXPECT_EQ(harness.store().stats().queued_jobs, 1u);
}

STORE_TEST(ACodeThatIsNotTextBecomesText) {
  const v1::Job job = co_await harness.run_one();
  v1::Outcome outcome;
  outcome.set_error_code("caf\xe9" + std::string(kErrorCodeBytes, 'x'));
  Settlement settlement(Harness::token_of(job), v1::JOB_STATE_SCHEDULED, std::move(outcome), 0);
  settlement.pause = 1s;
  co_await harness.must(harness.settle_as(std::move(settlement)));
  const v1::Job next = co_await take_after(harness, 1s);
  EXPECT_EQ(next.attempt(), 2u);
  const v1::Job stored = co_await harness.get(job.spec().id());
  WEFT_ASSERT(stored.errors_size() == 1);
  const std::string& code = stored.errors(0).error_code();
  EXPECT_EQ(code, "caf\xef\xbf\xbd" + std::string(kErrorCodeBytes - 6, 'x'));
}

STORE_TEST(APostponementWaitsForItsChunks) {
  const v1::Job job = co_await harness.run_one();
  Settlement settlement(Harness::token_of(job), v1::JOB_STATE_SCHEDULED, v1::Outcome(), 2);
  settlement.pause = 1s;
  v1::Progress progress;
  progress.set_fraction(0.5);
  settlement.progress = progress;
  const Status early = co_await harness.settle_as(settlement);
  EXPECT_EQ(early.code(), StatusCode::kFailedPrecondition);
  co_await harness.must(harness.append(Harness::token_of(job), 1, {"a", "b"}));
  const Status settled = co_await harness.settle_as(settlement);
  EXPECT_TRUE(settled.ok()) << settled;
  const v1::Job stored = co_await harness.get(job.spec().id());
  EXPECT_EQ(stored.state(), v1::JOB_STATE_SCHEDULED);
  EXPECT_EQ(stored.last_sequence(), 2u);
  EXPECT_EQ(stored.progress().fraction(), 0.5);
  const auto before = co_await harness.read(job.spec().id());
  EXPECT_THAT(before, ElementsAre("1:a", "2:b"));
  const v1::Job again = co_await take_after(harness, 1s);
  EXPECT_EQ(again.attempt_sequence(), 3u);
  const auto after = co_await harness.read(job.spec().id());
  EXPECT_THAT(after, ElementsAre("1:a", "2:b", "3:attempt 2"));
}

STORE_TEST(AWaitingJobTakesSends) {
  const v1::Job job = co_await harness.run_one();
  co_await harness.must(harness.settle_later(Harness::token_of(job), 1s));
  const auto sent = co_await harness.store().send(job.spec().id(), "ann", 1, "hello");
  WEFT_ASSERT(sent.ok());
  EXPECT_EQ(*sent, 1u);
  const v1::Job again = co_await take_after(harness, 1s);
  EXPECT_EQ(again.last_send(), 1u);
}

STORE_TEST(EveryAttemptThatFailedLeavesItsError) {
  const v1::Job first = co_await harness.run_one();
  co_await harness.must(harness.settle_later(Harness::token_of(first), 1s, "the first"));
  const v1::Job second = co_await take_after(harness, 1s);
  co_await harness.must(harness.release(Harness::token_of(second)));  // leaves none
  const auto third = co_await harness.take(1);
  WEFT_ASSERT(third.size() == 1);
  co_await harness.must(harness.snooze(Harness::token_of(third[0]), 1s));  // nor does this
  const v1::Job fourth = co_await take_after(harness, 1s);
  co_await harness.must(harness.settle_as(dead(fourth, "the last")));

  const v1::Job stored = co_await harness.get(first.spec().id());
  EXPECT_EQ(stored.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(stored.failures(), 2u);
  EXPECT_EQ(stored.snoozes(), 1u);
  EXPECT_EQ(stored.attempt(), 4u);
  EXPECT_EQ(stored.outcome().error_message(), "the last");
  WEFT_ASSERT(stored.errors_size() == 2);
  EXPECT_EQ(stored.errors(0).attempt(), 1u);
  EXPECT_EQ(stored.errors(0).error_message(), "the first");
  EXPECT_EQ(stored.errors(1).attempt(), 4u);
  EXPECT_EQ(stored.errors(1).error_message(), "the last");
}

STORE_TEST(OnlyGetShowsTheErrors) {
  const v1::Job first = co_await harness.run_one();
  co_await harness.must(harness.settle_later(Harness::token_of(first), 1s));
  const v1::Job second = co_await take_after(harness, 1s);
  EXPECT_EQ(second.errors_size(), 0);
  co_await harness.must(harness.settle_as(dead(second, "the last")));
  WEFT_ASSERT(harness.told.finished.size() == 1);
  EXPECT_EQ(harness.told.finished[0].errors_size(), 0);
  EXPECT_EQ(harness.told.finished[0].failures(), 2u);
  const auto page = co_await harness.store().list({}, "", 10);
  WEFT_ASSERT(page.ok() && page->jobs.size() == 1);
  EXPECT_EQ(page->jobs[0].errors_size(), 0);
  EXPECT_EQ(page->jobs[0].failures(), 2u);
  const auto with_payload = co_await harness.store().get(first.spec().id(), true);
  WEFT_ASSERT(with_payload.ok());
  EXPECT_EQ(with_payload->errors_size(), 2);
  const auto retried = co_await harness.store().retry(first.spec().id());
  WEFT_ASSERT(retried.ok());
  EXPECT_EQ(retried->errors_size(), 0);
}

STORE_TEST(TheLastErrorsAreKeptAndLongOnesCut) {
  v1::Job job = co_await harness.run_one();
  const std::string long_text(limits::kAttemptErrorBytes + 1, 'x');
  for (size_t i = 0; i <= limits::kAttemptErrors; ++i) {
    const std::string text = i == limits::kAttemptErrors ? long_text : std::to_string(i);
    co_await harness.must(harness.settle_later(Harness::token_of(job), 0s, text));
    job = co_await take_after(harness, 0s);
  }
  const v1::Job stored = co_await harness.get(job.spec().id());
  EXPECT_EQ(stored.failures(), limits::kAttemptErrors + 1);
  WEFT_ASSERT(stored.errors_size() == static_cast<int>(limits::kAttemptErrors));
  EXPECT_EQ(stored.errors(0).error_message(), "1");
  EXPECT_EQ(stored.errors(0).attempt(), 2u);
  EXPECT_EQ(stored.errors(98).error_message(), "99");
  EXPECT_LE(stored.errors(99).error_message().size(), limits::kAttemptErrorBytes);
  EXPECT_GE(stored.errors(99).error_message().size(), limits::kAttemptErrorBytes - 8);
}

STORE_TEST(ARetryByHandCountsFromZeroAndKeepsTheErrors) {
  v1::JobSpec spec = Harness::make_spec();
  spec.mutable_total_timeout()->set_seconds(100);
  const v1::Job first = co_await harness.run_one(spec);
  co_await harness.must(harness.snooze(Harness::token_of(first), 1s));
  const v1::Job second = co_await take_after(harness, 1s);
  co_await harness.must(harness.settle_as(dead(second, "the last")));
  co_await sleep_for(200s);
  const auto retried = co_await harness.store().retry(first.spec().id());
  WEFT_ASSERT(retried.ok());
  EXPECT_EQ(retried->state(), v1::JOB_STATE_QUEUED);
  const v1::Job stored = co_await harness.get(first.spec().id());
  EXPECT_EQ(stored.failures(), 0u);
  EXPECT_EQ(stored.snoozes(), 0u);
  EXPECT_FALSE(stored.has_outcome());
  EXPECT_EQ(stored.errors_size(), 1);
  EXPECT_NEAR(milliseconds(stored.deadline_time()) - milliseconds(first.deadline_time()), 202'000,
              2 * kClock_ms);
  const Promoted none = co_await harness.promote();
  EXPECT_EQ(none.jobs, 0u);
  WEFT_ASSERT(none.next_in.has_value());
  EXPECT_NEAR(none.next_in->count(), 100'000, kClock_ms);
  co_await sleep_for(101s);
  const Promoted over = co_await harness.promote();
  EXPECT_EQ(over.jobs, 1u);
  const v1::Job ended = co_await harness.get(first.spec().id());
  EXPECT_EQ(ended.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(ended.outcome().error_code(), "deadline");
}

STORE_TEST(NoRetryByHandAfterExpireAt) {
  v1::JobSpec spec = Harness::make_spec();
  spec.mutable_expire_at()->set_seconds(EventLoop::current()->wall_ns() / 1'000'000'000 + 100);
  const v1::Job job = co_await harness.run_one(spec);
  co_await harness.must(harness.settle_as(dead(job, "the last")));
  co_await sleep_for(101s);
  const auto retried = co_await harness.store().retry(job.spec().id());
  EXPECT_EQ(retried.status().code(), StatusCode::kFailedPrecondition);
  const v1::Job stored = co_await harness.get(job.spec().id());
  EXPECT_EQ(stored.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(harness.store().stats().dead_jobs, 1u);
}

STORE_TEST_WITH(ScheduledJobsLeaveNoRoomForARetryByHand, StoreOptions{.queued_per_queue = 1}) {
  const v1::Job job = co_await harness.run_one();
  co_await harness.must(harness.settle(Harness::token_of(job), v1::JOB_STATE_DEAD));
  v1::JobSpec later = Harness::make_spec();
  later.mutable_delay()->set_seconds(100);
  const std::string id = co_await harness.add(later);
  const auto refused = co_await harness.store().retry(job.spec().id());
  EXPECT_EQ(refused.status().code(), StatusCode::kResourceExhausted);
  co_await harness.must(harness.store().cancel(id, ""));
  const auto retried = co_await harness.store().retry(job.spec().id());
  EXPECT_TRUE(retried.ok()) << retried.status();
}

}  // namespace
}  // namespace weft::testing
