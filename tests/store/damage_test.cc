// A page of the file that is not what was written: clear words, and nothing lost in silence.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "tests/store/store_file.h"

namespace weft::testing {
namespace {

using ::testing::HasSubstr;

constexpr size_t kPage = 4096;
constexpr int kJobs = 40;

std::string id_of(int n) { return "job-number-" + std::to_string(1000 + n); }
std::string payload_of(int n) { return "payload of " + id_of(n) + std::string(3000, '.'); }

class DamagedPage : public StoreFile {
 protected:
  void make_store() {
    session([](Harness& h) -> Task<void> {
      for (int n = 0; n < kJobs; ++n) {
        v1::JobSpec spec = Harness::make_spec("default", payload_of(n));
        spec.set_id(id_of(n));
        co_await h.add(std::move(spec));
      }
    });
  }
  // Writes garbage over the head of the first page that contains `text`.
  void damage(const std::string& text) {
    std::ostringstream out;
    out << std::ifstream(path_, std::ios::binary).rdbuf();
    const std::string bytes = out.str();
    const size_t at = bytes.find(text, kPage);  // page 1 is the schema
    ASSERT_NE(at, std::string::npos) << text;
    const int fd = ::open(path_.c_str(), O_WRONLY);
    const std::string garbage(64, '\xf7');
    const auto page = static_cast<off_t>(at / kPage * kPage);
    ASSERT_EQ(::pwrite(fd, garbage.data(), garbage.size(), page),
              static_cast<ssize_t>(garbage.size()));
    ::close(fd);
  }
  // Changes one row.
  void execute(const std::string& sql) {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sql;
    EXPECT_EQ(sqlite3_changes(database), 1) << sql;
    sqlite3_close(database);
  }
  void forget_segments(const std::vector<int>& ids) {
    for (const int id : ids) execute("DELETE FROM segment WHERE id = " + std::to_string(id));
  }
  void expect_data_loss(const Status& status) {
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
    EXPECT_THAT(std::string(status.message()), HasSubstr("backup"));
  }
};

TEST_F(DamagedPage, OfJobsIsFoundWhenTheStoreOpens) {
  make_store();
  damage("echo");
  expect_data_loss(open_status());
  expect_data_loss(open_status());  // and again: nothing was changed
}

TEST_F(DamagedPage, OfAPayloadIsSaidToWhoReadsIt) {
  make_store();
  session([this](Harness& h) -> Task<void> {
    damage("payload of " + id_of(7));
    const auto damaged = co_await h.store().get(id_of(7), true);
    expect_data_loss(damaged.status());
    const auto whole = co_await h.store().get(id_of(30), true);
    WEFT_ASSERT(whole.ok());
    EXPECT_EQ(whole->spec().payload(), payload_of(30));
  });
}

TEST_F(DamagedPage, OfAScheduleHoldsUpNoOther) {
  const auto named = [](const char* name) {
    v1::Schedule schedule;
    schedule.set_name(name);
    return schedule;
  };
  session([&](Harness& h) -> Task<void> {
    for (const char* name : {"a", "b", "c"}) {
      co_await h.must(h.store().put_schedule(named(name), 0, 1));
    }
  });
  execute("UPDATE schedule SET record = x'f7f7' WHERE name = 'b'");
  session([&](Harness& h) -> Task<void> {
    const auto names = [](const std::vector<StoredSchedule>& all) {
      std::string text;
      for (const StoredSchedule& stored : all) text += stored.schedule.name();
      return text;
    };
    const auto page = co_await h.store().list_schedules("", 2);
    WEFT_ASSERT(page.ok());
    EXPECT_EQ(names(*page), "ac");
    const auto due = co_await h.store().due_schedules(2);
    WEFT_ASSERT(due.ok());
    EXPECT_EQ(names(due->schedules), "ac");
    const auto damaged = co_await h.store().get_schedule("b");
    EXPECT_EQ(damaged.status().code(), StatusCode::kDataLoss) << damaged.status();
    EXPECT_THAT(std::string(damaged.status().message()), HasSubstr("'b'"));
    co_await h.must(h.store().remove_schedule("b", 0));
    const auto gone = co_await h.store().get_schedule("b");
    EXPECT_EQ(gone.status().code(), StatusCode::kNotFound) << gone.status();
  });
}

// A segment of a stream is not there any more, as when a page of another time was put in its place:
// a reader is told, instead of waiting for what never comes.
TEST_F(DamagedPage, ThatTookChunksAwayIsSaidToWhoReadsThem) {
  constexpr int kAppends = 3;  // each is a transaction, and so a segment
  for (int missing = 0; missing < kAppends; ++missing) {
    std::filesystem::remove(path_);
    std::vector<std::string> ids;  // of one that has ended, one that is left alone, one that waits
    session([&](Harness& h) -> Task<void> {
      for (int n = 0; n < 3; ++n) {
        const v1::Job job = co_await h.run_one();
        ids.push_back(job.spec().id());
        const Token token = Harness::token_of(job);
        for (uint64_t at = 0; at < kAppends; ++at) {
          co_await h.must(h.append(token, 2 * at + 1, {"one", "two"}));
        }
        co_await h.must(n == 2 ? h.release(token)
                               : h.settle(token, v1::JOB_STATE_SUCCEEDED, 2 * kAppends));
      }
    });
    forget_segments({1 + missing, 1 + 2 * kAppends + missing});
    session([&](Harness& h) -> Task<void> {
      for (const std::string& id : {ids[0], ids[2]}) {
        const auto page = co_await h.store().read(id, 1, 1 << 20);
        expect_data_loss(page.status());
        EXPECT_THAT(std::string(page.status().message()), HasSubstr(id));
      }
      const auto whole = co_await h.read(ids[1]);
      EXPECT_EQ(whole.size(), size_t{2 * kAppends});
      co_await h.add(Harness::make_spec());
    });
  }
}

// A store that was opened anew has to read what it cancels.
TEST_F(DamagedPage, OfAPayloadIsSaidToWhoCancelsItsJob) {
  make_store();
  for (const int64_t retention_s : {int64_t{0}, int64_t{60}}) {
    session([retention_s](Harness& h) -> Task<void> {
      v1::JobSpec spec = Harness::make_spec("default", payload_of(100 + retention_s));
      spec.set_id(id_of(100 + retention_s));
      spec.mutable_retention()->set_seconds(retention_s);
      co_await h.add(std::move(spec));
    });
  }
  session([this](Harness& h) -> Task<void> {
    for (const int hit : {7, 100, 160}) {
      damage("payload of " + id_of(hit));
      for (int i = 0; i < 2; ++i) {
        const auto cancelled = co_await h.store().cancel(id_of(hit), "not needed");
        expect_data_loss(cancelled.status());
      }
    }
    // Others go on.
    const auto other = co_await h.store().cancel(id_of(30), "not needed");
    WEFT_ASSERT(other.ok());
    EXPECT_EQ(other->result(), v1::CancelResponse::CANCELLED);
    const auto unknown = co_await h.store().cancel("nobody", "not needed");
    EXPECT_EQ(unknown.status().code(), StatusCode::kNotFound);
    EXPECT_EQ(h.store().stats().queued_jobs, static_cast<uint64_t>(kJobs + 1));
  });
}

TEST_F(DamagedPage, StopsTheProcessThatWouldRunOnIt) {
  make_store();
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    dup2(pipe_fds[1], STDERR_FILENO);
    const rlimit no_core{};
    setrlimit(RLIMIT_CORE, &no_core);
    session([this](Harness& h) -> Task<void> {
      damage("payload of " + id_of(7));
      co_await h.take(kJobs);
    });
    _exit(0);
  }
  close(pipe_fds[1]);
  std::string said;
  char buffer[4096];
  for (ssize_t got = 0; (got = read(pipe_fds[0], buffer, sizeof buffer)) > 0;) {
    said.append(buffer, static_cast<size_t>(got));
  }
  close(pipe_fds[0]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) << status;
  EXPECT_THAT(said, HasSubstr(path_));
  EXPECT_THAT(said, HasSubstr("restore the file from a backup"));
  // What was acknowledged is still there, and the damage is still said.
  session([this](Harness& h) -> Task<void> {
    EXPECT_EQ(h.store().stats().queued_jobs, static_cast<uint64_t>(kJobs));
    const auto damaged = co_await h.store().get(id_of(7), true);
    expect_data_loss(damaged.status());
  });
}

}  // namespace
}  // namespace weft::testing
