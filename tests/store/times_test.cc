// What the SQLite store keeps of retries and times over its end, and when a commit fails.
#include <gmock/gmock.h>
#include <sqlite3.h>
#include <sys/resource.h>

#include <csignal>

#include <weft/base/limits.h>
#include <weft/base/random.h>
#include <weft/store/memory/memory_store.h>

#include "tests/store/store_file.h"

namespace weft::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

using SqliteTimes = StoreFile;

v1::JobSpec named(const std::string& id) { return Harness::make_spec_with_id(id + "-padding"); }
v1::JobSpec delayed(const std::string& id, int64_t seconds) {
  v1::JobSpec spec = named(id);
  spec.mutable_delay()->set_seconds(seconds);
  return spec;
}

TEST_F(SqliteTimes, ReopeningKeepsThem) {
  session([](Harness& h) -> Task<void> {
    const v1::Job job = co_await h.run_one(named("postponed"));
    co_await h.must(h.settle_later(Harness::token_of(job), 40s));
    co_await h.add(delayed("delayed", 10));
    v1::JobSpec expiring = named("expiring");
    expiring.mutable_expire_at()->set_seconds(EventLoop::current()->wall_ns() / 1'000'000'000 + 20);
    co_await h.add(expiring);
    v1::JobSpec limited = named("limited");
    limited.mutable_total_timeout()->set_seconds(30);
    co_await h.add(limited);
  });
  session([](Harness& h) -> Task<void> {
    EXPECT_EQ(h.store().stats().scheduled_jobs, 2u);
    EXPECT_EQ(h.store().stats().queued_jobs, 2u);
    const Promoted none = co_await h.promote();
    EXPECT_EQ(none.jobs, 0u);
    EXPECT_EQ(none.next_in, 10s);
    // Its token is known still.
    const Token token("postponed-padding", 1, Harness::kWorker);
    co_await h.must(h.settle_later(token, 40s));
    const v1::Job postponed = co_await h.get(token.job_id);
    EXPECT_EQ(postponed.state(), v1::JOB_STATE_SCHEDULED);
    EXPECT_EQ(postponed.failures(), 1u);
    EXPECT_EQ(postponed.errors_size(), 1);
    co_await sleep_for(31s);
    const Promoted over = co_await h.promote();
    EXPECT_EQ(over.jobs, 3u);
    EXPECT_EQ(over.next_in, 9s);
  });
  session([](Harness& h) -> Task<void> {
    const StoreStats stats = h.store().stats();
    EXPECT_EQ(stats.scheduled_jobs, 1u);
    EXPECT_EQ(stats.queued_jobs, 1u);
    EXPECT_EQ(stats.expired_jobs, 1u);
    EXPECT_EQ(stats.dead_jobs, 1u);
    const auto page = co_await h.store().list({.states = {v1::JOB_STATE_EXPIRED}}, "", 5);
    WEFT_ASSERT(page.ok() && page->jobs.size() == 1);
    EXPECT_EQ(page->jobs[0].spec().id(), "expiring-padding");
    const auto taken = co_await h.take(5);
    WEFT_ASSERT(taken.size() == 1);
    EXPECT_EQ(taken[0].spec().id(), "delayed-padding");
    EXPECT_EQ(taken[0].spec().payload(), "payload");
    const auto cancelled = co_await h.store().cancel("postponed-padding", "");
    WEFT_ASSERT(cancelled.ok());
    EXPECT_EQ(cancelled->result(), v1::CancelResponse::CANCELLED);
    EXPECT_EQ(h.store().stats().scheduled_jobs, 0u);
  });
}

// The same for both stores: what is queued when it comes, and what is promoted in between.
Task<void> queue_jobs(Harness& h, uint64_t seed) {
  Random random(seed);
  for (int i = 0; i < 80; ++i) {
    v1::JobSpec spec = named("job-" + std::to_string(i));
    spec.set_queue(random.below(2) == 0 ? "a" : "b");
    spec.set_type(random.below(2) == 0 ? "even" : "odd");
    if (random.below(2) == 0) spec.mutable_delay()->set_seconds(1 + int64_t(random.below(20)));
    co_await h.add(spec);
    co_await sleep_for(1s);
    if (random.below(4) == 0) co_await h.promote(1 + random.below(5));
    if (random.below(8) != 0) continue;
    const auto taken = co_await h.take(1);
    if (taken.empty()) continue;
    const Token token = Harness::token_of(taken[0]);
    switch (random.below(3)) {
      case 0:
        co_await h.must(h.settle_later(token, 1s));
        break;
      case 1:
        co_await h.must(h.release(token));
        break;
      default:
        co_await h.must(h.settle(token, v1::JOB_STATE_DEAD));
        if (random.below(2) == 0) co_await h.must(h.store().retry(token.job_id));
    }
  }
  co_await h.promote();
}

Task<void> take_all(Harness& h, std::vector<std::string>* ids) {
  // As if no queue had had its turn yet.
  for (const char* type : {"even", "odd"}) {
    std::vector<Settlement> none;
    TakeRequest request{.worker = Harness::kWorker, .worker_name = "tester", .max_jobs = 1000};
    request.type_room = {{"even", 1000}, {"odd", 1000}};
    request.type_room[type == std::string("even") ? 1 : 0].jobs = 0;
    const auto taken = co_await h.store().settle_and_take(none, request);
    WEFT_ASSERT(taken.ok());
    for (const char* queue : {"a", "b"}) {
      for (const v1::Job& job : taken->jobs) {
        if (job.spec().queue() == queue) ids->push_back(job.spec().id());
      }
    }
  }
}

TEST_F(SqliteTimes, ReopeningKeepsTheOrderOfAQueue) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(seed);
    std::filesystem::remove_all(folder_);
    std::vector<std::string> expected;
    run_coro_test([&]() -> Task<void> {
      Harness memory(make_memory_store(options_));
      co_await queue_jobs(memory, seed);
      co_await take_all(memory, &expected);
      co_await memory.store().close();
    });
    session([&](Harness& h) -> Task<void> { co_await queue_jobs(h, seed); });
    std::vector<std::string> reopened;
    session([&](Harness& h) -> Task<void> { co_await take_all(h, &reopened); });
    EXPECT_GT(expected.size(), 40u);
    EXPECT_EQ(reopened, expected);
  }
}

TEST_F(SqliteTimes, APlaceIsNotGivenTwice) {
  session([](Harness& h) -> Task<void> {
    co_await h.add(delayed("a", 1));
    co_await sleep_for(2s);
    co_await h.promote();  // its place is 2
    const auto jobs = co_await h.take(1);
    WEFT_ASSERT(jobs.size() == 1);
    co_await h.must(h.settle(Harness::token_of(jobs[0]), v1::JOB_STATE_DEAD));
  });
  session([](Harness& h) -> Task<void> {
    v1::JobSpec other = named("b");
    other.set_type("other");
    co_await h.add(other);
    co_await h.must(h.store().retry("a-padding"));
    const auto jobs = co_await h.take(5);
    EXPECT_EQ(jobs.size(), 2u);
  });
}

TEST_F(SqliteTimes, AnAttemptThatDiedLeavesItsError) {
  session([](Harness& h) -> Task<void> { co_await h.run_one(named("a")); });
  session([](Harness& h) -> Task<void> {
    const v1::Job queued = co_await h.get("a-padding");
    EXPECT_EQ(queued.state(), v1::JOB_STATE_QUEUED);
    EXPECT_EQ(queued.failures(), 0u);
    EXPECT_EQ(queued.crashes(), 1u);
    WEFT_ASSERT(queued.errors_size() == 1);
    EXPECT_EQ(queued.errors(0).error_code(), "crashed");
    EXPECT_EQ(queued.errors(0).attempt(), 1u);
    EXPECT_EQ(queued.errors(0).worker(), "tester");
    const Status late = co_await h.settle_later(Token("a-padding", 1, Harness::kWorker), 1s);
    EXPECT_EQ(late.code(), StatusCode::kAborted);
    co_await h.take(1);
  });
  for (int i = 0; i < 3; ++i) {
    session([](Harness& h) -> Task<void> { co_await h.take(1); });
  }
  session([](Harness& h) -> Task<void> {
    const v1::Job dead = co_await h.get("a-padding");
    EXPECT_EQ(dead.state(), v1::JOB_STATE_DEAD);
    EXPECT_EQ(dead.failures(), 0u);
    EXPECT_EQ(dead.errors_size(), static_cast<int>(limits::kDeadCrashes));
    co_await h.must(h.store().retry("a-padding"));
    const v1::Job retried = co_await h.get("a-padding");
    EXPECT_EQ(retried.crashes(), 0u);
    EXPECT_EQ(retried.errors_size(), static_cast<int>(limits::kDeadCrashes));
  });
}

TEST_F(SqliteTimes, AnErrorThatIsNotTextCanBeReadAgain) {
  session([](Harness& h) -> Task<void> {
    const v1::Job job = co_await h.run_one(named("a"));
    v1::Outcome outcome;
    outcome.set_error_code("caf\xe9");
    outcome.set_error_message("no caf\xe9");
    Settlement settlement(Harness::token_of(job), v1::JOB_STATE_SCHEDULED, std::move(outcome), 0);
    settlement.pause = 1s;
    co_await h.must(h.settle_as(std::move(settlement)));
  });
  session([](Harness& h) -> Task<void> {
    co_await sleep_for(2s);
    const Promoted promoted = co_await h.promote();
    EXPECT_EQ(promoted.jobs, 1u);
    const v1::Job job = co_await h.get("a-padding");
    WEFT_ASSERT(job.errors_size() == 1);
    EXPECT_EQ(job.errors(0).error_code(), "caf\xef\xbf\xbd");
    EXPECT_EQ(job.errors(0).error_message(), "no caf\xef\xbf\xbd");
  });
}

// Writes over what the file has of a job's record.
void damage_record(const std::string& path, const std::string& id) {
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &database), SQLITE_OK);
  const std::string sql = "UPDATE job SET record = x'ffff' WHERE id = '" + id + "'";
  EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
  EXPECT_EQ(sqlite3_changes(database), 1);
  sqlite3_close(database);
}

TEST_F(SqliteTimes, ATakeBesideJobsThatAreOverReadsNoFile) {
  session([this](Harness& h) -> Task<void> {
    const int64_t now_s = EventLoop::current()->wall_ns() / 1'000'000'000;
    v1::JobSpec left = named("left");
    left.set_type("left");
    left.mutable_expire_at()->set_seconds(now_s + 1);
    co_await h.add(left);
    co_await h.add(named("plain"));
    v1::JobSpec timed = named("timed");
    timed.mutable_total_timeout()->set_seconds(60);
    co_await h.add(timed);
    v1::JobSpec over = named("over");
    over.mutable_expire_at()->set_seconds(now_s + 1);
    co_await h.add(over);
    co_await sleep_for(2s);
    for (const char* id : {"plain-padding", "timed-padding", "over-padding"}) {
      damage_record(path_, id);
    }
    std::vector<Settlement> none;
    TakeRequest request{.worker = Harness::kWorker, .worker_name = "tester", .max_jobs = 10};
    request.type_room = {{"left", 0}};
    const auto taken = co_await h.store().settle_and_take(none, request);
    WEFT_ASSERT(taken.ok() && taken->jobs.size() == 2);
    EXPECT_EQ(taken->jobs[0].spec().id(), "plain-padding");
    EXPECT_EQ(taken->jobs[1].spec().id(), "timed-padding");
    const v1::Job ended = co_await h.get("over-padding");
    EXPECT_EQ(ended.state(), v1::JOB_STATE_EXPIRED);
  });
}

TEST_F(SqliteTimes, ReopeningStartsNoJobThatIsOver) {
  session([](Harness& h) -> Task<void> {
    v1::JobSpec expiring = named("a");
    expiring.mutable_expire_at()->set_seconds(EventLoop::current()->wall_ns() / 1'000'000'000 + 10);
    co_await h.add(expiring);
  });
  session([](Harness& h) -> Task<void> {
    co_await sleep_for(11s);
    const auto taken = co_await h.take(1);
    EXPECT_TRUE(taken.empty());
    EXPECT_EQ(h.store().stats().expired_jobs, 1u);
  });
}

// No file of this process grows beyond that, until it ends.
class FullDisk {
 public:
  FullDisk() {
    std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit small{.rlim_cur = 256 << 10, .rlim_max = before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
  }
  ~FullDisk() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(SqliteTimes, APromotionThatFailsChangesNothing) {
  session([](Harness& h) -> Task<void> {
    // The log is longer than it may be then.
    v1::JobSpec large = Harness::make_spec("large", std::string(1 << 20, 'x'));
    const v1::Job running = co_await h.run_one(large);
    co_await h.add(delayed("a", 10));
    v1::JobSpec expiring = named("b");
    expiring.mutable_expire_at()->set_seconds(EventLoop::current()->wall_ns() / 1'000'000'000 + 10);
    co_await h.add(expiring);
    co_await sleep_for(11s);
    h.told.events.clear();
    h.told.scheduled.clear();
    {
      FullDisk full;
      const auto failed = co_await h.store().promote(10);
      EXPECT_EQ(failed.status().code(), StatusCode::kUnavailable) << failed.status();
      const Status settled = co_await h.settle_later(Harness::token_of(running), 5s);
      EXPECT_EQ(settled.code(), StatusCode::kUnavailable) << settled;
    }
    EXPECT_TRUE(h.told.events.empty());
    EXPECT_TRUE(h.told.scheduled.empty());
    EXPECT_EQ(h.store().stats().scheduled_jobs, 1u);
    EXPECT_EQ(h.store().stats().queued_jobs, 1u);
    EXPECT_EQ(h.store().stats().running_jobs, 1u);
    EXPECT_EQ(h.store().stats().expired_jobs, 0u);
    const Promoted promoted = co_await h.promote();
    EXPECT_EQ(promoted.jobs, 2u);
    co_await h.must(h.settle_later(Harness::token_of(running), 5s));
    EXPECT_EQ(h.store().stats().scheduled_jobs, 1u);
    const auto taken = co_await h.take(5);
    WEFT_ASSERT(taken.size() == 1);
    EXPECT_EQ(taken[0].spec().id(), "a-padding");
  });
}

}  // namespace
}  // namespace weft::testing
