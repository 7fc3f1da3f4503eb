// What a store promises to people: lists, retries and removals.
#include <gmock/gmock.h>

#include <weft/base/limits.h>

#include "tests/store_contract/fixture.h"

namespace weft::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> ids(const JobPage& page) {
  std::vector<std::string> out;
  for (const v1::Job& job : page.jobs) out.push_back(job.spec().id());
  return out;
}

Task<JobPage> list(Harness& h, JobFilter filter, std::string position, size_t max_jobs) {
  auto page = co_await h.store().list(std::move(filter), std::move(position), max_jobs);
  EXPECT_TRUE(page.ok()) << page.status();
  co_return page.ok() ? *std::move(page) : JobPage();
}

Task<std::vector<std::string>> list_ids(Harness& h, JobFilter filter) {
  const JobPage page = co_await list(h, std::move(filter), "", 100);
  EXPECT_EQ(page.next, "");
  co_return ids(page);
}

v1::JobSpec named(const std::string& id, const std::string& queue, const std::string& type) {
  v1::JobSpec spec = Harness::make_spec(queue);
  spec.set_id(id);
  spec.set_type(type);
  return spec;
}

// A job that has ended as DEAD.
Task<v1::Job> dead_job(Harness& h, std::string id) {
  v1::Job job = co_await h.run_one(Harness::make_spec_with_id(std::move(id)));
  co_await h.must(h.settle(Harness::token_of(job), v1::JOB_STATE_DEAD));
  co_return job;
}

STORE_TEST(ListShowsNewestFirstInPages) {
  for (int i = 0; i < 5; ++i) {
    co_await harness.add(Harness::make_spec_with_id("job-number-" + std::to_string(i)));
  }
  const JobPage first = co_await list(harness, {}, "", 2);
  EXPECT_THAT(ids(first), ElementsAre("job-number-4", "job-number-3"));
  co_await harness.add(Harness::make_spec_with_id("job-number-5"));  // no page moves by it
  const JobPage second = co_await list(harness, {}, first.next, 2);
  EXPECT_THAT(ids(second), ElementsAre("job-number-2", "job-number-1"));
  const JobPage third = co_await list(harness, {}, second.next, 2);
  EXPECT_THAT(ids(third), ElementsAre("job-number-0"));
  EXPECT_EQ(third.next, "");
  const JobPage whole = co_await list(harness, {}, "", 6);
  EXPECT_EQ(whole.jobs.size(), 6u);
  EXPECT_EQ(whole.next, "");
}

STORE_TEST(ListFiltersByStateQueueAndType) {
  co_await harness.add(named("running-a-x", "a", "x"));
  co_await harness.take(1);
  co_await harness.add(named("queued-a-x", "a", "x"));
  co_await harness.add(named("queued-b-x", "b", "x"));
  co_await harness.add(named("queued-b-y", "b", "y"));
  const auto all = co_await list_ids(harness, {});
  EXPECT_EQ(all.size(), 4u);
  const auto queued = co_await list_ids(harness, {.states = {v1::JOB_STATE_QUEUED}});
  EXPECT_THAT(queued, ElementsAre("queued-b-y", "queued-b-x", "queued-a-x"));
  const auto both =
      co_await list_ids(harness, {.states = {v1::JOB_STATE_QUEUED, v1::JOB_STATE_RUNNING}});
  EXPECT_EQ(both.size(), 4u);
  const auto in_queue = co_await list_ids(harness, {.queue = "b"});
  EXPECT_THAT(in_queue, ElementsAre("queued-b-y", "queued-b-x"));
  const auto of_type = co_await list_ids(harness, {.type = "x"});
  EXPECT_THAT(of_type, ElementsAre("queued-b-x", "queued-a-x", "running-a-x"));
  const auto exact =
      co_await list_ids(harness, {.states = {v1::JOB_STATE_QUEUED}, .queue = "a", .type = "x"});
  EXPECT_THAT(exact, ElementsAre("queued-a-x"));
  const auto none = co_await list_ids(harness, {.states = {v1::JOB_STATE_DEAD}});
  EXPECT_THAT(none, IsEmpty());
}

// A job that ends so.
Task<v1::Job> ended_job(Harness& h, v1::JobSpec spec, v1::JobState state, const char* code,
                        const char* message) {
  v1::Job job = co_await h.run_one(std::move(spec));
  v1::Outcome outcome;
  outcome.set_error_code(code);
  outcome.set_error_message(message);
  std::vector<Settlement> one;
  one.emplace_back(Harness::token_of(job), state, std::move(outcome), 0);
  TakeRequest nothing;
  const auto taken = co_await h.store().settle_and_take(std::move(one), nothing);
  EXPECT_TRUE(taken.ok() && taken->settled[0].ok());
  co_return job;
}

STORE_TEST(ListFiltersByTimeKeyAndError) {
  v1::JobSpec keyed = named("first-of-all", "a", "x");
  keyed.set_idempotency_key("the key");
  co_await ended_job(harness, keyed, v1::JOB_STATE_DEAD, "handler_error", "no route to mars");
  co_await sleep_for(std::chrono::seconds(10));
  keyed = named("second-one", "b", "x");
  keyed.set_idempotency_key("the key");
  co_await ended_job(harness, keyed, v1::JOB_STATE_DEAD, "deadline", "too slow");
  co_await sleep_for(std::chrono::seconds(10));
  co_await ended_job(harness, named("third-one-x", "a", "x"), v1::JOB_STATE_CANCELLED, "cancelled",
                     "no route wanted");
  co_await ended_job(harness, named("well-done-x", "a", "x"), v1::JOB_STATE_SUCCEEDED, "", "");
  co_await harness.add(named("waiting-one", "a", "x"));
  const auto keys = co_await list_ids(harness, {.idempotency_key = "the key"});
  EXPECT_THAT(keys, ElementsAre("second-one", "first-of-all"));
  const auto no_key = co_await list_ids(harness, {.idempotency_key = "the"});
  EXPECT_THAT(no_key, IsEmpty());
  const auto routes = co_await list_ids(harness, {.error = "no route"});
  EXPECT_THAT(routes, ElementsAre("third-one-x", "first-of-all"));
  const auto dead_routes =
      co_await list_ids(harness, {.states = {v1::JOB_STATE_DEAD}, .error = "no route"});
  EXPECT_THAT(dead_routes, ElementsAre("first-of-all"));
  const auto codes = co_await list_ids(harness, {.error = "deadl"});
  EXPECT_THAT(codes, ElementsAre("second-one"));
  const auto across = co_await list_ids(harness, {.error = "deadline too"});
  EXPECT_THAT(across, IsEmpty()) << "code and message are two texts";
  const auto second = co_await harness.get("second-one");
  const int64_t at = second.submit_time().seconds() * 1'000'000'000 + second.submit_time().nanos();
  const auto from = co_await list_ids(harness, {.queue = "b", .submitted_from_ns = at});
  EXPECT_THAT(from, ElementsAre("second-one"));
  const auto later = co_await list_ids(harness, {.submitted_from_ns = at + 1});
  EXPECT_THAT(later, ElementsAre("waiting-one", "well-done-x", "third-one-x"));
  const auto before = co_await list_ids(harness, {.submitted_before_ns = at});
  EXPECT_THAT(before, ElementsAre("first-of-all"));
  const auto up_to = co_await list_ids(harness, {.submitted_before_ns = at + 1});
  EXPECT_THAT(up_to, ElementsAre("second-one", "first-of-all"));
}

STORE_TEST(AListAgainFromWhereItBeganIsWithoutWhatCameSince) {
  const JobPage none = co_await list(harness, {}, "", 10);
  co_await harness.add(named("first-of-all", "a", "x"));
  const JobPage still_none = co_await list(harness, {}, none.from, 10);
  EXPECT_THAT(ids(still_none), IsEmpty());
  const JobPage one = co_await list(harness, {.queue = "nobody"}, "", 10);
  EXPECT_THAT(ids(one), IsEmpty());
  co_await harness.add(named("second-one", "a", "x"));
  const JobPage first = co_await list(harness, {}, one.from, 10);
  EXPECT_THAT(ids(first), ElementsAre("first-of-all"));
  const JobPage again = co_await list(harness, {}, first.from, 10);
  EXPECT_THAT(ids(again), ElementsAre("first-of-all"));
}

STORE_TEST(ListedJobsHaveNeitherPayloadNorResult) {
  const v1::Job job = co_await harness.run_one(Harness::make_spec("q", "large payload"));
  co_await harness.must(harness.append(Harness::token_of(job), 1, {"a", "b"}));
  co_await harness.must(harness.store().send(job.spec().id(), "ann", 1, "v"));
  const JobPage running = co_await list(harness, {}, "", 1);
  WEFT_ASSERT(running.jobs.size() == 1);
  EXPECT_EQ(running.jobs[0].last_sequence(), 2u);
  EXPECT_EQ(running.jobs[0].last_send(), 1u);
  EXPECT_EQ(running.jobs[0].worker(), "tester");
  co_await harness.must(
      harness.settle(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, 2, "large result"));
  const JobPage ended = co_await list(harness, {}, "", 1);
  WEFT_ASSERT(ended.jobs.size() == 1);
  EXPECT_EQ(ended.jobs[0].state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(ended.jobs[0].spec().payload(), "");
  EXPECT_EQ(ended.jobs[0].outcome().result(), "");
  EXPECT_EQ(ended.jobs[0].spec().type(), "echo");
  EXPECT_EQ(ended.jobs[0].last_sequence(), 2u);
}

STORE_TEST(ListRefusesForeignPositions) {
  co_await harness.add(Harness::make_spec());
  for (const char* position : {"x", "-1", "0", "01", "1 ", "9999999999999999999999", "1;drop"}) {
    const auto refused = co_await harness.store().list({}, position, 10);
    EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument) << position;
    EXPECT_EQ(field_of(refused.status()), "page_token");
  }
}

STORE_TEST(ListLooksAtABoundedNumberOfRecords) {
  co_await harness.add(named("the-oldest-one", "rare", "x"));
  for (size_t i = 0; i < limits::kListScan; i += 1000) {
    std::vector<v1::JobSpec> specs(1000, Harness::make_spec());
    co_await harness.store().submit(std::move(specs));
  }
  const JobPage first = co_await list(harness, {.queue = "rare"}, "", 10);
  EXPECT_THAT(ids(first), IsEmpty());
  EXPECT_NE(first.next, "");
  const JobPage second = co_await list(harness, {.queue = "rare"}, first.next, 10);
  EXPECT_THAT(ids(second), ElementsAre("the-oldest-one"));
  EXPECT_EQ(second.next, "");
}

STORE_TEST(ADeadJobIsRetriedByHand) {
  v1::Job job = co_await harness.run_one(Harness::make_spec_with_id("dead-job-1"));
  co_await harness.must(harness.append(Harness::token_of(job), 1, {"a"}));
  co_await harness.must(
      harness.settle(Harness::token_of(job), v1::JOB_STATE_DEAD, 1, "half a result"));
  harness.told.events.clear();
  const auto retried = co_await harness.store().retry("dead-job-1");
  WEFT_ASSERT(retried.ok());
  EXPECT_EQ(retried->state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(retried->attempt(), 1u);
  EXPECT_FALSE(retried->has_outcome());
  EXPECT_FALSE(retried->has_finish_time());
  EXPECT_EQ(retried->last_sequence(), 1u);
  EXPECT_EQ(retried->spec().payload(), "");
  EXPECT_THAT(harness.told.events, ElementsAre("work"));
  EXPECT_EQ(harness.store().stats().queued_jobs, 1u);
  const v1::Job stored = co_await harness.get("dead-job-1");
  EXPECT_EQ(stored.state(), v1::JOB_STATE_QUEUED);
  EXPECT_FALSE(stored.has_outcome());
  // The stale token of the attempt that failed does nothing now.
  const Status stale = co_await harness.settle(Harness::token_of(job));
  EXPECT_EQ(stale.code(), StatusCode::kAborted);
  const auto jobs = co_await harness.take(5);
  WEFT_ASSERT(jobs.size() == 1);
  EXPECT_EQ(jobs[0].attempt(), 2u);
  EXPECT_EQ(jobs[0].spec().payload(), "payload");
  const auto entries = co_await harness.read("dead-job-1");
  EXPECT_THAT(entries, ElementsAre("1:a", "2:attempt 2"));
  co_await harness.must(
      harness.settle(Harness::token_of(jobs[0]), v1::JOB_STATE_SUCCEEDED, 2, "whole"));
  const v1::Job ended = co_await harness.get("dead-job-1");
  EXPECT_EQ(ended.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(ended.outcome().result(), "whole");
}

STORE_TEST(OnlyADeadJobIsRetried) {
  co_await harness.add(Harness::make_spec_with_id("some-job-1"));
  const auto queued = co_await harness.store().retry("some-job-1");
  auto jobs = co_await harness.take(1);
  WEFT_ASSERT(jobs.size() == 1);
  const auto running = co_await harness.store().retry("some-job-1");
  co_await harness.must(harness.settle(Harness::token_of(jobs[0])));
  const auto succeeded = co_await harness.store().retry("some-job-1");
  const auto unknown = co_await harness.store().retry("unknown-job-1");
  EXPECT_EQ(queued.status().code(), StatusCode::kFailedPrecondition) << queued.status();
  EXPECT_EQ(running.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(running.status().message()), HasSubstr("running"));
  EXPECT_EQ(succeeded.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(unknown.status().code(), StatusCode::kNotFound);
  const auto none = co_await harness.take(5);
  EXPECT_THAT(none, IsEmpty());
}

STORE_TEST_WITH(ARetryFindsTheQueueFull, StoreOptions{.queued_per_queue = 1}) {
  co_await dead_job(harness, "dead-job-1");
  co_await harness.add(Harness::make_spec());
  const auto refused = co_await harness.store().retry("dead-job-1");
  EXPECT_EQ(refused.status().code(), StatusCode::kResourceExhausted) << refused.status();
  EXPECT_GT(retry_ms_of(refused.status()), 0);
  co_await harness.take(1);
  const auto retried = co_await harness.store().retry("dead-job-1");
  EXPECT_TRUE(retried.ok()) << retried.status();
}

STORE_TEST(RemovedJobIsGoneWithAllItHad) {
  const v1::Job job = co_await harness.run_one(Harness::make_spec_with_id("some-job-1"));
  co_await harness.must(harness.append(Harness::token_of(job), 1, {"a", "b"}));
  co_await harness.must(harness.store().send("some-job-1", "ann", 1, "v"));
  const Status running = co_await harness.store().remove("some-job-1");
  EXPECT_EQ(running.code(), StatusCode::kFailedPrecondition) << running;
  co_await harness.must(harness.settle(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, 2, "r"));
  const Status removed = co_await harness.store().remove("some-job-1");
  EXPECT_TRUE(removed.ok()) << removed;
  const Status again = co_await harness.store().remove("some-job-1");
  const auto read = co_await harness.store().read("some-job-1", 0, 100);
  const auto sends = co_await harness.store().read_sends("some-job-1", 0);
  const auto got = co_await harness.store().get("some-job-1", false);
  const Status settled = co_await harness.settle(Harness::token_of(job));
  EXPECT_EQ(again.code(), StatusCode::kNotFound);
  EXPECT_EQ(read.status().code(), StatusCode::kNotFound);
  EXPECT_EQ(sends.status().code(), StatusCode::kNotFound);
  EXPECT_EQ(got.status().code(), StatusCode::kNotFound);
  EXPECT_EQ(settled.code(), StatusCode::kNotFound);
  const JobPage page = co_await list(harness, {}, "", 10);
  EXPECT_THAT(ids(page), IsEmpty());
  // The id is free, and the new job has nothing of the old one.
  const v1::Job next = co_await harness.run_one(Harness::make_spec_with_id("some-job-1"));
  EXPECT_EQ(next.attempt(), 1u);
  EXPECT_EQ(next.last_sequence(), 0u);
  co_await harness.must(harness.append(Harness::token_of(next), 1, {"new"}));
  const auto entries = co_await harness.read("some-job-1");
  EXPECT_THAT(entries, ElementsAre("1:new"));
}

STORE_TEST(AWaitingJobIsNotRemoved) {
  co_await harness.add(Harness::make_spec_with_id("some-job-1"));
  const Status refused = co_await harness.store().remove("some-job-1");
  EXPECT_EQ(refused.code(), StatusCode::kFailedPrecondition) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("cancel it"));
  co_await harness.must(harness.store().cancel("some-job-1", ""));
  const Status removed = co_await harness.store().remove("some-job-1");
  EXPECT_TRUE(removed.ok()) << removed;
  const auto none = co_await harness.take(1);
  EXPECT_THAT(none, IsEmpty());
}

}  // namespace
}  // namespace weft::testing
