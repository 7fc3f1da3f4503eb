// What a store promises about submissions and records.
#include <gmock/gmock.h>
#include <stdlib.h>

#include <filesystem>
#include <set>
#include <thread>

#include <weft/base/id.h>
#include <weft/runtime/task_group.h>

#include "tests/store_contract/fixture.h"

namespace weft::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

STORE_TEST(SubmittedJobIsQueuedAndKeepsItsSpec) {
  v1::JobSpec spec = Harness::make_spec("images", "pixels");
  spec.set_content_type("image/png");
  (*spec.mutable_metadata())["owner"] = "ann";
  spec.set_stream_policy(v1::STREAM_POLICY_PAUSE);
  spec.mutable_stream_grace()->set_seconds(5);
  const std::string id = co_await harness.add(spec);
  EXPECT_TRUE(check_job_id("id", id).ok());
  const v1::Job job = co_await harness.get(id);
  EXPECT_EQ(job.state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(job.attempt(), 0u);
  EXPECT_EQ(job.spec().queue(), "images");
  EXPECT_EQ(job.spec().content_type(), "image/png");
  EXPECT_EQ(job.spec().metadata().at("owner"), "ann");
  EXPECT_EQ(job.spec().stream_policy(), v1::STREAM_POLICY_PAUSE);
  EXPECT_EQ(job.spec().stream_grace().seconds(), 5);
  EXPECT_EQ(job.first_sequence(), 1u);
  EXPECT_EQ(job.last_sequence(), 0u);
  EXPECT_EQ(job.submit_time().seconds(), EventLoop::current()->wall_ns() / 1'000'000'000);
}

STORE_TEST(PayloadComesOnlyOnRequest) {
  const std::string id = co_await harness.add(Harness::make_spec("q", "secret"));
  const auto without = co_await harness.store().get(id, false);
  const auto with = co_await harness.store().get(id, true);
  WEFT_ASSERT(without.ok() && with.ok());
  EXPECT_EQ(without->spec().payload(), "");
  EXPECT_EQ(with->spec().payload(), "secret");
}

STORE_TEST(PayloadsAndResultsAreBinarySafe) {
  std::string bytes("\0\xff\x00\n'\"--", 9);
  bytes += std::string(100'000, '\0');
  v1::Job job = co_await harness.run_one(Harness::make_spec("q", bytes));
  EXPECT_EQ(job.spec().payload(), bytes);
  const Status settled =
      co_await harness.settle(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, 0, bytes);
  EXPECT_TRUE(settled.ok()) << settled;
  const auto stored = co_await harness.store().get(job.spec().id(), true);
  WEFT_ASSERT(stored.ok());
  EXPECT_EQ(stored->spec().payload(), bytes);
  EXPECT_EQ(stored->outcome().result(), bytes);
}

STORE_TEST(EmptyPayloadIsTakenEmpty) {
  const v1::Job job = co_await harness.run_one(Harness::make_spec("q", ""));
  EXPECT_EQ(job.spec().payload(), "");
  EXPECT_EQ(job.state(), v1::JOB_STATE_RUNNING);
}

STORE_TEST(SameIdAndSpecIsTheSameJob) {
  const v1::JobSpec spec = Harness::make_spec_with_id("client-made-1");
  const auto first = co_await harness.submit(spec);
  const auto queued = co_await harness.submit(spec);
  auto jobs = co_await harness.take(5);
  const auto running = co_await harness.submit(spec);
  WEFT_ASSERT(jobs.size() == 1);
  co_await harness.must(harness.settle(Harness::token_of(jobs[0])));
  const auto finished = co_await harness.submit(spec);
  WEFT_ASSERT(first.ok() && queued.ok() && running.ok() && finished.ok());
  EXPECT_FALSE(first->existing);
  EXPECT_TRUE(queued->existing);
  EXPECT_TRUE(running->existing);
  EXPECT_TRUE(finished->existing);
  EXPECT_EQ(finished->id, "client-made-1");
  const auto more = co_await harness.take(5);
  EXPECT_TRUE(more.empty());
}

STORE_TEST(SameIdWithAnotherSpecIsRefused) {
  const v1::JobSpec spec = Harness::make_spec_with_id("client-made-1");
  co_await harness.add(spec);
  v1::JobSpec payload = spec;
  payload.set_payload("other");
  v1::JobSpec type = spec;
  type.set_type("other");
  v1::JobSpec metadata = spec;
  (*metadata.mutable_metadata())["a"] = "b";
  for (const v1::JobSpec& other : {payload, type, metadata}) {
    const auto refused = co_await harness.submit(other);
    EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(field_of(refused.status()), "id");
  }
  auto jobs = co_await harness.take(1);
  WEFT_ASSERT(jobs.size() == 1);
  const auto while_running = co_await harness.submit(payload);
  EXPECT_EQ(while_running.status().code(), StatusCode::kInvalidArgument);
}

STORE_TEST(OneBatchCanRepeatAnId) {
  const v1::JobSpec spec = Harness::make_spec_with_id("client-made-1");
  v1::JobSpec other = spec;
  other.set_payload("other");
  std::vector<v1::JobSpec> specs{spec, spec, other, Harness::make_spec()};
  const auto answers = co_await harness.store().submit(specs);
  WEFT_ASSERT(answers.size() == 4);
  EXPECT_TRUE(answers[0].ok() && !answers[0]->existing);
  EXPECT_TRUE(answers[1].ok() && answers[1]->existing);
  EXPECT_EQ(answers[2].status().code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(answers[3].ok());
}

STORE_TEST(MadeIdsDiffer) {
  std::vector<v1::JobSpec> specs(500, Harness::make_spec());
  const auto answers = co_await harness.store().submit(specs);
  std::set<std::string> ids;
  for (const auto& answer : answers) {
    if (answer.ok()) ids.insert(answer->id);
  }
  EXPECT_EQ(ids.size(), 500u);
  EXPECT_EQ(harness.store().stats().queued_jobs, 500u);
}

STORE_TEST_WITH(QueueIsFullAtItsBoundPlusOne, StoreOptions{.queued_per_queue = 3}) {
  const v1::JobSpec known = Harness::make_spec_with_id("client-made-1");
  co_await harness.add(known);
  co_await harness.add(Harness::make_spec());
  co_await harness.add(Harness::make_spec());
  const auto refused = co_await harness.submit(Harness::make_spec());
  EXPECT_EQ(refused.status().code(), StatusCode::kResourceExhausted);
  EXPECT_GT(retry_ms_of(refused.status()), 0);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("'default'"));
  const auto unknown = co_await harness.submit(Harness::make_spec_with_id("client-made-2"));
  EXPECT_EQ(unknown.status().code(), StatusCode::kResourceExhausted);
  const auto repeated = co_await harness.submit(known);
  EXPECT_TRUE(repeated.ok()) << repeated.status();
  const auto other_queue = co_await harness.submit(Harness::make_spec("other"));
  EXPECT_TRUE(other_queue.ok()) << other_queue.status();
  co_await harness.take(1);
  const auto room_again = co_await harness.submit(Harness::make_spec());
  EXPECT_TRUE(room_again.ok()) << room_again.status();
}

STORE_TEST(UnknownJobsAreNotFound) {
  const std::string id = "unknown-job-1";
  const auto job = co_await harness.store().get(id, true);
  const auto page = co_await harness.store().read(id, 0, 100);
  const auto sends = co_await harness.store().read_sends(id, 0);
  const auto cancelled = co_await harness.store().cancel(id, "");
  const auto sent = co_await harness.store().send(id, "", 0, "x");
  const Status trimmed = co_await harness.store().trim(id, 5);
  const Status settled = co_await harness.settle(Token(id, 1, Harness::kWorker));
  EXPECT_EQ(job.status().code(), StatusCode::kNotFound);
  EXPECT_EQ(page.status().code(), StatusCode::kNotFound);
  EXPECT_EQ(sends.status().code(), StatusCode::kNotFound);
  EXPECT_EQ(cancelled.status().code(), StatusCode::kNotFound);
  EXPECT_EQ(sent.status().code(), StatusCode::kNotFound);
  EXPECT_EQ(trimmed.code(), StatusCode::kNotFound);
  EXPECT_EQ(settled.code(), StatusCode::kNotFound);
  EXPECT_THAT(std::string(job.status().message()), HasSubstr(id));
}

STORE_TEST(WorkIsToldAfterASubmit) {
  co_await harness.add(Harness::make_spec());
  EXPECT_THAT(harness.told.events, ElementsAre("work"));
  const v1::JobSpec spec = Harness::make_spec_with_id("client-made-1");
  co_await harness.add(spec);
  co_await harness.add(spec);  // there already
  EXPECT_THAT(harness.told.events, ElementsAre("work", "work"));
}

STORE_TEST(NothingHappensInsideACall) {
  auto task = harness.store().submit({Harness::make_spec()});
  EXPECT_TRUE(harness.told.events.empty());
  EXPECT_EQ(harness.store().stats().queued_jobs, 0u);
  const auto answers = co_await task;
  EXPECT_EQ(answers.size(), 1u);
}

STORE_TEST(CancelledCallerStopsWaiting) {
  CancelScope scope;
  auto waiting = [](Store& store) -> Task<void> {
    std::vector<v1::JobSpec> specs{Harness::make_spec_with_id("client-made-1")};
    co_await store.submit(std::move(specs));
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start([](CancelScope* inner,
                   Task<void> task) -> Task<void> { co_await inner->run(std::move(task)); },
                &scope, waiting(harness.store()));
    co_await yield_now();
    scope.cancel(CancelReason::kUserRequest);
  };
  co_await with_group(body);
  // The same submission afterwards is one job, whether the first got through or not.
  const auto again = co_await harness.submit(Harness::make_spec_with_id("client-made-1"));
  EXPECT_TRUE(again.ok()) << again.status();
  const auto jobs = co_await harness.take(5);
  EXPECT_EQ(jobs.size(), 1u);
}

STORE_TEST(EmptyBatchesAreAnsweredEmpty) {
  const auto submitted = co_await harness.store().submit({});
  const auto appended = co_await harness.store().append({});
  const auto released = co_await harness.store().release({});
  const auto saved = co_await harness.store().save_progress({});
  const auto jobs = co_await harness.take(0);
  EXPECT_TRUE(submitted.empty() && appended.empty() && released.empty() && saved.empty() &&
              jobs.empty());
  EXPECT_TRUE(harness.told.events.empty());
}

Task<void> ask(Store& store) {
  const auto job = co_await store.get("unknown-job-1", false);
  EXPECT_FALSE(job.ok());
}

// One loop uses the store, then another one on another thread.
[[maybe_unused]] void use_on_two_loops(Store& store) {
  EventLoop first;
  first.run(ask(store));
  std::thread([&store] {
    EventLoop second;
    second.run(ask(store));
  }).join();
}

class StoreContractDeathTest : public StoreContract {};
INSTANTIATE_TEST_SUITE_P(Stores, StoreContractDeathTest, ::testing::ValuesIn(store_kinds()),
                         [](const auto& kind) { return kind.param.name; });

TEST_P(StoreContractDeathTest, AnotherThreadIsRefused) {
#ifdef NDEBUG
  GTEST_SKIP() << "checked in debug builds alone";
#else
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto die = [] {
    std::string folder = ::testing::TempDir() + "weft_contract_XXXXXX";
    const auto store = GetParam().open(mkdtemp(folder.data()), StoreOptions());
    std::filesystem::remove_all(folder);  // open files live on
    use_on_two_loops(**store);
  };
  EXPECT_DEATH(die(), "a store is used on one loop");
#endif
}

}  // namespace
}  // namespace weft::testing
