// What the SQLite store keeps over its end, and how it gives back what ran.
#include <gmock/gmock.h>
#include <sqlite3.h>

#include <weft/base/limits.h>
#include <weft/runtime/task_group.h>

#include "tests/store/store_file.h"

namespace weft::testing {
namespace {

using ::testing::ElementsAre;

using SqliteStore = StoreFile;

int64_t query(const std::string& path, const char* sql) {
  sqlite3* database = nullptr;
  int64_t answer = -1;
  EXPECT_EQ(sqlite3_open(path.c_str(), &database), SQLITE_OK);
  sqlite3_exec(
      database, sql,
      [](void* out, int, char** values, char**) {
        *static_cast<int64_t*>(out) = values[0] != nullptr ? std::stoll(values[0]) : 0;
        return 0;
      },
      &answer, nullptr);
  sqlite3_close(database);
  return answer;
}

TEST_F(SqliteStore, ReopeningKeepsEverything) {
  session([](Harness& h) -> Task<void> {
    co_await h.add(Harness::make_spec_with_id("finished-1"));
    auto jobs = co_await h.take(1);
    WEFT_ASSERT(jobs.size() == 1);
    co_await h.must(h.append(Harness::token_of(jobs[0]), 1, {"a", "b", "c"}));
    co_await h.must(h.store().send("finished-1", "ann", 7, "value"));
    co_await h.must(h.store().trim("finished-1", 2));
    co_await h.must(h.settle(Harness::token_of(jobs[0]), v1::JOB_STATE_SUCCEEDED, 3, "result"));
    co_await h.add(Harness::make_spec_with_id("queued-job-1"));
    co_await h.add(Harness::make_spec_with_id("queued-job-2"));
  });
  session([](Harness& h) -> Task<void> {
    const v1::Job finished = co_await h.get("finished-1");
    EXPECT_EQ(finished.state(), v1::JOB_STATE_SUCCEEDED);
    EXPECT_EQ(finished.outcome().result(), "result");
    EXPECT_EQ(finished.last_sequence(), 3u);
    EXPECT_EQ(finished.first_sequence(), 2u);
    EXPECT_EQ(finished.last_send(), 1u);
    const auto entries = co_await h.read("finished-1");
    EXPECT_THAT(entries, ElementsAre("2:b", "3:c"));
    const auto sends = co_await h.store().read_sends("finished-1", 0);
    WEFT_ASSERT(sends.ok() && sends->size() == 1);
    EXPECT_EQ((*sends)[0].value, "value");
    const auto repeated = co_await h.store().send("finished-1", "ann", 7, "value");
    EXPECT_TRUE(repeated.ok() && *repeated == 1u) << repeated.status();
    // Idempotent also after a restart.
    co_await h.must(h.settle(Token("finished-1", 1, Harness::kWorker)));
    const auto again = co_await h.submit(Harness::make_spec_with_id("finished-1"));
    EXPECT_TRUE(again.ok() && again->existing);
    EXPECT_EQ(h.store().stats().queued_jobs, 2u);
    const auto jobs = co_await h.take(5);
    WEFT_ASSERT(jobs.size() == 2);
    EXPECT_EQ(jobs[0].spec().id(), "queued-job-1");
    EXPECT_EQ(jobs[0].spec().payload(), "payload");
    EXPECT_EQ(jobs[1].spec().id(), "queued-job-2");
  });
}

TEST_F(SqliteStore, RunningJobsAreGivenBackAtOpenOldestFirst) {
  session([](Harness& h) -> Task<void> {
    for (const char* id : {"job-number-1", "job-number-2", "job-number-3"}) {
      co_await h.add(Harness::make_spec_with_id(id));
    }
    auto jobs = co_await h.take(2);
    WEFT_ASSERT(jobs.size() == 2);
    co_await h.must(h.append(Harness::token_of(jobs[0]), 1, {"a"}));
  });
  session([](Harness& h) -> Task<void> {
    EXPECT_EQ(h.store().stats().queued_jobs, 3u);
    EXPECT_EQ(h.store().stats().running_jobs, 0u);
    const v1::Job waiting = co_await h.get("job-number-1");
    EXPECT_EQ(waiting.state(), v1::JOB_STATE_QUEUED);
    EXPECT_EQ(waiting.last_sequence(), 1u);
    const Status stale = co_await h.settle(Token("job-number-1", 1, Harness::kWorker));
    EXPECT_EQ(stale.code(), StatusCode::kAborted);
    const auto jobs = co_await h.take(5);
    WEFT_ASSERT(jobs.size() == 3);
    EXPECT_EQ(jobs[0].spec().id(), "job-number-1");
    EXPECT_EQ(jobs[0].attempt(), 2u);
    EXPECT_EQ(jobs[1].spec().id(), "job-number-2");
    EXPECT_EQ(jobs[2].attempt(), 1u);
    const auto entries = co_await h.read("job-number-1");
    EXPECT_THAT(entries, ElementsAre("1:a", "2:attempt 2"));
  });
}

TEST_F(SqliteStore, FlaggedJobIsCancelledAtOpen) {
  session([](Harness& h) -> Task<void> {
    co_await h.add(Harness::make_spec_with_id("job-number-1"));
    co_await h.take(1);
    co_await h.must(h.store().cancel("job-number-1", "enough"));
  });
  session([](Harness& h) -> Task<void> {
    const v1::Job job = co_await h.get("job-number-1");
    EXPECT_EQ(job.state(), v1::JOB_STATE_CANCELLED);
    EXPECT_EQ(job.outcome().error_message(), "enough");
    EXPECT_TRUE(job.has_finish_time());
    const auto jobs = co_await h.take(1);
    EXPECT_TRUE(jobs.empty());
  });
}

TEST_F(SqliteStore, NumbersGoOnAfterAStreamWasTrimmedWhole) {
  session([](Harness& h) -> Task<void> {
    co_await h.add(Harness::make_spec_with_id("job-number-1"));
    auto jobs = co_await h.take(1);
    WEFT_ASSERT(jobs.size() == 1);
    co_await h.must(h.append(Harness::token_of(jobs[0]), 1, {"a", "b"}));
    co_await h.must(h.store().trim("job-number-1", 3));
  });
  session([](Harness& h) -> Task<void> {
    auto jobs = co_await h.take(1);
    WEFT_ASSERT(jobs.size() == 1);
    EXPECT_EQ(jobs[0].attempt_sequence(), 3u);
    co_await h.must(h.append(Harness::token_of(jobs[0]), 4, {"c"}));
    const auto entries = co_await h.read("job-number-1");
    EXPECT_THAT(entries, ElementsAre("3:attempt 2", "4:c"));
  });
}

TEST_F(SqliteStore, SegmentRowsVanishWhenNothingLivesInThem) {
  session([](Harness& h) -> Task<void> {
    co_await h.add(Harness::make_spec_with_id("job-number-1"));
    co_await h.add(Harness::make_spec_with_id("job-number-2"));
    auto jobs = co_await h.take(2);
    WEFT_ASSERT(jobs.size() == 2);
    for (uint64_t i = 1; i <= 10; ++i) {
      co_await h.must(h.append(Harness::token_of(jobs[0]), i, {"x"}));
    }
    co_await h.must(h.append(Harness::token_of(jobs[1]), 1, {"other"}));
    co_await h.must(h.store().trim("job-number-1", 10));
  });
  EXPECT_EQ(query(path_, "SELECT count(*) FROM segment"), 2);
  session([](Harness& h) -> Task<void> {
    const auto kept = co_await h.read("job-number-1");
    const auto other = co_await h.read("job-number-2");
    EXPECT_THAT(kept, ElementsAre("10:x"));
    EXPECT_THAT(other, ElementsAre("1:other"));
  });
}

TEST_F(SqliteStore, OperationsOfOneTurnShareTransactions) {
  session([](Harness& h) -> Task<void> {
    auto body = [&](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < 2000; ++i) {
        group.start(
            [](Harness* harness) -> Task<void> { co_await harness->add(Harness::make_spec()); },
            &h);
      }
      co_return;
    };
    co_await with_group(body);
    const StoreStats stats = h.store().stats();
    EXPECT_EQ(stats.operations, 2000u);
    EXPECT_EQ(stats.queued_jobs, 2000u);
    EXPECT_LE(stats.commits, 20u);
  });
  EXPECT_EQ(query(path_, "SELECT count(*) FROM job"), 2000);
}

// Starts `count` submits at once, waits for all, and says how many went into a commit on average.
Task<double> submit_at_once(Harness& harness, int count, size_t payload_bytes) {
  const StoreStats before = harness.store().stats();
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int i = 0; i < count; ++i) {
      group.start(
          [](Harness* h, std::string payload) -> Task<void> {
            co_await h->add(Harness::make_spec("q", std::move(payload)));
          },
          &harness, std::string(payload_bytes, 'x'));
    }
    co_return;
  };
  co_await with_group(body);
  const StoreStats after = harness.store().stats();
  EXPECT_EQ(after.operations - before.operations, static_cast<uint64_t>(count));
  co_return static_cast<double>(count) / static_cast<double>(after.commits - before.commits);
}

TEST_F(SqliteStore, OperationsBeyondTheQueueWaitInTheirCallers) {
  options_.queue_ops = 4;
  session([](Harness& h) -> Task<void> {
    const double per_commit = co_await submit_at_once(h, 41, 10);
    EXPECT_LE(per_commit, 4.0);
    EXPECT_EQ(h.store().stats().queued_jobs, 41u);
  });
}

TEST_F(SqliteStore, BytesBeyondTheQueueWaitInTheirCallers) {
  options_.queue_bytes = 1000;
  session([](Harness& h) -> Task<void> {
    const double alone = co_await submit_at_once(h, 10, 600);
    EXPECT_EQ(alone, 1.0);
    const double larger_than_the_queue = co_await submit_at_once(h, 3, 5000);
    EXPECT_EQ(larger_than_the_queue, 1.0);
    EXPECT_EQ(h.store().stats().queued_jobs, 13u);
  });
}

TEST_F(SqliteStore, LogIsWrittenBackWhenItIsLong) {
  session([this](Harness& h) -> Task<void> {
    const v1::Job job = co_await h.run_one();
    const std::string id = job.spec().id();
    const std::string chunk(limits::kChunkBytes, 'c');
    // However busy it is, and one transaction more.
    const uint64_t bound = (limits::kCheckpointLatePages + 1000) * uint64_t{4096};
    uint64_t longest = 0;
    for (uint64_t i = 1; i <= 160; ++i) {
      co_await h.must(h.append(Harness::token_of(job), i, {chunk}));
      if (i > 3) co_await h.must(h.store().trim(id, i - 3));
      const auto page = co_await h.store().read(id, i, 1);
      WEFT_ASSERT(page.ok() && page->blocks.size() == 1);
      EXPECT_TRUE(page->blocks[0]->chunk(0) == chunk);
      longest = std::max(longest, std::filesystem::file_size(path_ + "-wal"));
    }
    EXPECT_GT(longest, 8u << 20);
    EXPECT_LT(longest, bound);
    EXPECT_GT(std::filesystem::file_size(path_), 2u << 20);
    // Rows of trimmed chunks are used again.
    EXPECT_LT(std::filesystem::file_size(path_), 40u << 20);
  });
  EXPECT_FALSE(std::filesystem::exists(path_ + "-wal"));
  session([](Harness& h) -> Task<void> {
    const auto jobs = co_await h.take(1);
    WEFT_ASSERT(jobs.size() == 1);
    const auto page = co_await h.store().read(jobs[0].spec().id(), 157, 4 << 20);
    WEFT_ASSERT(page.ok());
    EXPECT_EQ(page->first_sequence, 157u);
    EXPECT_EQ(page->last_sequence, 161u);  // with the mark of the new attempt
  });
}

TEST_F(SqliteStore, AnswersOfReadsTakeNoMoreRoomThanTheirOwn) {
  options_.read_bytes = 10 << 20;  // two of jobs with their results, not three
  session([this](Harness& h) -> Task<void> {
    co_await h.add(Harness::make_spec_with_id("waiting-job-1"));
    constexpr int kReads = 20;
    int answered = 0;
    uint64_t most = 0;
    auto body = [&](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < kReads; ++i) {
        group.start(
            [](Harness* harness, int* count) -> Task<void> {
              const v1::Job job = co_await harness->get("waiting-job-1");
              EXPECT_EQ(job.state(), v1::JOB_STATE_QUEUED);
              ++*count;
            },
            &h, &answered);
      }
      while (answered < kReads) {
        most = std::max(most, h.store().stats().read_bytes);
        co_await yield_now();
      }
    };
    co_await with_group(body);
    EXPECT_GT(most, 2 * limits::kResultBytes);
    EXPECT_LE(most, options_.read_bytes);
    EXPECT_EQ(h.store().stats().read_bytes, 0u);
    // What could be larger than all the room has it to itself.
    const auto page = co_await h.store().list({}, "", 1000);
    EXPECT_TRUE(page.ok() && page->jobs.size() == 1) << page.status();
    co_await h.must(h.store().read_sends("waiting-job-1", 0));
    co_await h.must(h.store().read("waiting-job-1", 0, 100 << 20));
  });
}

TEST_F(SqliteStore, CancelledCallersLeaveTheStoreWhole) {
  session([](Harness& h) -> Task<void> {
    for (int round = 0; round < 20; ++round) {
      auto body = [&](TaskGroup& group) -> Task<void> {
        for (int i = 0; i < 50; ++i) {
          group.start(
              [](Harness* harness) -> Task<void> {
                std::vector<v1::JobSpec> specs{Harness::make_spec()};
                co_await harness->store().submit(std::move(specs));
                auto page = co_await harness->store().get("unknown-job-1", true);
                EXPECT_FALSE(page.ok());
              },
              &h);
        }
        for (int turns = 0; turns <= round; ++turns) co_await yield_now();
        group.cancel(CancelReason::kUserRequest);
      };
      co_await with_group(body);
    }
    co_await h.add(Harness::make_spec());
  });
}

}  // namespace
}  // namespace weft::testing
