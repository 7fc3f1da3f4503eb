// exec through the real programs: what commands print and read, and that none outlives its job or
// its daemon.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <thread>

#include <weft/base/limits.h>
#include <weft/client/client.h>

#include "tests/support/daemon.h"

namespace weft::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string command(std::vector<std::string> argv) { return json{{"argv", argv}}.dump(); }

// The letter of /proc: R, S, T…; nothing when it is gone, or only waits to be reaped.
std::optional<char> state_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string stat((std::istreambuf_iterator<char>(file)), {});
  const size_t name_end = stat.rfind(") ");
  if (name_end == std::string::npos || stat[name_end + 2] == 'Z') return std::nullopt;
  return stat[name_end + 2];
}

bool gone_in_time(pid_t pid) {
  const auto until = Clock::now() + Process::kPatience;
  while (state_of(pid)) {
    if (Clock::now() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

class Exec : public ::testing::Test {
 protected:
  static DaemonOptions options(std::string store = "memory:") {
    return {.store = std::move(store),
            .listen = "127.0.0.1:0",
            .arguments = {"--allow-exec", "/bin/sh", "--allow-exec", "/bin/cat", "--allow-exec",
                          "/usr/bin/seq", "--allow-exec", "/bin/true", "--allow-exec",
                          "/usr/bin/yes", "--grace", "0"}};
  }
};

TEST_F(Exec, PrintsWhatTheCommandPrintsAndEndsAsItEnds) {
  const Daemon daemon(options());
  const auto start = Clock::now();
  const Ended seq = daemon.weft({"run", "exec", "-p", command({"seq", "200000"})});
  const double took = seconds_since(start);
  EXPECT_EQ(seq.exit_code, 0) << seq.err;
  EXPECT_EQ(std::count(seq.out.begin(), seq.out.end(), '\n'), 200'000);
  EXPECT_TRUE(seq.out.ends_with("\n199999\n200000\n"));
  std::printf("figure: exec, lines of seq through weft run: %.0f a second\n", 200'000 / took);

  const Ended failed = daemon.weft({"run", "exec", "--max-attempts", "1", "-p",
                                    command({"sh", "-c", "echo no ink >&2; exit 7"})});
  EXPECT_EQ(failed.exit_code, 10);
  EXPECT_THAT(failed.err, HasSubstr("ended with exit status 7: no ink"));
  const Ended refused = daemon.weft({"run", "exec", "-p", command({"rm", "-rf", "/"})});
  EXPECT_EQ(refused.exit_code, 10);
  EXPECT_THAT(refused.err, HasSubstr("--allow-exec"));
}

TEST_F(Exec, IsNoJobTypeUnlessAProgramIsAllowed) {
  const Daemon daemon;
  const Ended ended = daemon.weft({"submit", "exec", "-p", command({"true"})});
  EXPECT_EQ(ended.exit_code, 1);
}

TEST_F(Exec, LinesTypedIntoAttachReachTheCommand) {
  const Daemon daemon(options());
  const std::string id = daemon.submit("exec", command({"cat"}));
  Process attach = daemon.start_weft({"attach", id});
  for (int i = 0; i < 100; ++i) {
    attach.write("line " + std::to_string(i) + "\n");
    ASSERT_EQ(attach.read_line(), "line " + std::to_string(i)) << attach.err();
  }
  EXPECT_EQ(daemon.weft({"send", id, ""}).exit_code, 0);
  EXPECT_EQ(attach.wait().exit_code, 0);
}

// Endless output, and a reader that has stopped: the command waits in its write, and neither it nor
// the daemon goes on computing or growing.
TEST_F(Exec, ASlowReaderHoldsTheCommand) {
  Daemon daemon(options());
  Client client({.server = daemon.address()});
  v1::JobSpec spec;
  spec.set_type("exec");
  spec.set_payload(
      command({"sh", "-c", "echo $$; exec yes 'a line of some fifty bytes or a bit more of it'"}));
  spec.set_stream_policy(v1::STREAM_POLICY_PAUSE);
  const auto job = client.submit(spec);
  ASSERT_TRUE(job.ok()) << job.status();
  Attachment reader = client.attach({.job_id = job->id(), .credit_ahead = 16});
  pid_t pid = 0;
  uint64_t lines = 0;
  size_t rss_early = 0;
  while (lines < 100'000) {
    const auto event = reader.next();
    ASSERT_TRUE(event.ok() && event->has_value()) << event.status();
    if (pid == 0 && (*event)->chunks().data_size() > 0) pid = std::stoi((*event)->chunks().data(0));
    lines += static_cast<uint64_t>((*event)->chunks().data_size());
    if (lines < 20'000) rss_early = daemon.process().rss_bytes();
  }
  // Held: what is stored stays behind what was asked for and the window.
  const auto held = client.get(job->id());
  ASSERT_TRUE(held.ok());
  EXPECT_LE(held->last_sequence(), lines + 16 + limits::kWindowChunks);
  const auto until = Clock::now() + Process::kPatience;
  while (state_of(pid) != 'S' && Clock::now() < until) std::this_thread::yield();
  EXPECT_EQ(state_of(pid), 'S');
  const size_t rss = daemon.process().rss_bytes();
  std::printf("figure: exec, daemon after %llu lines to a slow reader: %zu KiB, %zu KiB before\n",
              static_cast<unsigned long long>(lines), rss >> 10, rss_early >> 10);
  if (!kSanitized) EXPECT_LT(rss, rss_early + (48u << 20));
  EXPECT_EQ(daemon.weft({"cancel", job->id()}).exit_code, 0);
  EXPECT_TRUE(gone_in_time(pid));
}

TEST_F(Exec, AKilledDaemonLeavesNoCommandAndTheNextOneRunsItAgain) {
  const TempDir dir;
  DaemonOptions daemon_options = options("sqlite:" + dir.file("weft.db"));
  auto daemon = std::make_unique<Daemon>(daemon_options);
  daemon_options.listen = daemon->address();
  const std::string id = daemon->submit("exec", command({"sh", "-c", "echo $$; exec cat"}));
  Process attach = daemon->start_weft({"attach", id});
  const auto line = attach.read_line();
  ASSERT_TRUE(line.has_value()) << attach.err();
  const pid_t pid = std::stoi(*line);
  ASSERT_TRUE(state_of(pid).has_value());
  daemon->process().kill();
  EXPECT_TRUE(gone_in_time(pid));

  daemon = std::make_unique<Daemon>(daemon_options);
  const auto again = attach.read_line();
  ASSERT_TRUE(again.has_value()) << attach.err();
  EXPECT_NE(*again, *line);
  attach.write("hello\n");
  EXPECT_EQ(attach.read_line(), "hello");
  const pid_t second = std::stoi(*again);
  daemon->process().signal(SIGTERM);  // handed back: it would run again
  const Ended ended = daemon->process().wait();
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_FALSE(state_of(second).has_value());
}

TEST_F(Exec, ManyShortCommands) {
  constexpr int kJobs = 300;
  Daemon daemon(options());
  Client client({.server = daemon.address()});
  std::vector<std::string> ids;
  const auto start = Clock::now();
  for (int i = 0; i < kJobs; ++i) {
    v1::JobSpec spec;
    spec.set_type("exec");
    spec.set_payload(command({"/bin/true"}));
    const auto answer = client.submit(spec);
    ASSERT_TRUE(answer.ok()) << answer.status();
    ids.push_back(answer->id());
  }
  int succeeded = 0;
  for (const std::string& id : ids) {
    ResultStream stream = client.watch({.job_id = id});
    for (;;) {
      const auto event = stream.next();
      ASSERT_TRUE(event.ok()) << event.status();
      if (!event->has_value()) break;
      if ((*event)->finished().state() == v1::JOB_STATE_SUCCEEDED) ++succeeded;
    }
  }
  EXPECT_EQ(succeeded, kJobs);
  std::printf("figure: exec, /bin/true from submit to end: %.0f jobs a second\n",
              kJobs / seconds_since(start));
}

}  // namespace
}  // namespace weft::testing
