// kill -9 at a seeded moment: everything that was acknowledged is there afterwards.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <set>
#include <sstream>

#include <weft/base/random.h>
#include <weft/runtime/task_group.h>

#include "tests/store/store_file.h"

namespace weft::testing {
namespace {

constexpr Incarnation kWorker{7, 7};
constexpr int64_t kHour_s = 3600;

void acknowledge(int fd, const std::string& line) {
  const std::string text = line + "\n";
  if (::write(fd, text.data(), text.size()) < 0) _exit(3);
}

// Submits, takes, appends and settles for ever; each line on `fd` is an acknowledged fact.
Task<void> work(Store& store, int fd, std::string prefix, int lane) {
  for (int n = 0;; ++n) {
    v1::JobSpec spec;
    spec.set_id(prefix + "-" + std::to_string(lane) + "-" + std::to_string(n) + "-padding");
    spec.set_queue("default");
    spec.set_type("echo");
    spec.set_payload(spec.id());
    std::vector<v1::JobSpec> specs{spec};
    const auto submitted = co_await store.submit(std::move(specs));
    if (!submitted[0].ok()) _exit(4);
    acknowledge(fd, "submitted " + spec.id());
    v1::JobSpec later = spec;
    later.set_id(spec.id() + "-later");
    later.set_payload(later.id());
    later.mutable_delay()->set_seconds(kHour_s);
    std::vector<v1::JobSpec> delayed{later};
    const auto scheduled = co_await store.submit(std::move(delayed));
    if (!scheduled[0].ok()) _exit(8);
    acknowledge(fd, "scheduled " + later.id());
    TakeRequest take{.worker = kWorker, .worker_name = "w", .max_jobs = 1};
    std::vector<Settlement> none;
    auto taken = co_await store.settle_and_take(std::move(none), take);
    if (!taken.ok() || taken->jobs.size() != 1) _exit(5);
    const v1::Job job = taken->jobs[0];
    const Token token(job.spec().id(), job.attempt(), kWorker);
    const uint64_t first = job.last_sequence() + 1;
    for (uint64_t sequence = first; sequence < first + 3; ++sequence) {
      auto block = std::make_shared<ChunkBlock>(sequence);
      block->add("chunk " + std::to_string(sequence));
      std::vector<Append> one;
      one.emplace_back(token, std::move(block));
      const auto appended = co_await store.append(std::move(one));
      if (!appended[0].ok()) _exit(6);
      acknowledge(fd, "appended " + job.spec().id() + " " + std::to_string(sequence));
    }
    if (n % 3 == 2) continue;  // left running: to be recovered
    const bool again = n % 4 == 3;
    v1::Outcome outcome;
    if (again) {
      outcome.set_error_code("handler_error");
    } else {
      outcome.set_result("result of " + job.spec().id());
    }
    std::vector<Settlement> settlements;
    settlements.emplace_back(token, again ? v1::JOB_STATE_SCHEDULED : v1::JOB_STATE_SUCCEEDED,
                             std::move(outcome), first + 2);
    settlements[0].pause = std::chrono::hours(1);
    auto settled = co_await store.settle_and_take(std::move(settlements), TakeRequest());
    if (!settled.ok() || !settled->settled[0].ok()) _exit(7);
    acknowledge(fd, (again ? "postponed " : "settled ") + job.spec().id());
  }
}

[[noreturn]] void run_child(const std::string& path, int fd, const std::string& prefix) {
  EventLoop loop;
  auto opened = open_sqlite_store(path);
  if (!opened.ok()) _exit(2);
  Store& store = **opened;
  loop.run([](Store& s, int out, std::string name) -> Task<void> {
    auto body = [&](TaskGroup& group) -> Task<void> {
      for (int lane = 0; lane < 8; ++lane) group.start(work, std::ref(s), out, name, lane);
      co_return;
    };
    co_await with_group(body);
  }(store, fd, prefix));
  _exit(0);
}

using SqliteCrash = StoreFile;

TEST_F(SqliteCrash, AcknowledgedOperationsSurviveKill9) {
  Random random(20'26);
  std::set<std::string> submitted;
  std::set<std::string> settled;
  std::set<std::string> scheduled;
  std::set<std::string> postponed;
  std::map<std::string, uint64_t> appended;
  for (int round = 0; round < 8; ++round) {
    SCOPED_TRACE(round);
    int pipe_fds[2];
    ASSERT_EQ(pipe(pipe_fds), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      close(pipe_fds[0]);
      run_child(path_, pipe_fds[1], "round" + std::to_string(round));
    }
    close(pipe_fds[1]);
    const size_t kill_after_bytes = 200 + random.below(20'000);
    std::string text;
    char buffer[4096];
    bool killed = false;
    for (ssize_t got = 0; (got = read(pipe_fds[0], buffer, sizeof buffer)) > 0;) {
      text.append(buffer, static_cast<size_t>(got));
      if (!killed && text.size() >= kill_after_bytes) {
        kill(child, SIGKILL);
        killed = true;
      }
    }
    close(pipe_fds[0]);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself: " << WEXITSTATUS(status);

    text.erase(text.find_last_of('\n') + 1);
    std::istringstream lines(text);
    std::string what;
    std::string id;
    while (lines >> what >> id) {
      if (what == "submitted") submitted.insert(id);
      if (what == "settled") settled.insert(id);
      if (what == "scheduled") scheduled.insert(id);
      if (what == "postponed") postponed.insert(id);
      uint64_t sequence = 0;
      if (what == "appended" && lines >> sequence) {
        appended[id] = std::max(appended[id], sequence);
      }
    }
    session([&](Harness& h) -> Task<void> {
      EXPECT_GE(h.store().stats().scheduled_jobs, scheduled.size() + postponed.size());
      for (const std::string& job_id : scheduled) {
        const auto job = co_await h.store().get(job_id, true);
        WEFT_ASSERT(job.ok());
        EXPECT_EQ(job->state(), v1::JOB_STATE_SCHEDULED);
        EXPECT_EQ(job->spec().payload(), job_id);
        EXPECT_EQ(job->due_time().seconds() - job->submit_time().seconds(), kHour_s);
      }
      for (const std::string& job_id : postponed) {
        const v1::Job job = co_await h.get(job_id);
        EXPECT_EQ(job.state(), v1::JOB_STATE_SCHEDULED);
        EXPECT_EQ(job.failures(), 1u);
        EXPECT_EQ(job.errors(job.errors_size() - 1).error_code(), "handler_error");
        EXPECT_TRUE(job.has_due_time());
      }
      for (const std::string& job_id : submitted) {
        const auto job = co_await h.store().get(job_id, true);
        EXPECT_TRUE(job.ok()) << job.status();
        if (!job.ok()) continue;
        EXPECT_EQ(job->spec().payload(), job_id);
        EXPECT_NE(job->state(), v1::JOB_STATE_RUNNING);
        EXPECT_GE(job->last_sequence(), appended[job_id]) << job_id;
        if (settled.contains(job_id)) {
          EXPECT_EQ(job->state(), v1::JOB_STATE_SUCCEEDED) << job_id;
          EXPECT_EQ(job->outcome().result(), "result of " + job_id);
          const auto entries = co_await h.read(job_id);
          EXPECT_EQ(entries.size(), job->last_sequence());
        }
      }
    });
  }
  EXPECT_GT(submitted.size(), 50u);
  EXPECT_GT(settled.size(), 20u);
  EXPECT_GT(scheduled.size(), 50u);
  EXPECT_GT(postponed.size(), 5u);
}

}  // namespace
}  // namespace weft::testing
