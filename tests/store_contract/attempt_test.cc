// What a store promises about takes, tokens, settles, releases and cancels.
#include <gmock/gmock.h>

#include <weft/runtime/combinators.h>

#include "tests/store_contract/fixture.h"

namespace weft::testing {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> payloads(const std::vector<v1::Job>& jobs) {
  std::vector<std::string> out;
  for (const v1::Job& job : jobs) out.push_back(job.spec().payload());
  return out;
}

STORE_TEST(TakesOldestFirst) {
  for (const char* name : {"a", "b", "c"}) co_await harness.add(Harness::make_spec("q", name));
  const auto two = co_await harness.take(2);
  const auto rest = co_await harness.take(2);
  const auto none = co_await harness.take(2);
  EXPECT_THAT(payloads(two), ElementsAre("a", "b"));
  EXPECT_THAT(payloads(rest), ElementsAre("c"));
  EXPECT_TRUE(none.empty());
}

STORE_TEST(TakesFromQueuesInTurn) {
  for (const char* name : {"a1", "a2", "a3", "a4"}) {
    co_await harness.add(Harness::make_spec("a", name));
  }
  for (const char* name : {"b1", "b2"}) co_await harness.add(Harness::make_spec("b", name));
  const auto first = co_await harness.take(3);
  EXPECT_THAT(payloads(first), ElementsAre("a1", "b1", "a2"));
  const auto second = co_await harness.take(5);
  EXPECT_THAT(payloads(second), ElementsAre("b2", "a3", "a4"));
}

STORE_TEST_WITH(TakeStopsAtItsBytesAndTellsOfTheRest, StoreOptions{.take_bytes = 1000}) {
  for (int i = 0; i < 5; ++i) co_await harness.add(Harness::make_spec("q", std::string(400, 'x')));
  co_await harness.add(Harness::make_spec("q", std::string(5000, 'x')));
  harness.told.events.clear();
  const auto first = co_await harness.take(10);
  EXPECT_EQ(first.size(), 3u);
  EXPECT_THAT(harness.told.events, ElementsAre("work"));
  const auto second = co_await harness.take(10);
  EXPECT_EQ(second.size(), 3u);  // the last one is larger than all of them may be
  EXPECT_THAT(harness.told.events, ElementsAre("work"));
  EXPECT_EQ(harness.store().stats().queued_jobs, 0u);
}

STORE_TEST(TakenJobIsRunningWithItsAttempt) {
  const v1::Job taken = co_await harness.run_one();
  EXPECT_EQ(taken.state(), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(taken.attempt(), 1u);
  EXPECT_EQ(taken.worker(), "tester");
  EXPECT_EQ(taken.attempt_sequence(), 0u);
  EXPECT_TRUE(taken.has_start_time());
  const v1::Job stored = co_await harness.get(taken.spec().id());
  EXPECT_EQ(stored.state(), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(stored.attempt(), 1u);
  EXPECT_EQ(stored.worker(), "tester");
  EXPECT_EQ(harness.store().stats().running_jobs, 1u);
}

STORE_TEST(SettleEndsTheJob) {
  const v1::Job job = co_await harness.run_one();
  const Status settled =
      co_await harness.settle(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, 0, "done");
  EXPECT_TRUE(settled.ok()) << settled;
  const v1::Job stored = co_await harness.get(job.spec().id());
  EXPECT_EQ(stored.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(stored.outcome().result(), "done");
  EXPECT_TRUE(stored.has_finish_time());
  EXPECT_EQ(stored.attempt(), 1u);
  WEFT_ASSERT(harness.told.finished.size() == 1);
  const v1::Job& told = harness.told.finished[0];
  EXPECT_EQ(told.spec().id(), job.spec().id());
  EXPECT_EQ(told.spec().type(), "echo");
  EXPECT_EQ(told.spec().payload(), "");
  EXPECT_EQ(told.outcome().result(), "done");
  EXPECT_EQ(harness.store().stats().running_jobs, 0u);
}

STORE_TEST(FailureKeepsItsError) {
  const v1::Job job = co_await harness.run_one();
  v1::Outcome outcome;
  outcome.set_error_code("handler_error");
  outcome.set_error_message("no such picture");
  std::vector<Settlement> one;
  one.emplace_back(Harness::token_of(job), v1::JOB_STATE_DEAD, outcome, 0);
  TakeRequest nothing;
  const auto taken = co_await harness.store().settle_and_take(one, nothing);
  EXPECT_TRUE(taken.ok());
  const v1::Job stored = co_await harness.get(job.spec().id());
  EXPECT_EQ(stored.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(stored.outcome().error_code(), "handler_error");
  EXPECT_EQ(stored.outcome().error_message(), "no such picture");
}

STORE_TEST(SettleAndTakeAreOneStep) {
  const v1::Job job = co_await harness.run_one(Harness::make_spec("q", "first"));
  co_await harness.add(Harness::make_spec("q", "second"));
  std::vector<Settlement> one;
  one.emplace_back(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, v1::Outcome(), 0);
  TakeRequest request{.worker = Harness::kWorker, .worker_name = "tester", .max_jobs = 5};
  const auto taken = co_await harness.store().settle_and_take(one, request);
  WEFT_ASSERT(taken.ok());
  EXPECT_TRUE(taken->settled[0].ok());
  EXPECT_THAT(payloads(taken->jobs), ElementsAre("second"));
}

STORE_TEST(SettleIsIdempotentForItsToken) {
  const v1::Job job = co_await harness.run_one();
  const Token token = Harness::token_of(job);
  const Status first = co_await harness.settle(token, v1::JOB_STATE_SUCCEEDED, 0, "one");
  const Status again = co_await harness.settle(token, v1::JOB_STATE_DEAD, 0, "two");
  EXPECT_TRUE(first.ok()) << first;
  EXPECT_TRUE(again.ok()) << again;
  const v1::Job stored = co_await harness.get(job.spec().id());
  EXPECT_EQ(stored.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(stored.outcome().result(), "one");
  EXPECT_EQ(harness.told.finished.size(), 1u);
}

STORE_TEST(StaleTokensAreRefusedAndCounted) {
  const v1::Job old = co_await harness.run_one();
  const std::string id = old.spec().id();
  const Status released = co_await harness.release(Harness::token_of(old));
  EXPECT_TRUE(released.ok()) << released;
  auto jobs = co_await harness.take(1);
  WEFT_ASSERT(jobs.size() == 1);
  EXPECT_EQ(jobs[0].attempt(), 2u);
  const uint64_t before = harness.store().stats().stale_tokens;
  const Token stale[] = {Token(id, 1, Harness::kWorker), Token(id, 2, Harness::kOtherWorker),
                         Token(id, 3, Harness::kWorker), Token(id, 0, Incarnation())};
  for (const Token& token : stale) {
    const Status settled = co_await harness.settle(token);
    const Status appended = co_await harness.append(token, 1, {"x"});
    const Status handed_back = co_await harness.release(token);
    std::vector<std::pair<Token, v1::Progress>> progress{{token, v1::Progress()}};
    const auto saved = co_await harness.store().save_progress(progress);
    EXPECT_EQ(settled.code(), StatusCode::kAborted);
    EXPECT_EQ(appended.code(), StatusCode::kAborted);
    EXPECT_EQ(handed_back.code(), StatusCode::kAborted);
    EXPECT_EQ(saved[0].code(), StatusCode::kAborted);
  }
  EXPECT_EQ(harness.store().stats().stale_tokens - before, 16u);
  const Status fresh = co_await harness.settle(Harness::token_of(jobs[0]));
  EXPECT_TRUE(fresh.ok()) << fresh;
}

STORE_TEST(QueuedJobTakesNoToken) {
  const std::string id = co_await harness.add(Harness::make_spec());
  const Status settled = co_await harness.settle(Token(id, 0, Incarnation()));
  EXPECT_EQ(settled.code(), StatusCode::kAborted);
  const v1::Job job = co_await harness.get(id);
  EXPECT_EQ(job.state(), v1::JOB_STATE_QUEUED);
}

STORE_TEST(OneStaleTokenFailsNothingElse) {
  const v1::Job a = co_await harness.run_one();
  const v1::Job b = co_await harness.run_one();
  std::vector<Settlement> both;
  both.emplace_back(Token(a.spec().id(), 7, Harness::kWorker), v1::JOB_STATE_SUCCEEDED,
                    v1::Outcome(), 0);
  both.emplace_back(Harness::token_of(b), v1::JOB_STATE_SUCCEEDED, v1::Outcome(), 0);
  TakeRequest nothing;
  const auto taken = co_await harness.store().settle_and_take(both, nothing);
  WEFT_ASSERT(taken.ok());
  EXPECT_EQ(taken->settled[0].code(), StatusCode::kAborted);
  EXPECT_TRUE(taken->settled[1].ok());
}

STORE_TEST(SettleWaitsForTheWholeStream) {
  const v1::Job job = co_await harness.run_one();
  const Token token = Harness::token_of(job);
  const Status one = co_await harness.append(token, 1, {"a"});
  const Status early = co_await harness.settle(token, v1::JOB_STATE_SUCCEEDED, 2);
  EXPECT_TRUE(one.ok());
  EXPECT_EQ(early.code(), StatusCode::kFailedPrecondition);
  const Status two = co_await harness.append(token, 2, {"b"});
  const Status settled = co_await harness.settle(token, v1::JOB_STATE_SUCCEEDED, 2);
  EXPECT_TRUE(two.ok() && settled.ok());
  WEFT_ASSERT(harness.told.finished.size() == 1);
  EXPECT_EQ(harness.told.finished[0].last_sequence(), 2u);
  const v1::Job stored = co_await harness.get(job.spec().id());
  EXPECT_EQ(stored.last_sequence(), 2u);
}

STORE_TEST(ReleasedJobsStandInFrontOldestFirst) {
  for (const char* name : {"a", "b", "c", "d"}) co_await harness.add(Harness::make_spec("q", name));
  const auto jobs = co_await harness.take(3);
  WEFT_ASSERT(jobs.size() == 3);
  std::vector<Token> tokens;
  for (size_t i : {1, 0, 2}) tokens.push_back(Harness::token_of(jobs[i]));
  harness.told.events.clear();
  const auto answers = co_await harness.store().release(tokens);
  for (const Status& answer : answers) EXPECT_TRUE(answer.ok()) << answer;
  EXPECT_THAT(harness.told.events, ElementsAre("work"));
  const v1::Job queued = co_await harness.get(jobs[0].spec().id());
  EXPECT_EQ(queued.state(), v1::JOB_STATE_QUEUED);
  const auto again = co_await harness.take(9);
  EXPECT_THAT(payloads(again), ElementsAre("a", "b", "c", "d"));
  EXPECT_EQ(again[0].attempt(), 2u);
  EXPECT_EQ(again[3].attempt(), 1u);
}

STORE_TEST(ATokenIsReleasedOnce) {
  const v1::Job job = co_await harness.run_one();
  std::vector<Token> twice{Harness::token_of(job), Harness::token_of(job)};
  const auto answers = co_await harness.store().release(twice);
  EXPECT_TRUE(answers[0].ok());
  EXPECT_EQ(answers[1].code(), StatusCode::kAborted);
  const auto jobs = co_await harness.take(5);
  EXPECT_EQ(jobs.size(), 1u);
}

STORE_TEST(ProgressIsKept) {
  const v1::Job job = co_await harness.run_one();
  v1::Progress progress;
  progress.set_fraction(0.5);
  progress.set_message("half");
  std::vector<std::pair<Token, v1::Progress>> one{{Harness::token_of(job), progress}};
  const auto saved = co_await harness.store().save_progress(one);
  EXPECT_TRUE(saved[0].ok());
  const v1::Job stored = co_await harness.get(job.spec().id());
  EXPECT_EQ(stored.progress().fraction(), 0.5);
  EXPECT_EQ(stored.progress().message(), "half");
}

STORE_TEST(SettleKeepsTheLastProgress) {
  const v1::Job job = co_await harness.run_one();
  v1::Progress progress;
  progress.set_fraction(1);
  progress.set_message("all");
  std::vector<Settlement> one;
  one.emplace_back(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, v1::Outcome(), 0);
  one.back().progress = progress;
  one.emplace_back(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, v1::Outcome(), 0);
  one.back().progress.emplace().set_message("late");
  TakeRequest nothing;
  const auto taken = co_await harness.store().settle_and_take(one, nothing);
  EXPECT_TRUE(taken.ok()) << taken.status();
  const v1::Job stored = co_await harness.get(job.spec().id());
  EXPECT_EQ(stored.progress().fraction(), 1);
  EXPECT_EQ(stored.progress().message(), "all");
  WEFT_ASSERT(harness.told.finished.size() == 1);
  EXPECT_EQ(harness.told.finished[0].progress().message(), "all");
}

STORE_TEST(QueuedJobIsCancelledAtOnce) {
  const std::string id = co_await harness.add(Harness::make_spec());
  const auto answer = co_await harness.store().cancel(id, "not needed");
  WEFT_ASSERT(answer.ok());
  EXPECT_EQ(answer->result(), v1::CancelResponse::CANCELLED);
  EXPECT_EQ(answer->state(), v1::JOB_STATE_CANCELLED);
  const auto jobs = co_await harness.take(1);
  EXPECT_TRUE(jobs.empty());
  const v1::Job stored = co_await harness.get(id);
  EXPECT_EQ(stored.state(), v1::JOB_STATE_CANCELLED);
  EXPECT_EQ(stored.outcome().error_code(), "cancelled");
  EXPECT_EQ(stored.outcome().error_message(), "not needed");
  EXPECT_THAT(harness.told.events, ElementsAre("work", "finished " + id + " JOB_STATE_CANCELLED"));
  EXPECT_EQ(harness.told.finished[0].spec().payload(), "");
  EXPECT_EQ(harness.store().stats().queued_jobs, 0u);
}

STORE_TEST(RunningJobIsFlaggedAndTold) {
  const v1::Job job = co_await harness.run_one();
  const std::string id = job.spec().id();
  const auto answer = co_await harness.store().cancel(id, "enough");
  const auto again = co_await harness.store().cancel(id, "really");
  WEFT_ASSERT(answer.ok() && again.ok());
  EXPECT_EQ(answer->result(), v1::CancelResponse::REQUESTED);
  EXPECT_EQ(again->result(), v1::CancelResponse::REQUESTED);
  EXPECT_EQ(answer->state(), v1::JOB_STATE_RUNNING);
  EXPECT_THAT(harness.told.events, ElementsAre("work", "cancel " + id + " enough"));
  const v1::Job stored = co_await harness.get(id);
  EXPECT_TRUE(stored.cancel_requested());
  EXPECT_EQ(stored.cancel_reason(), "enough");
}

STORE_TEST(SuccessAfterTheFlagStays) {
  const v1::Job job = co_await harness.run_one();
  co_await harness.must(harness.store().cancel(job.spec().id(), "enough"));
  const Status settled = co_await harness.settle(Harness::token_of(job));
  EXPECT_TRUE(settled.ok());
  const v1::Job stored = co_await harness.get(job.spec().id());
  EXPECT_EQ(stored.state(), v1::JOB_STATE_SUCCEEDED);
}

STORE_TEST(FailureAfterTheFlagIsACancellation) {
  const v1::Job job = co_await harness.run_one();
  co_await harness.must(harness.store().cancel(job.spec().id(), "enough"));
  const Status settled = co_await harness.settle(Harness::token_of(job), v1::JOB_STATE_DEAD);
  EXPECT_TRUE(settled.ok());
  const v1::Job stored = co_await harness.get(job.spec().id());
  EXPECT_EQ(stored.state(), v1::JOB_STATE_CANCELLED);
  EXPECT_EQ(stored.outcome().error_code(), "cancelled");
}

STORE_TEST(ReleaseAfterTheFlagIsACancellation) {
  const v1::Job job = co_await harness.run_one();
  co_await harness.must(harness.store().cancel(job.spec().id(), "enough"));
  const Status released = co_await harness.release(Harness::token_of(job));
  EXPECT_TRUE(released.ok());
  const v1::Job stored = co_await harness.get(job.spec().id());
  EXPECT_EQ(stored.state(), v1::JOB_STATE_CANCELLED);
  EXPECT_EQ(stored.outcome().error_message(), "enough");
  EXPECT_EQ(harness.told.finished.size(), 1u);
  const auto jobs = co_await harness.take(1);
  EXPECT_TRUE(jobs.empty());
  const Status late = co_await harness.settle(Harness::token_of(job));
  EXPECT_EQ(late.code(), StatusCode::kAborted);
}

STORE_TEST(FinishedJobIsNotCancelled) {
  const v1::Job job = co_await harness.run_one();
  co_await harness.must(harness.settle(Harness::token_of(job)));
  const auto answer = co_await harness.store().cancel(job.spec().id(), "too late");
  WEFT_ASSERT(answer.ok());
  EXPECT_EQ(answer->result(), v1::CancelResponse::ALREADY_FINISHED);
  EXPECT_EQ(answer->state(), v1::JOB_STATE_SUCCEEDED);
}

STORE_TEST(FirstCommitWinsBetweenCancelAndSettle) {
  for (const bool cancel_first : {true, false}) {
    const v1::Job job = co_await harness.run_one();
    const std::string id = job.spec().id();
    auto cancel = harness.store().cancel(id, "race");
    auto settle = harness.settle(Harness::token_of(job));
    v1::CancelResponse answer;
    Status settled;
    if (cancel_first) {
      auto both = co_await all_of(std::move(cancel), std::move(settle));
      WEFT_ASSERT(std::get<0>(both).ok());
      answer = *std::get<0>(both);
      settled = std::get<1>(both);
      EXPECT_EQ(answer.result(), v1::CancelResponse::REQUESTED);
    } else {
      auto both = co_await all_of(std::move(settle), std::move(cancel));
      WEFT_ASSERT(std::get<1>(both).ok());
      settled = std::get<0>(both);
      answer = *std::get<1>(both);
      EXPECT_EQ(answer.result(), v1::CancelResponse::ALREADY_FINISHED);
    }
    EXPECT_TRUE(settled.ok());
    const v1::Job stored = co_await harness.get(id);
    EXPECT_EQ(stored.state(), v1::JOB_STATE_SUCCEEDED);
    EXPECT_EQ(stored.cancel_requested(), cancel_first);
  }
}

STORE_TEST(ListenerHearsInCommitOrder) {
  const std::string a = co_await harness.add(Harness::make_spec_with_id("job-number-1"));
  auto jobs = co_await harness.take(1);
  WEFT_ASSERT(jobs.size() == 1);
  harness.told.events.clear();
  auto sent = harness.store().send(a, "", 0, "v");
  auto cancelled = harness.store().cancel(a, "r");
  auto settled = harness.settle(Harness::token_of(jobs[0]), v1::JOB_STATE_CANCELLED);
  co_await all_of(std::move(sent), std::move(cancelled), std::move(settled));
  EXPECT_THAT(harness.told.events, ElementsAre("send job-number-1 1 v", "cancel job-number-1 r",
                                               "finished job-number-1 JOB_STATE_CANCELLED"));
}

}  // namespace
}  // namespace weft::testing
