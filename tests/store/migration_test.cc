// Files of earlier builds open, with all that they hold.
#include <gmock/gmock.h>
#include <sqlite3.h>

#include <weft/store/sqlite/schema.h>

#include "tests/store/store_file.h"

namespace weft::testing {
namespace {

using ::testing::ElementsAre;

class Migrations : public StoreFile {
 protected:
  // The file as a build wrote it that knew the first steps alone.
  void make_file(int version) {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &database), SQLITE_OK);
    const std::string settings = "PRAGMA application_id=" + std::to_string(kApplicationId) +
                                 "; PRAGMA user_version=" + std::to_string(version);
    EXPECT_EQ(sqlite3_exec(database, settings.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
    for (int i = 0; i < version; ++i) {
      EXPECT_EQ(sqlite3_exec(database, kMigrations[i].sql, nullptr, nullptr, nullptr), SQLITE_OK);
    }
    insert(database, 1, "finished-job-1", v1::JOB_STATE_SUCCEEDED);
    insert(database, 2, "running-job-1", v1::JOB_STATE_RUNNING);
    insert(database, 3, "queued-job-1", v1::JOB_STATE_QUEUED);
    sqlite3_close(database);
  }

 private:
  static void insert(sqlite3* database, int64_t row, const std::string& id, v1::JobState state) {
    v1::JobSpec spec = Harness::make_spec_with_id(id);
    spec.clear_payload();
    v1::Job record;
    record.set_state(state);
    record.set_first_sequence(1);
    record.set_attempt(state == v1::JOB_STATE_QUEUED ? 0 : 1);
    if (state == v1::JOB_STATE_SUCCEEDED) {
      record.mutable_outcome();
      record.mutable_finish_time()->set_seconds(1'000'000'000);
    }
    const std::string spec_bytes = spec.SerializeAsString();
    const std::string record_bytes = record.SerializeAsString();
    sqlite3_stmt* statement = nullptr;
    sqlite3_prepare_v2(database,
                       "INSERT INTO job(row, id, queue, state, first_sequence, worker_high,"
                       " worker_low, spec, record) VALUES(?1, ?2, 'default', ?3, 1, 0, 0, ?4, ?5)",
                       -1, &statement, nullptr);
    sqlite3_bind_int64(statement, 1, row);
    sqlite3_bind_text(statement, 2, id.c_str(), -1, SQLITE_TRANSIENT);
    sqlite3_bind_int(statement, 3, state);
    sqlite3_bind_blob(statement, 4, spec_bytes.data(), static_cast<int>(spec_bytes.size()),
                      SQLITE_TRANSIENT);
    sqlite3_bind_blob(statement, 5, record_bytes.data(), static_cast<int>(record_bytes.size()),
                      SQLITE_TRANSIENT);
    EXPECT_EQ(sqlite3_step(statement), SQLITE_DONE) << sqlite3_errmsg(database);
    sqlite3_finalize(statement);
  }
};

class OlderFile : public Migrations, public ::testing::WithParamInterface<int> {};

TEST_P(OlderFile, OpensAndWorks) {
  make_file(GetParam());
  session([](Harness& h) -> Task<void> {
    EXPECT_EQ(h.store().stats().finished_jobs, 1u);
    const v1::Job finished = co_await h.get("finished-job-1");
    EXPECT_EQ(finished.state(), v1::JOB_STATE_SUCCEEDED);
    const auto jobs = co_await h.take(5);
    WEFT_ASSERT(jobs.size() == 2);
    EXPECT_EQ(jobs[0].spec().id(), "running-job-1");
    EXPECT_EQ(jobs[0].crashes(), 1u);
    v1::JobSpec keyed = Harness::make_spec();
    keyed.set_idempotency_key("some key");
    const auto first = co_await h.submit(keyed);
    const auto again = co_await h.submit(keyed);
    WEFT_ASSERT(first.ok() && again.ok());
    EXPECT_EQ(first->id, again->id);
    v1::JobSpec delayed = Harness::make_spec_with_id("delayed-job-1");
    delayed.mutable_delay()->set_seconds(10);
    co_await h.add(delayed);
    co_await h.must(h.settle_later(Harness::token_of(jobs[1]), std::chrono::seconds(5)));
    co_await sleep_for(std::chrono::seconds(11));
    const Promoted promoted = co_await h.promote();
    EXPECT_EQ(promoted.jobs, 2u);
    // It ended long ago.
    const auto swept = co_await h.store().sweep(10);
    EXPECT_TRUE(swept.ok() && *swept == 1) << swept.status();
  });
  const auto database = open_for_reading(path_);
  ASSERT_TRUE(database.ok()) << database.status();
  EXPECT_EQ((*database)->query_integer("PRAGMA user_version"), schema_version());
}
INSTANTIATE_TEST_SUITE_P(Versions, OlderFile, ::testing::Range(1, schema_version()));

}  // namespace
}  // namespace weft::testing
