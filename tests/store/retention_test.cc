// What the SQLite store forgets stays forgotten, and what it keeps is kept, over its end.
#include <gmock/gmock.h>
#include <sqlite3.h>

#include <chrono>
#include <string_view>

#include <weft/base/limits.h>
#include <weft/runtime/sleep.h>
#include <weft/store/sqlite/schema.h>

#include "tests/store/store_file.h"

namespace weft::testing {
namespace {

using ::testing::ElementsAre;

class SqliteRetention : public StoreFile {
 protected:
  int64_t query(const char* sql) {
    const auto database = open_for_reading(path_);
    return database.ok() ? (*database)->query_integer(sql) : -1;
  }
};

Task<void> run_and_settle(Harness& h, std::string id) {
  const v1::Job job = co_await h.run_one(Harness::make_spec_with_id(std::move(id)));
  co_await h.must(h.settle(Harness::token_of(job)));
}

TEST_F(SqliteRetention, RemovedJobsLeaveNoRows) {
  session([](Harness& h) -> Task<void> {
    v1::JobSpec spec = Harness::make_spec_with_id("short-lived-1");
    spec.mutable_retention();
    const v1::Job job = co_await h.run_one(spec);
    co_await h.must(h.append(Harness::token_of(job), 1, {"a", "b"}));
    co_await h.must(h.store().send("short-lived-1", "ann", 1, "v"));
    co_await h.must(h.settle(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, 2, "result"));
  });
  for (const char* table : {"job", "payload", "result", "send", "segment", "idempotency"}) {
    EXPECT_EQ(query(("SELECT count(*) FROM " + std::string(table)).c_str()), 0) << table;
  }
}

TEST_F(SqliteRetention, ARemovedStreamDoesNotComeBackInSharedSegments) {
  session([](Harness& h) -> Task<void> {
    co_await h.add(Harness::make_spec_with_id("stays-job-1"));
    co_await h.add(Harness::make_spec_with_id("leaves-job-1"));
    const auto jobs = co_await h.take(2);
    WEFT_ASSERT(jobs.size() == 2);
    std::vector<Append> appends;
    for (const v1::Job& job : jobs) {
      auto block = std::make_shared<ChunkBlock>(1);
      block->add("of " + job.spec().id());
      appends.emplace_back(Harness::token_of(job), std::move(block));
    }
    const auto appended = co_await h.store().append(std::move(appends));
    EXPECT_TRUE(appended[0].ok() && appended[1].ok());
    co_await h.must(h.settle(Harness::token_of(jobs[1]), v1::JOB_STATE_SUCCEEDED, 1));
    co_await h.must(h.store().remove("leaves-job-1"));
  });
  EXPECT_EQ(query("SELECT count(*) FROM segment"), 1);
  session([](Harness& h) -> Task<void> {
    // The row number of the removed job, the newest, is not given again.
    co_await h.add(Harness::make_spec_with_id("new-job-1"));
    const v1::Job job = co_await h.get("new-job-1");
    EXPECT_EQ(job.last_sequence(), 0u);
    const auto entries = co_await h.read("stays-job-1");
    EXPECT_THAT(entries, ElementsAre("1:of stays-job-1"));
    const auto jobs = co_await h.take(1);
    WEFT_ASSERT(jobs.size() == 1);
    co_await h.must(h.settle(Harness::token_of(jobs[0]), v1::JOB_STATE_SUCCEEDED, 2));
    co_await h.must(h.store().remove("stays-job-1"));
  });
  EXPECT_EQ(query("SELECT count(*) FROM segment"), 0);
}

TEST_F(SqliteRetention, ASweepsTransactionsAreBoundedByBytes) {
  options_.take_bytes = std::string_view("payload").size();
  session([](Harness& h) -> Task<void> {
    for (int i = 0; i < 5; ++i) co_await run_and_settle(h, "finished-" + std::to_string(i));
    co_await sleep_for(std::chrono::milliseconds(limits::kRetentionMs));
    uint64_t before = h.store().stats().commits;
    auto swept = co_await h.store().sweep(2);
    EXPECT_EQ(swept.value_or(0), 2u);
    EXPECT_EQ(h.store().stats().commits - before, 2u);
    before = h.store().stats().commits;
    swept = co_await h.store().sweep(10);
    EXPECT_EQ(swept.value_or(0), 3u) << "it goes on until all are gone";
    EXPECT_EQ(h.store().stats().commits - before, 3u);
    EXPECT_EQ(h.store().stats().removed_jobs, 5u);
  });
}

TEST_F(SqliteRetention, ATrimIsBoundedByBytesToo) {
  options_.take_bytes = std::string_view("payload").size();
  options_.finished_per_queue = 1;
  session([](Harness& h) -> Task<void> {
    std::vector<Settlement> settlements;
    for (int i = 0; i < 4; ++i) {
      const v1::Job job = co_await h.run_one();
      settlements.emplace_back(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, v1::Outcome(), 0);
    }
    co_await h.must(h.store().settle_and_take(std::move(settlements), TakeRequest()));
    EXPECT_EQ(h.store().stats().finished_jobs, 4u);
    co_await run_and_settle(h, "another-1");
    EXPECT_EQ(h.store().stats().removed_jobs, 1u);
    EXPECT_EQ(h.store().stats().finished_jobs, 4u);
  });
}

TEST_F(SqliteRetention, TheOrderOfTheFinishedSurvivesAReopening) {
  options_.finished_per_queue = 3;
  session([](Harness& h) -> Task<void> {
    const v1::Job first = co_await h.run_one(Harness::make_spec_with_id("submitted-first"));
    for (int i = 0; i < 2; ++i) {
      co_await sleep_for(std::chrono::seconds(1));
      co_await run_and_settle(h, "finished-" + std::to_string(i));
    }
    co_await sleep_for(std::chrono::seconds(1));
    co_await h.must(h.settle(Harness::token_of(first)));
  });
  session([](Harness& h) -> Task<void> {
    EXPECT_EQ(h.store().stats().finished_jobs, 3u);
    EXPECT_EQ(h.store().stats().succeeded_jobs, 3u);
    EXPECT_EQ(h.store().stats().submitted_jobs, 0u) << "counted since it was opened";
    co_await run_and_settle(h, "finished-2");
    EXPECT_EQ(h.store().stats().finished_jobs, 3u);
    const auto gone = co_await h.store().get("finished-0", false);
    EXPECT_EQ(gone.status().code(), StatusCode::kNotFound) << gone.status();
    const v1::Job kept = co_await h.get("submitted-first");
    EXPECT_EQ(kept.state(), v1::JOB_STATE_SUCCEEDED);
  });
}

TEST_F(SqliteRetention, KeysSurviveAReopening) {
  v1::JobSpec spec = Harness::make_spec_with_id("key-and-id-1");
  spec.set_idempotency_key("key-and-id-1");
  v1::JobSpec other_key = Harness::make_spec();
  other_key.set_idempotency_key("other key");
  session([&](Harness& h) -> Task<void> {
    const v1::Job job = co_await h.run_one(spec);
    co_await h.must(h.settle(Harness::token_of(job)));
    co_await h.must(h.store().remove("key-and-id-1"));
    co_await h.add(other_key);
  });
  session([&](Harness& h) -> Task<void> {
    const auto removed = co_await h.submit(spec);
    const auto waiting = co_await h.submit(other_key);
    WEFT_ASSERT(removed.ok() && waiting.ok());
    EXPECT_TRUE(removed->existing);
    EXPECT_TRUE(waiting->existing);
    EXPECT_EQ(removed->id, "key-and-id-1");
  });
}

}  // namespace
}  // namespace weft::testing
