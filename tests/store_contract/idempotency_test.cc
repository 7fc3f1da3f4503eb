// What a store promises about submissions that are repeated with their idempotency key.
#include <gmock/gmock.h>

#include <chrono>

#include <weft/base/limits.h>
#include <weft/runtime/sleep.h>
#include <weft/runtime/task_group.h>

#include "tests/store_contract/fixture.h"

namespace weft::testing {
namespace {

using ::testing::IsEmpty;

constexpr std::chrono::milliseconds kKeyLife(limits::kIdempotencyMs);

v1::JobSpec keyed(const std::string& key, const std::string& id = "") {
  v1::JobSpec spec = Harness::make_spec();
  spec.set_idempotency_key(key);
  spec.set_id(id);
  return spec;
}

void expect_existing(const StatusOr<Submitted>& answer, const std::string& id) {
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_TRUE(answer->existing);
  EXPECT_EQ(answer->id, id);
}

void expect_refused(const StatusOr<Submitted>& answer) {
  EXPECT_EQ(answer.status().code(), StatusCode::kInvalidArgument) << answer.status();
  EXPECT_EQ(field_of(answer.status()), "idempotency_key");
}

// Submits, runs and removes one job.
Task<void> run_and_remove(Harness& h, v1::JobSpec spec) {
  const v1::Job job = co_await h.run_one(std::move(spec));
  co_await h.must(h.settle(Harness::token_of(job)));
  co_await h.must(h.store().remove(job.spec().id()));
}

STORE_TEST(TheSameKeyIsTheSameJobInEveryState) {
  for (const std::string& id :
       {std::string(), std::string("key-and-id-1"), std::string("other-id-1")}) {
    const std::string key = id.empty() ? "no id given" : "key-and-id-1";
    v1::JobSpec spec = keyed(key, id);
    spec.set_queue(id.empty() ? "a" : id);
    const auto first = co_await harness.submit(spec);
    WEFT_ASSERT(first.ok());
    EXPECT_FALSE(first->existing);
    const auto queued = co_await harness.submit(spec);
    expect_existing(queued, first->id);
    auto jobs = co_await harness.take(5);
    WEFT_ASSERT(jobs.size() == 1);
    const auto running = co_await harness.submit(spec);
    expect_existing(running, first->id);
    co_await harness.must(harness.settle(Harness::token_of(jobs[0])));
    const auto finished = co_await harness.submit(spec);
    expect_existing(finished, first->id);
    co_await harness.must(harness.store().remove(first->id));
    const auto removed = co_await harness.submit(spec);
    expect_existing(removed, first->id);
    const auto none = co_await harness.take(5);
    EXPECT_THAT(none, IsEmpty());
  }
}

Task<void> expect_all_refused(Harness& h, const std::vector<v1::JobSpec>& specs) {
  for (const v1::JobSpec& spec : specs) {
    const auto answer = co_await h.submit(spec);
    expect_refused(answer);
  }
}

STORE_TEST(TheSameKeyWithAnotherSpecIsRefusedInEveryState) {
  for (const std::string& id : {std::string(), std::string("key-and-id-1")}) {
    const v1::JobSpec spec = keyed("key-and-id-1", id);
    v1::JobSpec payload = spec;
    payload.set_payload("other");
    v1::JobSpec type = spec;
    type.set_type("other");
    v1::JobSpec option = spec;
    option.mutable_retention()->set_seconds(5);
    const std::vector<v1::JobSpec> others{payload, type, option};
    const auto first = co_await harness.submit(spec);
    WEFT_ASSERT(first.ok());
    co_await expect_all_refused(harness, others);
    auto jobs = co_await harness.take(5);
    WEFT_ASSERT(jobs.size() == 1);
    co_await expect_all_refused(harness, others);
    co_await harness.must(harness.settle(Harness::token_of(jobs[0])));
    co_await harness.must(harness.store().remove(first->id));
    co_await expect_all_refused(harness, others);
    co_await sleep_for(kKeyLife);  // for the next round
  }
}

STORE_TEST(AKeyCountsInItsQueue) {
  v1::JobSpec other_queue = keyed("one key");
  other_queue.set_queue("other");
  const auto first = co_await harness.submit(keyed("one key"));
  const auto other = co_await harness.submit(other_queue);
  WEFT_ASSERT(first.ok() && other.ok());
  EXPECT_FALSE(other->existing);
  EXPECT_NE(first->id, other->id);
}

STORE_TEST(AKnownKeyIsTheFirstJobWhateverTheId) {
  const auto first = co_await harness.submit(keyed("key-and-id-1", "key-and-id-1"));
  const auto other_id = co_await harness.submit(keyed("key-and-id-1", "some-other-id"));
  const auto no_id = co_await harness.submit(keyed("key-and-id-1"));
  WEFT_ASSERT(first.ok());
  expect_existing(other_id, "key-and-id-1");
  expect_existing(no_id, "key-and-id-1");
  const auto jobs = co_await harness.take(5);
  EXPECT_EQ(jobs.size(), 1u);
}

STORE_TEST(OneBatchCanRepeatAKey) {
  v1::JobSpec other = keyed("one key");
  other.set_payload("other");
  std::vector<v1::JobSpec> specs{keyed("one key"), keyed("one key"), other, keyed("other key")};
  const auto answers = co_await harness.store().submit(specs);
  WEFT_ASSERT(answers.size() == 4 && answers[0].ok());
  EXPECT_FALSE(answers[0]->existing);
  expect_existing(answers[1], answers[0]->id);
  expect_refused(answers[2]);
  EXPECT_TRUE(answers[3].ok() && !answers[3]->existing);
}

Task<void> submit_into(Harness& h, std::vector<std::string>* ids) {
  const auto answer = co_await h.submit(keyed("one key"));
  if (answer.ok()) ids->push_back(answer->id);
}

STORE_TEST(SubmissionsAtOnceWithOneKeyAreOneJob) {
  std::vector<std::string> ids;
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int i = 0; i < 3; ++i) group.start(submit_into, std::ref(harness), &ids);
    co_return;
  };
  co_await with_group(body);
  WEFT_ASSERT(ids.size() == 3);
  EXPECT_EQ(ids[0], ids[1]);
  EXPECT_EQ(ids[0], ids[2]);
  EXPECT_EQ(harness.store().stats().queued_jobs, 1u);
}

STORE_TEST(AnIdThatIsTakenIsStillRefused) {
  co_await harness.add(Harness::make_spec_with_id("some-job-1"));
  const auto refused = co_await harness.submit(keyed("some key", "some-job-1"));
  EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument) << refused.status();
  EXPECT_EQ(field_of(refused.status()), "id");
}

STORE_TEST(AKeyOutlivesItsJobForADay) {
  const v1::JobSpec specs[] = {keyed("some key"), keyed("key-and-id-1", "key-and-id-1")};
  for (const v1::JobSpec& spec : specs) co_await run_and_remove(harness, spec);
  co_await sleep_for(kKeyLife - std::chrono::milliseconds(1));
  for (const v1::JobSpec& spec : specs) {
    const auto known = co_await harness.submit(spec);
    EXPECT_TRUE(known.ok() && known->existing) << known.status();
  }
  co_await sleep_for(std::chrono::milliseconds(1));
  for (const v1::JobSpec& spec : specs) {
    const auto forgotten = co_await harness.submit(spec);
    EXPECT_TRUE(forgotten.ok() && !forgotten->existing) << forgotten.status();
  }
}

STORE_TEST(AKeyIsKeptAsLongAsItsJobWouldBe) {
  v1::JobSpec spec = keyed("some key");
  spec.mutable_retention()->set_seconds(3 * 24 * 3600);
  co_await run_and_remove(harness, spec);
  co_await sleep_for(2 * kKeyLife);
  const auto known = co_await harness.submit(spec);
  EXPECT_TRUE(known.ok() && known->existing) << known.status();
  co_await sleep_for(kKeyLife);
  const auto forgotten = co_await harness.submit(spec);
  EXPECT_TRUE(forgotten.ok() && !forgotten->existing) << forgotten.status();
}

STORE_TEST(AKeyCountsWhileItsJobRunsForDays) {
  v1::JobSpec spec = keyed("some key");
  spec.mutable_retention()->set_seconds(0);
  const v1::Job job = co_await harness.run_one(spec);
  co_await sleep_for(2 * kKeyLife);
  co_await harness.must(harness.store().sweep(10));
  const auto known = co_await harness.submit(spec);
  EXPECT_TRUE(known.ok() && known->existing) << known.status();
  co_await harness.must(harness.settle(Harness::token_of(job)));
  const auto forgotten = co_await harness.submit(spec);
  EXPECT_TRUE(forgotten.ok() && !forgotten->existing) << forgotten.status();
}

STORE_TEST(SweepForgetsKeysInBoundedBatches) {
  for (int i = 0; i < 5; ++i) co_await run_and_remove(harness, keyed("key " + std::to_string(i)));
  const auto early = co_await harness.store().sweep(10);
  EXPECT_TRUE(early.ok() && *early == 0) << early.status();
  co_await sleep_for(kKeyLife);
  const auto first = co_await harness.store().sweep(3);
  const auto second = co_await harness.store().sweep(3);
  const auto third = co_await harness.store().sweep(3);
  WEFT_ASSERT(first.ok() && second.ok() && third.ok());
  EXPECT_EQ(*first, 3u);
  EXPECT_EQ(*second, 2u);
  EXPECT_EQ(*third, 0u);
}

}  // namespace
}  // namespace weft::testing
