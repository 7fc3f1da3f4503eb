// What a store promises about jobs that are due later, and about those whose time is over.
#include <gmock/gmock.h>

#include <algorithm>

#include "tests/store_contract/fixture.h"

namespace weft::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

// A server's clock goes on while it is asked.
constexpr int64_t kClock_ms = 900;

int64_t milliseconds(const google::protobuf::Timestamp& time) {
  return time.seconds() * 1000 + time.nanos() / 1'000'000;
}
int64_t now_seconds() { return EventLoop::current()->wall_ns() / 1'000'000'000; }

v1::JobSpec named(const std::string& payload) { return Harness::make_spec("q", payload); }
v1::JobSpec delayed(const std::string& payload, int64_t seconds) {
  v1::JobSpec spec = named(payload);
  spec.mutable_delay()->set_seconds(seconds);
  return spec;
}
v1::JobSpec expiring(const std::string& payload, int64_t seconds) {
  v1::JobSpec spec = named(payload);
  spec.mutable_expire_at()->set_seconds(now_seconds() + seconds);
  return spec;
}
v1::JobSpec limited(const std::string& payload, int64_t seconds) {
  v1::JobSpec spec = named(payload);
  spec.mutable_total_timeout()->set_seconds(seconds);
  return spec;
}

std::vector<std::string> payloads(const std::vector<v1::Job>& jobs) {
  std::vector<std::string> out;
  for (const v1::Job& job : jobs) out.push_back(job.spec().payload());
  return out;
}

STORE_TEST(ADelayedJobIsScheduled) {
  const std::string id = co_await harness.add(delayed("a", 10));
  EXPECT_THAT(harness.told.events, IsEmpty());
  WEFT_ASSERT(harness.told.scheduled.size() == 1);
  EXPECT_NEAR(harness.told.scheduled[0].count(), 10'000, kClock_ms);
  const v1::Job job = co_await harness.get(id);
  EXPECT_EQ(job.state(), v1::JOB_STATE_SCHEDULED);
  EXPECT_EQ(milliseconds(job.due_time()) - milliseconds(job.submit_time()), 10'000);
  EXPECT_EQ(job.attempt(), 0u);
  EXPECT_EQ(harness.store().stats().scheduled_jobs, 1u);
  EXPECT_EQ(harness.store().stats().queued_jobs, 0u);
  EXPECT_EQ(harness.store().stats().submitted_jobs, 1u);
  const auto taken = co_await harness.take(5);
  EXPECT_THAT(taken, IsEmpty());
}

STORE_TEST(RunAtIsATimeToComeOrNone) {
  v1::JobSpec later = named("later");
  later.mutable_run_at()->set_seconds(now_seconds() + 60);
  v1::JobSpec past = named("past");
  past.mutable_run_at()->set_seconds(now_seconds() - 60);
  v1::JobSpec now = named("now");
  now.mutable_delay();
  std::vector<v1::JobSpec> specs{later, past, now};
  const auto answers = co_await harness.store().submit(specs);
  WEFT_ASSERT(answers.size() == 3 && answers[0].ok() && answers[1].ok() && answers[2].ok());
  EXPECT_THAT(harness.told.events, ElementsAre("work"));
  EXPECT_EQ(harness.told.scheduled.size(), 1u);
  const v1::Job scheduled = co_await harness.get(answers[0]->id);
  EXPECT_EQ(scheduled.state(), v1::JOB_STATE_SCHEDULED);
  EXPECT_EQ(milliseconds(scheduled.due_time()), later.run_at().seconds() * 1000);
  const auto taken = co_await harness.take(5);
  EXPECT_THAT(payloads(taken), ElementsAre("past", "now"));
  EXPECT_FALSE(taken[0].has_due_time());
}

// From the beginning of the years 1, 1500 and 1600, which no nanoseconds since 1970 count, to 1970.
constexpr int64_t kLongAgo_s[] = {-62'135'596'800, -14'831'769'600, -11'676'096'000, -1, 0};
constexpr int64_t kYear9999_s = 253'402'300'799;

STORE_TEST(RunAtMayBeAnyTime) {
  for (const int64_t seconds : kLongAgo_s) {
    v1::JobSpec spec = named(std::to_string(seconds));
    spec.mutable_run_at()->set_seconds(seconds);
    const std::string id = co_await harness.add(spec);
    const v1::Job job = co_await harness.get(id);
    EXPECT_EQ(job.state(), v1::JOB_STATE_QUEUED) << seconds;
    EXPECT_FALSE(job.has_due_time()) << seconds;
  }
  const auto taken = co_await harness.take(10);
  EXPECT_EQ(taken.size(), std::size(kLongAgo_s));
  v1::JobSpec far = named("far");
  far.mutable_run_at()->set_seconds(kYear9999_s);
  const std::string id = co_await harness.add(far);
  const v1::Job job = co_await harness.get(id);
  EXPECT_EQ(job.state(), v1::JOB_STATE_SCHEDULED);
  EXPECT_EQ(milliseconds(job.due_time()), kYear9999_s * 1000);
  const Promoted promoted = co_await harness.promote();
  EXPECT_EQ(promoted.jobs, 0u);
  WEFT_ASSERT(promoted.next_in.has_value());
  EXPECT_NEAR(promoted.next_in->count(), (kYear9999_s - now_seconds()) * 1000, 1000 + kClock_ms);
}

STORE_TEST(ExpireAtMayBeAnyTime) {
  for (const int64_t seconds : kLongAgo_s) {
    v1::JobSpec spec = named(std::to_string(seconds));
    spec.mutable_expire_at()->set_seconds(seconds);
    const std::string id = co_await harness.add(spec);
    const auto taken = co_await harness.take(1);
    EXPECT_THAT(taken, IsEmpty()) << seconds;
    const v1::Job job = co_await harness.get(id);
    EXPECT_EQ(job.state(), v1::JOB_STATE_EXPIRED) << seconds;
    EXPECT_EQ(job.outcome().error_code(), "expired") << seconds;
  }
  v1::JobSpec far = named("far");
  far.mutable_expire_at()->set_seconds(kYear9999_s);
  co_await harness.add(far);
  const Promoted promoted = co_await harness.promote();
  EXPECT_EQ(promoted.jobs, 0u);
  const auto taken = co_await harness.take(1);
  EXPECT_THAT(payloads(taken), ElementsAre("far"));
}

STORE_TEST(JobsThatExpiredBefore1970EndAsTheyWereSubmitted) {
  std::vector<std::string> ids;
  for (const int64_t seconds : {int64_t{0}, -kYear9999_s / 5, int64_t{-1}}) {
    v1::JobSpec spec = named("a");
    spec.mutable_expire_at()->set_seconds(seconds);
    ids.push_back(co_await harness.add(spec));
  }
  for (const std::string& id : ids) {
    const Promoted promoted = co_await harness.promote(1);
    EXPECT_EQ(promoted.jobs, 1u);
    const v1::Job job = co_await harness.get(id);
    EXPECT_EQ(job.state(), v1::JOB_STATE_EXPIRED) << id;
  }
}

STORE_TEST(AJobThatExpiresBeforeItsDelayIsOverExpires) {
  v1::JobSpec spec = delayed("a", 60);
  spec.mutable_expire_at()->set_seconds(now_seconds() + 30);
  const std::string id = co_await harness.add(spec);
  co_await sleep_for(31s);
  co_await harness.promote();
  const v1::Job job = co_await harness.get(id);
  EXPECT_EQ(job.state(), v1::JOB_STATE_EXPIRED);
  EXPECT_EQ(harness.store().stats().scheduled_jobs, 0u);
}

STORE_TEST(TheTotalTimeoutBeginsWithTheSubmission) {
  const std::string id = co_await harness.add(limited("a", 30));
  const v1::Job job = co_await harness.get(id);
  EXPECT_EQ(milliseconds(job.deadline_time()) - milliseconds(job.submit_time()), 30'000);
}

STORE_TEST(AScheduledJobIsSubmittedOnce) {
  v1::JobSpec spec = delayed("a", 10);
  spec.set_id("scheduled-1");
  spec.set_idempotency_key("scheduled-1");
  co_await harness.add(spec);
  const auto again = co_await harness.submit(spec);
  WEFT_ASSERT(again.ok());
  EXPECT_TRUE(again->existing);
  spec.mutable_delay()->set_seconds(11);
  const auto other = co_await harness.submit(spec);
  EXPECT_EQ(other.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(harness.store().stats().scheduled_jobs, 1u);
}

STORE_TEST_WITH(ScheduledJobsCountForTheBoundOfTheirQueue, StoreOptions{.queued_per_queue = 2}) {
  const std::string id = co_await harness.add(delayed("a", 10));
  co_await harness.add(named("b"));
  const auto queued = co_await harness.submit(named("c"));
  EXPECT_EQ(queued.status().code(), StatusCode::kResourceExhausted);
  const auto scheduled = co_await harness.submit(delayed("c", 10));
  EXPECT_EQ(scheduled.status().code(), StatusCode::kResourceExhausted);
  co_await harness.add(Harness::make_spec("another"));
  co_await sleep_for(11s);
  co_await harness.promote();
  const auto still = co_await harness.submit(named("c"));
  EXPECT_EQ(still.status().code(), StatusCode::kResourceExhausted);
  co_await harness.must(harness.store().cancel(id, ""));
  const auto room = co_await harness.submit(delayed("c", 10));
  EXPECT_TRUE(room.ok()) << room.status();
}

STORE_TEST(ADueJobIsQueuedBehindTheOthers) {
  co_await harness.add(delayed("late", 20));
  co_await harness.add(delayed("early", 10));
  co_await harness.add(named("old"));
  co_await sleep_for(21s);
  co_await harness.add(named("new"));
  harness.told.events.clear();
  const Promoted promoted = co_await harness.promote();
  EXPECT_EQ(promoted.jobs, 2u);
  EXPECT_FALSE(promoted.next_in.has_value());
  EXPECT_THAT(harness.told.events, ElementsAre("work"));
  EXPECT_EQ(harness.store().stats().scheduled_jobs, 0u);
  EXPECT_EQ(harness.store().stats().queued_jobs, 4u);
  co_await harness.add(named("newest"));
  const auto taken = co_await harness.take(5);
  EXPECT_THAT(payloads(taken), ElementsAre("old", "new", "early", "late", "newest"));
}

STORE_TEST(JobsDueAtOnceAreQueuedAsTheyWereSubmitted) {
  std::vector<v1::JobSpec> specs;
  for (const char* name : {"a", "b", "c", "d"}) specs.push_back(delayed(name, 10));
  const auto answers = co_await harness.store().submit(specs);
  EXPECT_EQ(answers.size(), 4u);
  co_await sleep_for(11s);
  co_await harness.promote(2);
  co_await harness.promote(2);
  const auto taken = co_await harness.take(5);
  EXPECT_THAT(payloads(taken), ElementsAre("a", "b", "c", "d"));
}

STORE_TEST(APromotedJobThatIsHandedBackStandsInFront) {
  co_await harness.add(delayed("a", 10));
  co_await sleep_for(11s);
  co_await harness.promote();
  co_await harness.add(named("b"));
  const auto taken = co_await harness.take(1);
  WEFT_ASSERT(taken.size() == 1);
  EXPECT_EQ(taken[0].state(), v1::JOB_STATE_RUNNING);
  co_await harness.must(harness.release(Harness::token_of(taken[0])));
  const auto again = co_await harness.take(2);
  EXPECT_THAT(payloads(again), ElementsAre("a", "b"));
}

STORE_TEST(NothingIsPromotedBeforeItsTime) {
  const Promoted empty = co_await harness.promote();
  EXPECT_EQ(empty.jobs, 0u);
  EXPECT_FALSE(empty.next_in.has_value());
  co_await harness.add(named("without a time"));
  co_await harness.add(delayed("a", 20));
  co_await harness.add(expiring("b", 10));
  co_await sleep_for(8s);
  const Promoted early = co_await harness.promote();
  EXPECT_EQ(early.jobs, 0u);
  WEFT_ASSERT(early.next_in.has_value());
  EXPECT_NEAR(early.next_in->count(), 2000, 2 * kClock_ms);
  co_await sleep_for(4s);
  const Promoted expired = co_await harness.promote();
  EXPECT_EQ(expired.jobs, 1u);
  WEFT_ASSERT(expired.next_in.has_value());
  EXPECT_NEAR(expired.next_in->count(), 8000, kClock_ms);
}

STORE_TEST(APromotionMovesSoManyAndTheEarliest) {
  for (const int64_t seconds : {5, 2, 4}) {
    co_await harness.add(delayed(std::to_string(seconds), seconds));
  }
  co_await harness.add(expiring("3", 3));
  co_await sleep_for(10s);
  const Promoted first = co_await harness.promote(2);
  EXPECT_EQ(first.jobs, 2u);
  EXPECT_EQ(first.next_in, 0ms);
  EXPECT_EQ(harness.store().stats().expired_jobs, 1u);
  EXPECT_EQ(harness.store().stats().scheduled_jobs, 2u);
  const Promoted second = co_await harness.promote(2);
  EXPECT_EQ(second.jobs, 2u);
  EXPECT_FALSE(second.next_in.has_value());
  const auto taken = co_await harness.take(5);
  EXPECT_THAT(payloads(taken), ElementsAre("2", "4", "5"));
}

STORE_TEST(AWaitingJobExpires) {
  const std::string queued = co_await harness.add(expiring("a", 10));
  v1::JobSpec spec = delayed("b", 20);
  spec.mutable_expire_at()->set_seconds(now_seconds() + 10);
  const std::string scheduled = co_await harness.add(spec);
  v1::JobSpec both = delayed("c", 5);
  both.mutable_expire_at()->set_seconds(now_seconds() + 10);
  const std::string due_too = co_await harness.add(both);
  co_await sleep_for(11s);
  harness.told.events.clear();
  const Promoted promoted = co_await harness.promote();
  EXPECT_EQ(promoted.jobs, 3u);
  EXPECT_FALSE(promoted.next_in.has_value());
  EXPECT_THAT(harness.told.events,
              UnorderedElementsAre("finished " + queued + " JOB_STATE_EXPIRED",
                                   "finished " + scheduled + " JOB_STATE_EXPIRED",
                                   "finished " + due_too + " JOB_STATE_EXPIRED"));
  WEFT_ASSERT(harness.told.finished.size() == 3);
  EXPECT_EQ(harness.told.finished[0].outcome().error_code(), "expired");
  EXPECT_EQ(harness.told.finished[0].spec().payload(), "");
  const StoreStats stats = harness.store().stats();
  EXPECT_EQ(stats.expired_jobs, 3u);
  EXPECT_EQ(stats.finished_jobs, 3u);
  EXPECT_EQ(stats.queued_jobs, 0u);
  EXPECT_EQ(stats.scheduled_jobs, 0u);
  const v1::Job job = co_await harness.get(scheduled);
  EXPECT_EQ(job.state(), v1::JOB_STATE_EXPIRED);
  EXPECT_EQ(job.outcome().error_code(), "expired");
  EXPECT_TRUE(job.has_finish_time());
  EXPECT_FALSE(job.has_due_time());
  EXPECT_EQ(job.failures(), 0u);
  EXPECT_EQ(job.errors_size(), 0);
}

STORE_TEST(AWaitingJobWhoseTotalTimeoutIsOverIsDead) {
  const std::string id = co_await harness.add(limited("a", 10));
  co_await sleep_for(11s);
  const Promoted promoted = co_await harness.promote();
  EXPECT_EQ(promoted.jobs, 1u);
  const v1::Job job = co_await harness.get(id);
  EXPECT_EQ(job.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(job.outcome().error_code(), "deadline");
  EXPECT_EQ(harness.store().stats().dead_jobs, 1u);
}

STORE_TEST(ExpiryIsSaidBeforeTheTotalTimeout) {
  v1::JobSpec spec = expiring("a", 20);
  spec.mutable_total_timeout()->set_seconds(10);
  const std::string id = co_await harness.add(spec);
  co_await sleep_for(21s);
  co_await harness.promote();
  const v1::Job job = co_await harness.get(id);
  EXPECT_EQ(job.state(), v1::JOB_STATE_EXPIRED);
}

STORE_TEST(APostponedJobExpiresBeforeItIsDue) {
  const v1::Job job = co_await harness.run_one(expiring("a", 10));
  co_await harness.must(harness.settle_later(Harness::token_of(job), 60s));
  co_await sleep_for(11s);
  co_await harness.promote();
  const v1::Job stored = co_await harness.get(job.spec().id());
  EXPECT_EQ(stored.state(), v1::JOB_STATE_EXPIRED);
  EXPECT_EQ(stored.failures(), 1u);
  EXPECT_EQ(stored.errors_size(), 1);
  EXPECT_FALSE(stored.has_due_time());
}

STORE_TEST(ARunningJobIsNotEndedByTime) {
  v1::JobSpec spec = expiring("a", 10);
  spec.mutable_total_timeout()->set_seconds(10);
  const v1::Job job = co_await harness.run_one(spec);
  co_await sleep_for(11s);
  const Promoted none = co_await harness.promote();
  EXPECT_EQ(none.jobs, 0u);
  EXPECT_FALSE(none.next_in.has_value());
  co_await harness.must(harness.settle(Harness::token_of(job)));
  const v1::Job stored = co_await harness.get(job.spec().id());
  EXPECT_EQ(stored.state(), v1::JOB_STATE_SUCCEEDED);
}

STORE_TEST(AJobThatIsHandedBackHasItsTimeAgain) {
  const v1::Job job = co_await harness.run_one(expiring("a", 10));
  co_await sleep_for(11s);
  co_await harness.must(harness.release(Harness::token_of(job)));
  const Promoted promoted = co_await harness.promote();
  EXPECT_EQ(promoted.jobs, 1u);
  const v1::Job stored = co_await harness.get(job.spec().id());
  EXPECT_EQ(stored.state(), v1::JOB_STATE_EXPIRED);
}

STORE_TEST(ATakeEndsWhatIsOverAndStartsTheNext) {
  const std::string expired = co_await harness.add(expiring("a", 10));
  const std::string over = co_await harness.add(limited("b", 10));
  co_await harness.add(named("c"));
  co_await harness.add(named("d"));
  co_await sleep_for(11s);
  harness.told.events.clear();
  // The room is for those that are started.
  std::vector<Settlement> none;
  TakeRequest request{.worker = Harness::kWorker,
                      .worker_name = "tester",
                      .max_jobs = 5,
                      .type_room = {{"echo", 1}}};
  const auto taken = co_await harness.store().settle_and_take(none, request);
  WEFT_ASSERT(taken.ok());
  EXPECT_THAT(payloads(taken->jobs), ElementsAre("c"));
  EXPECT_THAT(harness.told.events,
              UnorderedElementsAre("finished " + expired + " JOB_STATE_EXPIRED",
                                   "finished " + over + " JOB_STATE_DEAD"));
  const StoreStats stats = harness.store().stats();
  EXPECT_EQ(stats.queued_jobs, 1u);
  EXPECT_EQ(stats.running_jobs, 1u);
  EXPECT_EQ(stats.expired_jobs, 1u);
  EXPECT_EQ(stats.dead_jobs, 1u);
  const v1::Job stored = co_await harness.get(expired);
  EXPECT_EQ(stored.attempt(), 0u);
  const Promoted promoted = co_await harness.promote();
  EXPECT_EQ(promoted.jobs, 0u);
  EXPECT_FALSE(promoted.next_in.has_value());
}

STORE_TEST(ATakeThatOnlyEndsJobsTellsOfTheRest) {
  constexpr int kJobs = 1200;
  for (int i = 0; i < kJobs; i += 400) {
    std::vector<v1::JobSpec> specs(400, expiring("over", 10));
    co_await harness.store().submit(specs);
  }
  co_await harness.add(named("last"));
  co_await sleep_for(11s);
  std::vector<v1::Job> taken;
  for (int i = 0; i < 20 && taken.empty(); ++i) {
    harness.told.events.clear();
    taken = co_await harness.take(1);
    const bool told = std::find(harness.told.events.begin(), harness.told.events.end(), "work") !=
                      harness.told.events.end();
    EXPECT_TRUE(told || !taken.empty());
  }
  EXPECT_THAT(payloads(taken), ElementsAre("last"));
  EXPECT_EQ(harness.store().stats().expired_jobs, static_cast<uint64_t>(kJobs));
  EXPECT_EQ(harness.store().stats().queued_jobs, 0u);
}

STORE_TEST(AScheduledJobIsCancelledAtOnce) {
  const std::string id = co_await harness.add(delayed("a", 10));
  const auto cancelled = co_await harness.store().cancel(id, "not wanted");
  WEFT_ASSERT(cancelled.ok());
  EXPECT_EQ(cancelled->result(), v1::CancelResponse::CANCELLED);
  EXPECT_EQ(cancelled->state(), v1::JOB_STATE_CANCELLED);
  EXPECT_THAT(harness.told.events, ElementsAre("finished " + id + " JOB_STATE_CANCELLED"));
  const v1::Job job = co_await harness.get(id);
  EXPECT_EQ(job.outcome().error_message(), "not wanted");
  EXPECT_FALSE(job.has_due_time());
  EXPECT_EQ(harness.store().stats().scheduled_jobs, 0u);
  co_await sleep_for(11s);
  const Promoted promoted = co_await harness.promote();
  EXPECT_EQ(promoted.jobs, 0u);
}

STORE_TEST(AScheduledJobIsNeitherRetriedNorRemoved) {
  const std::string id = co_await harness.add(delayed("a", 10));
  const auto retried = co_await harness.store().retry(id);
  EXPECT_EQ(retried.status().code(), StatusCode::kFailedPrecondition);
  const Status removed = co_await harness.store().remove(id);
  EXPECT_EQ(removed.code(), StatusCode::kFailedPrecondition);
}

STORE_TEST(ListsTellScheduledAndExpired) {
  const std::string scheduled = co_await harness.add(delayed("a", 60));
  const std::string expired = co_await harness.add(expiring("b", 10));
  co_await sleep_for(11s);
  co_await harness.promote();
  const auto waiting = co_await harness.store().list({.states = {v1::JOB_STATE_SCHEDULED}}, "", 10);
  WEFT_ASSERT(waiting.ok() && waiting->jobs.size() == 1);
  EXPECT_EQ(waiting->jobs[0].spec().id(), scheduled);
  EXPECT_TRUE(waiting->jobs[0].has_due_time());
  const auto ended = co_await harness.store().list({.states = {v1::JOB_STATE_EXPIRED}}, "", 10);
  WEFT_ASSERT(ended.ok() && ended->jobs.size() == 1);
  EXPECT_EQ(ended->jobs[0].spec().id(), expired);
}

STORE_TEST(AnExpiredJobIsKeptAndRemovedLikeTheOthers) {
  v1::JobSpec brief = expiring("a", 10);
  brief.mutable_retention()->set_seconds(0);
  v1::JobSpec kept = expiring("b", 10);
  kept.mutable_retention()->set_seconds(60);
  const std::string first = co_await harness.add(brief);
  const std::string second = co_await harness.add(kept);
  const std::string third = co_await harness.add(expiring("c", 10));
  co_await sleep_for(11s);
  const Promoted promoted = co_await harness.promote();
  EXPECT_EQ(promoted.jobs, 3u);
  EXPECT_EQ(harness.store().stats().expired_jobs, 2u);
  const auto gone = co_await harness.store().get(first, false);
  EXPECT_EQ(gone.status().code(), StatusCode::kNotFound);
  co_await harness.must(harness.store().remove(third));
  co_await sleep_for(62s);
  const auto swept = co_await harness.store().sweep(10);
  WEFT_ASSERT(swept.ok());
  EXPECT_EQ(*swept, 1u);
  const auto forgotten = co_await harness.store().get(second, false);
  EXPECT_EQ(forgotten.status().code(), StatusCode::kNotFound);
  EXPECT_EQ(harness.store().stats().expired_jobs, 0u);
}

STORE_TEST(AnExpiredJobIsNotRetried) {
  const std::string id = co_await harness.add(expiring("a", 10));
  co_await sleep_for(11s);
  co_await harness.promote();
  const auto retried = co_await harness.store().retry(id);
  EXPECT_EQ(retried.status().code(), StatusCode::kFailedPrecondition);
  const auto cancelled = co_await harness.store().cancel(id, "");
  WEFT_ASSERT(cancelled.ok());
  EXPECT_EQ(cancelled->result(), v1::CancelResponse::ALREADY_FINISHED);
}

}  // namespace
}  // namespace weft::testing
