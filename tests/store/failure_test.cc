// What the SQLite store says and keeps while its file takes no writes.
#include <gmock/gmock.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <sqlite3.h>
#include <sys/resource.h>

#include <chrono>
#include <csignal>
#include <sstream>

#include <weft/base/limits.h>
#include <weft/runtime/combinators.h>

#include "tests/store/store_file.h"

namespace weft::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using FailingFile = StoreFile;

// No file of this process grows beyond `bytes`, until end().
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit small{.rlim_cur = bytes, .rlim_max = before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
  }
  ~FullDisk() { end(); }
  void end() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

// Catches what is logged while it lives.
class LogLines {
 public:
  LogLines() : before_(spdlog::default_logger()) {
    auto sink = std::make_shared<spdlog::sinks::ostream_sink_st>(text_);
    spdlog::set_default_logger(std::make_shared<spdlog::logger>("test", std::move(sink)));
  }
  ~LogLines() { spdlog::set_default_logger(before_); }
  std::string text() const { return text_.str(); }
  size_t count() const {
    const std::string all = text();
    return static_cast<size_t>(std::count(all.begin(), all.end(), '\n'));
  }

 private:
  std::ostringstream text_;
  std::shared_ptr<spdlog::logger> before_;
};

TEST_F(FailingFile, AWriteThatFailsChangesNothingAndIsWorthRetrying) {
  session([](Harness& h) -> Task<void> {
    co_await h.add(Harness::make_spec_with_id("running-job-1"));
    auto jobs = co_await h.take(1);
    WEFT_ASSERT(jobs.size() == 1);
    co_await h.must(h.append(Harness::token_of(jobs[0]), 1, {"a"}));
    co_await h.add(Harness::make_spec_with_id("queued-job-1"));
    FullDisk full(256 << 10);
    const auto refused = co_await h.submit(Harness::make_spec("q", std::string(1 << 20, 'x')));
    const Status append =
        co_await h.append(Harness::token_of(jobs[0]), 2, {std::string(1 << 20, 'x')});
    full.end();
    EXPECT_EQ(refused.status().code(), StatusCode::kUnavailable) << refused.status();
    EXPECT_GT(retry_ms_of(refused.status()), 0);
    EXPECT_EQ(append.code(), StatusCode::kUnavailable) << append;
    EXPECT_EQ(h.store().stats().queued_jobs, 1u);
    EXPECT_EQ(h.store().stats().running_jobs, 1u);
    // What ran still runs, and the stream goes on where it was.
    co_await h.must(h.append(Harness::token_of(jobs[0]), 2, {"b"}));
    co_await h.must(h.settle(Harness::token_of(jobs[0]), v1::JOB_STATE_SUCCEEDED, 2));
    const auto entries = co_await h.read("running-job-1");
    EXPECT_THAT(entries, ElementsAre("1:a", "2:b"));
    const auto rest = co_await h.take(5);
    WEFT_ASSERT(rest.size() == 1);
    EXPECT_EQ(rest[0].spec().id(), "queued-job-1");
    EXPECT_EQ(rest[0].spec().payload(), "payload");
  });
}

// Reads a stream of `chunks` chunks from its start to its end, `rounds` times.
Task<void> read_whole(Harness& h, std::string id, uint64_t chunks, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    for (uint64_t from = 1; from <= chunks;) {
      const auto page = co_await h.store().read(id, from, 4000);
      WEFT_ASSERT(page.ok());
      EXPECT_EQ(page->first_sequence, 1u);
      EXPECT_EQ(page->last_sequence, chunks);
      WEFT_ASSERT(!page->blocks.empty());
      EXPECT_EQ(page->blocks.front()->first_sequence, from);
      from = page->blocks.back()->last_sequence() + 1;
    }
    const v1::Job job = co_await h.get(id);
    EXPECT_EQ(job.last_sequence(), chunks);
    EXPECT_EQ(job.first_sequence(), 1u);
  }
}

Task<void> fail_commits(Harness& h, Token token, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    const Status trimmed = co_await h.store().trim(token.job_id, 100);
    EXPECT_EQ(trimmed.code(), StatusCode::kUnavailable) << trimmed;
    const Status append = co_await h.append(token, 501, {"y"});
    EXPECT_EQ(append.code(), StatusCode::kUnavailable) << append;
  }
}

TEST_F(FailingFile, ReadersSeeNothingOfCommitsThatFail) {
  session([](Harness& h) -> Task<void> {
    const v1::Job job = co_await h.run_one();
    const Token token = Harness::token_of(job);
    for (uint64_t i = 1; i <= 500; ++i) {
      co_await h.must(h.append(token, i, {std::string(200, 'x')}));
    }
    FullDisk full(1);
    co_await all_of(read_whole(h, token.job_id, 500, 20), fail_commits(h, token, 100));
    full.end();
    // What failed is not there later either.
    co_await h.must(h.append(token, 501, {"y"}));
    const auto start = co_await h.read(token.job_id, 1, 1);
    EXPECT_EQ(start.size(), 1u);
    const Status trimmed = co_await h.store().trim(token.job_id, 501);
    EXPECT_TRUE(trimmed.ok()) << trimmed;
    const auto rest = co_await h.read(token.job_id);
    EXPECT_THAT(rest, ElementsAre("501:y"));
  });
}

TEST_F(FailingFile, WhatEndedInACommitThatFailedLivesOn) {
  session([](Harness& h) -> Task<void> {
    for (const char* id : {"ended-job-1", "oldest-job", "queued-job-1", "queued-job-2"}) {
      co_await h.add(Harness::make_spec_with_id(id));
    }
    auto jobs = co_await h.take(2);
    WEFT_ASSERT(jobs.size() == 2);
    co_await h.must(h.settle(Harness::token_of(jobs[0])));
    FullDisk full(1);
    for (int round = 0; round < 3; ++round) {
      const Status settle = co_await h.settle(Harness::token_of(jobs[1]));
      EXPECT_EQ(settle.code(), StatusCode::kUnavailable) << settle;
      const auto cancel = co_await h.store().cancel("queued-job-1", "");
      EXPECT_EQ(cancel.status().code(), StatusCode::kUnavailable) << cancel.status();
      EXPECT_EQ(h.store().stats().queued_jobs, 2u);
      EXPECT_EQ(h.store().stats().running_jobs, 1u);
    }
    full.end();
    EXPECT_EQ(h.told.finished.size(), 1u);
    co_await h.must(h.settle(Harness::token_of(jobs[1])));
    const auto rest = co_await h.take(5);
    WEFT_ASSERT(rest.size() == 2);
    EXPECT_EQ(rest[0].spec().id(), "queued-job-1");
    co_await h.add(Harness::make_spec_with_id("new-job-1"));
    EXPECT_EQ(h.told.finished.size(), 2u);
  });
}

TEST_F(FailingFile, ALockedFileChangesNothing) {
  session([this](Harness& h) -> Task<void> {
    const v1::Job job = co_await h.run_one();
    sqlite3* other = nullptr;
    WEFT_ASSERT(sqlite3_open(path_.c_str(), &other) == SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
    const auto refused = co_await h.submit(Harness::make_spec_with_id("new-job-1"));
    const Status settle = co_await h.settle(Harness::token_of(job));
    EXPECT_EQ(refused.status().code(), StatusCode::kUnavailable) << refused.status();
    EXPECT_EQ(settle.code(), StatusCode::kUnavailable) << settle;
    EXPECT_EQ(h.store().stats().queued_jobs, 0u);
    EXPECT_EQ(h.store().stats().running_jobs, 1u);
    sqlite3_close(other);
    co_await h.must(h.settle(Harness::token_of(job)));
    co_await h.add(Harness::make_spec_with_id("new-job-1"));
    EXPECT_EQ(h.told.finished.size(), 1u);
  });
}

TEST_F(FailingFile, FailedCommitsAreLoggedNowAndThen) {
  session([this](Harness& h) -> Task<void> {
    LogLines log;
    co_await h.add(Harness::make_spec());
    EXPECT_EQ(log.text(), "");
    FullDisk full(1);
    for (int i = 0; i < 5; ++i) {
      const auto refused = co_await h.submit(Harness::make_spec());
      EXPECT_EQ(refused.status().code(), StatusCode::kUnavailable) << refused.status();
    }
    EXPECT_EQ(log.count(), 1u) << log.text();
    EXPECT_THAT(log.text(), HasSubstr("error"));
    EXPECT_THAT(log.text(), HasSubstr("the store " + path_ + " cannot commit now"));
    co_await sleep_for(std::chrono::milliseconds(limits::kStoreErrorLogMs));
    const auto refused = co_await h.submit(Harness::make_spec());
    EXPECT_FALSE(refused.ok());
    EXPECT_EQ(log.count(), 2u) << log.text();
  });
}

}  // namespace
}  // namespace weft::testing
