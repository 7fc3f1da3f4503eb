// What readers are told of a job's end when that is not the end: it is retried, removed, or kept no
// longer than it runs.
#include <gmock/gmock.h>

#include "tests/stream/stream_bed.h"
#include "tests/support/coro_test.h"

namespace weft {
namespace {

using testing::Attempt;
using ::testing::ElementsAre;
using testing::push_numbers;
using testing::Read;
using testing::read;
using testing::settle_down;
using testing::StreamBed;
using testing::with_hub;

Task<void> end(StreamBed& bed, Attempt& attempt, v1::JobState state) {
  const Status stored = co_await attempt.producer->flush();
  WEFT_CHECK(stored.ok(), "the stream is stored");
  const uint64_t last = attempt.producer->last_sequence();
  attempt.producer.reset();
  v1::Outcome outcome;
  if (state == v1::JOB_STATE_DEAD) outcome.set_error_code("handler_error");
  std::vector<Settlement> settlements;
  settlements.emplace_back(attempt.token, state, outcome, last);
  auto answer = co_await bed.store->settle_and_take(std::move(settlements), TakeRequest());
  WEFT_CHECK(answer.ok() && answer->settled[0].ok(), "the job is settled");
}

Task<void> submit(StreamBed& bed, const std::string& id, bool keep = true) {
  v1::JobSpec spec;
  spec.set_id(id);
  spec.set_type("any");
  spec.set_queue("default");
  if (!keep) spec.mutable_retention();
  std::vector<v1::JobSpec> specs(1, spec);
  const auto answers = co_await bed.store->submit(std::move(specs));
  WEFT_CHECK(answers[0].ok(), "the job is submitted");
}

// A reader that stays makes the hub remember the stream.
CORO_TEST(Outcome, ARetriedJobIsNotOverForItsReaders) {
  auto body = [](StreamBed& bed, TaskGroup&) -> Task<void> {
    auto first = co_await bed.start();
    const std::string id = first->token.job_id;
    auto lingering = co_await bed.watch(id);
    push_numbers(*first->producer, 2);
    co_await end(bed, *first, v1::JOB_STATE_DEAD);
    EXPECT_TRUE(lingering->job_ended());

    const auto retried = co_await bed.store->retry(id);
    WEFT_ASSERT(retried.ok());
    bed.hub.on_retried(*retried);
    EXPECT_FALSE(lingering->job_ended());
    auto fresh = co_await bed.watch(id);
    auto second = co_await bed.take();
    const Status pushed = second->producer->push("again");
    EXPECT_TRUE(pushed.ok());
    co_await end(bed, *second, v1::JOB_STATE_SUCCEEDED);
    for (Subscription* reader : {lingering.get(), fresh.get()}) {
      const Read told = co_await read(*reader);
      EXPECT_THAT(told.chunks, ElementsAre("again"));
      WEFT_ASSERT(told.finished.has_value());
      EXPECT_EQ(told.finished->state(), v1::JOB_STATE_SUCCEEDED);
    }
  };
  co_await with_hub({}, body);
}

// The retry was asked of another server: what this one is told comes from the records alone.
CORO_TEST(Outcome, ANewerRecordReplacesTheOldOutcome) {
  auto body = [](StreamBed& bed, TaskGroup&) -> Task<void> {
    auto first = co_await bed.start();
    const std::string id = first->token.job_id;
    auto holder = co_await bed.watch(id);
    co_await end(bed, *first, v1::JOB_STATE_DEAD);
    const auto retried = co_await bed.store->retry(id);
    WEFT_ASSERT(retried.ok());
    auto waiting = co_await bed.watch(id);  // its record is of the same attempt, but queued
    EXPECT_FALSE(waiting->job_ended());
    auto second = co_await bed.take();
    co_await end(bed, *second, v1::JOB_STATE_DEAD);
    EXPECT_TRUE(waiting->job_ended());
    bed.hub.on_retried(*retried);  // late: the job has been taken and has ended since
    EXPECT_TRUE(waiting->job_ended());

    const auto third = co_await bed.store->retry(id);
    WEFT_ASSERT(third.ok());
    const auto cancelled = co_await bed.store->cancel(id, "");  // of the same attempt, too
    EXPECT_TRUE(cancelled.ok());
    auto last = co_await bed.watch(id);
    const Read told = co_await read(*last);
    WEFT_ASSERT(told.finished.has_value());
    EXPECT_EQ(told.finished->state(), v1::JOB_STATE_CANCELLED);
  };
  co_await with_hub({}, body);
}

CORO_TEST(Outcome, ARemovedJobLeavesNothingToItsReadersAndToTheNextOfItsId) {
  auto body = [](StreamBed& bed, TaskGroup& group) -> Task<void> {
    const std::string id = "an-id-used-twice";
    co_await submit(bed, id);
    auto first = co_await bed.take();
    push_numbers(*first->producer, 5);
    auto behind = co_await bed.attach(id, 2);
    const Read some = co_await read(*behind, 2);
    EXPECT_THAT(some.chunks, ElementsAre("1", "2"));
    co_await end(bed, *first, v1::JOB_STATE_SUCCEEDED);
    Status ended;
    group.start([&]() -> Task<void> {
      const auto event = co_await behind->next();  // waits for credit
      ended = event.status();
    });
    co_await settle_down();
    const Status removed = co_await bed.store->remove(id);
    WEFT_ASSERT(removed.ok());
    bed.hub.on_removed(id);
    co_await settle_down();
    EXPECT_EQ(ended.code(), StatusCode::kNotFound);

    co_await submit(bed, id);  // while the old reader is still there
    auto fresh = co_await bed.watch(id);
    EXPECT_FALSE(fresh->job_ended());
    auto second = co_await bed.take();
    const Status pushed = second->producer->push("new");
    EXPECT_TRUE(pushed.ok());
    co_await end(bed, *second, v1::JOB_STATE_SUCCEEDED);
    const Read told = co_await read(*fresh);
    EXPECT_THAT(told.chunks, ElementsAre("new"));
    EXPECT_THAT(told.sequences, ElementsAre(1u));
    EXPECT_TRUE(told.finished.has_value());
    bed.hub.on_removed("nobody-reads-this");
  };
  co_await with_hub({}, body);
}

CORO_TEST(Outcome, AReaderBehindAJobThatIsNotKeptLearnsHowItEnded) {
  auto body = [](StreamBed& bed, TaskGroup&) -> Task<void> {
    const std::string id = "kept-no-longer";
    co_await submit(bed, id, /*keep=*/false);
    auto attempt = co_await bed.take();
    auto behind = co_await bed.attach(id, 1);
    auto all = co_await bed.watch(id);
    push_numbers(*attempt->producer, 1, 1000);
    const Read one = co_await read(*behind, 1);
    EXPECT_THAT(one.sequences, ElementsAre(1u));
    // The live tail is too small for the rest, so who is behind needs the store.
    push_numbers(*attempt->producer, 10, 1000);
    co_await end(bed, *attempt, v1::JOB_STATE_SUCCEEDED);
    const auto gone = co_await bed.store->get(id, false);
    WEFT_ASSERT(gone.status().code() == StatusCode::kNotFound);
    behind->set_credit(10);
    for (Subscription* reader : {behind.get(), all.get()}) {
      const Read told = co_await read(*reader);
      EXPECT_TRUE(told.error.ok()) << told.error;
      EXPECT_TRUE(told.chunks.empty());
      WEFT_ASSERT(told.finished.has_value());
      EXPECT_EQ(told.finished->state(), v1::JOB_STATE_SUCCEEDED);
      EXPECT_EQ(told.finished->last_sequence(), 10u);
    }
  };
  co_await with_hub({.live_tail_bytes = 100}, body);
}

}  // namespace
}  // namespace weft
