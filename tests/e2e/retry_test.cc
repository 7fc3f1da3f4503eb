// Retries and times through the command line, on a store that keeps them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/daemon.h"

namespace weft::testing {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;

milliseconds since(Clock::time_point start) {
  return std::chrono::duration_cast<milliseconds>(Clock::now() - start);
}

// On a file, so that a restart finds what was stored.
class Retries : public ::testing::Test {
 protected:
  DaemonOptions options() const {
    return {.store = "sqlite:" + dir_.file("weft.db"), .arguments = {"--allow-exec", "/bin/sh"}};
  }
  static json get(const Daemon& daemon, const std::string& id) {
    return json::parse(daemon.weft({"get", id, "-o", "json"}).out);
  }
  // Waits until the job is in this state.
  static json wait_for(const Daemon& daemon, const std::string& id, const std::string& state) {
    const auto until = Clock::now() + std::chrono::seconds(60);
    for (;;) {
      json job = get(daemon, id);
      if (job["state"] == state || Clock::now() > until) {
        EXPECT_EQ(job["state"], state);
        return job;
      }
    }
  }
  TempDir dir_;
};

TEST_F(Retries, ACommandThatFailsTwiceAndThenSucceedsHasSucceeded) {
  const Daemon daemon(options());
  const std::string script = "echo try >> " + dir_.file("tries") + "; echo line; test $(wc -l < " +
                             dir_.file("tries") + ") -ge 3 || { echo no ink >&2; exit 7; }";
  const json payload = {{"argv", {"/bin/sh", "-c", script}}};
  const Ended ended = daemon.weft({"run", "exec", "-p", payload.dump(), "--id", "third-time-lucky",
                                   "--backoff", "fixed:100ms", "--jitter", "0"});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  // Each attempt has a line of its own; what replaces what is said beside them.
  EXPECT_EQ(ended.out, "line\nline\nline\n");
  EXPECT_THAT(ended.err, HasSubstr("attempt 1 failed: exit_status: "));
  EXPECT_THAT(ended.err, HasSubstr("attempt 2 failed: exit_status: "));
  EXPECT_THAT(ended.err, HasSubstr("no ink"));
  const json job = get(daemon, "third-time-lucky");
  EXPECT_EQ(job["state"], "succeeded");
  EXPECT_EQ(job["failures"], 2);
  EXPECT_EQ(job["attempt"], 3);
  ASSERT_EQ(job["errors"].size(), 2u);
  EXPECT_EQ(job["errors"][1]["code"], "exit_status");
  EXPECT_EQ(job["errors"][1]["attempt"], 2);
  EXPECT_LE(job["errors"][0]["end_time"], job["errors"][1]["start_time"]);
}

TEST_F(Retries, ADeadJobShowsEachErrorAndRunsAgainWhenAsked) {
  const Daemon daemon(options());
  const Ended ended =
      daemon.weft({"run", "fail", "-p", R"({"message":"no ink"})", "--id", "fails-for-ever",
                   "--max-attempts", "4", "--backoff", "list:50ms,100ms", "--jitter", "0"});
  EXPECT_EQ(ended.exit_code, 10);
  EXPECT_THAT(ended.err, HasSubstr("no ink"));
  const json dead = get(daemon, "fails-for-ever");
  EXPECT_EQ(dead["failures"], 4);
  EXPECT_EQ(dead["errors"].size(), 4u);
  EXPECT_EQ(dead["max_attempts"], 4);
  EXPECT_EQ(dead["backoff"], "list:0.050s,0.100s");
  const Ended table = daemon.weft({"get", "fails-for-ever"});
  for (const char* attempt : {"attempt 1 failed at ", "attempt 4 failed at "}) {
    EXPECT_THAT(table.out, HasSubstr(attempt));
  }
  EXPECT_THAT(daemon.weft({"list", "--state", "dead"}).out, HasSubstr("fails-for-ever"));
  const json listed = json::parse(daemon.weft({"list", "-o", "json"}).out).at(0);
  EXPECT_FALSE(listed.contains("errors")) << listed;

  EXPECT_EQ(daemon.weft({"retry", "fails-for-ever"}).exit_code, 0);
  EXPECT_EQ(daemon.weft({"result", "fails-for-ever"}).exit_code, 10);
  const json again = get(daemon, "fails-for-ever");
  EXPECT_EQ(again["failures"], 4) << "they are counted anew";
  EXPECT_EQ(again["attempt"], 8);
  EXPECT_EQ(again["errors"].size(), 8u);
}

TEST_F(Retries, AJobStartsWhenItIsDueAndNotBefore) {
  const Daemon daemon(options());
  const auto start = Clock::now();
  const std::string later = daemon.submit("echo", "later", {"--delay", "1.5s"});
  const json waiting = get(daemon, later);
  EXPECT_EQ(waiting["state"], "scheduled");
  EXPECT_EQ(waiting["delay_seconds"], 1.5);
  EXPECT_THAT(daemon.weft({"list", "--state", "scheduled"}).out,
              HasSubstr("due " + waiting["due_time"].get<std::string>()));
  const Ended result = daemon.weft({"result", later});
  EXPECT_EQ(result.out, "later\n");
  EXPECT_GE(since(start), milliseconds(1500));
  EXPECT_GE(get(daemon, later)["start_time"], waiting["due_time"]);

  // A time in the past is now.
  const Ended past =
      daemon.weft({"run", "echo", "-p", "at once", "--run-at", "2020-01-01T12:00:00+02:00"});
  EXPECT_EQ(past.out, "at once\n") << past.err;
  EXPECT_EQ(daemon.weft({"cancel", daemon.submit("echo", "x", {"--delay", "1h"})}).exit_code, 0);
}

TEST_F(Retries, AJobThatWaitsTooLongExpires) {
  DaemonOptions one_slot = options();
  one_slot.arguments.insert(one_slot.arguments.end(), {"--concurrency", "1"});
  const Daemon daemon(one_slot);
  // exec and spin hold their slot; sleep does not.
  const json payload = {{"argv", {"/bin/sh", "-c", "sleep 600"}}};
  const std::string busy = daemon.submit("exec", payload.dump());
  wait_for(daemon, busy, "running");
  const std::string id = daemon.submit("echo", "x", {"--expire-in", "300ms"});
  const Ended ended = daemon.weft({"result", id});
  EXPECT_EQ(ended.exit_code, 12);
  EXPECT_EQ(get(daemon, id)["error"]["code"], "expired");
  daemon.weft({"cancel", busy});
}

TEST_F(Retries, TheTotalTimeoutIsForAllAttempts) {
  const Daemon daemon(options());
  const Ended ended =
      daemon.weft({"run", "sleep", "-p", R"({"ms":600000})", "--id", "never-done-in-time",
                   "--timeout", "200ms", "--total-timeout", "1s", "--backoff", "fixed:100ms",
                   "--jitter", "0", "--max-attempts", "100"});
  EXPECT_EQ(ended.exit_code, 10);
  const json job = get(daemon, "never-done-in-time");
  EXPECT_EQ(job["error"]["code"], "deadline");
  EXPECT_THAT(job["error"]["message"].get<std::string>(), HasSubstr("total timeout"));
  EXPECT_GE(job["errors"].size(), 2u);
  EXPECT_THAT(job["errors"][0]["message"].get<std::string>(), HasSubstr("timeout of 0.2 s"));
}

TEST_F(Retries, ARestartFindsWhatIsDueAndWhatHasFailed) {
  std::string delayed;
  std::string failed;
  {
    Daemon daemon(options());
    delayed = daemon.submit("echo", "after the restart", {"--delay", "2s"});
    failed = daemon.submit("fail", R"({"times":1})", {"--backoff", "fixed:2s", "--jitter", "0"});
    wait_for(daemon, failed, "scheduled");
    daemon.process().signal(SIGKILL);
    daemon.process().wait();
  }
  const Daemon daemon(options());
  EXPECT_EQ(get(daemon, failed)["failures"], 1);
  EXPECT_EQ(daemon.weft({"result", delayed}).out, "after the restart\n");
  EXPECT_EQ(daemon.weft({"result", failed}).exit_code, 0);
  const json job = get(daemon, failed);
  EXPECT_EQ(job["attempt"], 2);
  EXPECT_EQ(job["errors"].size(), 1u);
}

TEST_F(Retries, TimesThatCannotBeAreRefusedInOneSentence) {
  const Daemon daemon(options());
  const auto expect_usage = [&](std::vector<std::string> more, const std::string& part) {
    more.insert(more.begin(), {"submit", "echo"});
    const Ended ended = daemon.weft(more);
    EXPECT_EQ(ended.exit_code, 2) << part;
    EXPECT_THAT(ended.err, HasSubstr(part));
  };
  expect_usage({"--delay", "soon"}, "is not a duration");
  expect_usage({"--delay", "-1s"}, "-1s");
  expect_usage({"--delay", "1s", "--run-at", "2030-01-01T00:00:00Z"}, "--run-at");
  expect_usage({"--run-at", "tomorrow"}, "2026-01-01T10:00:00Z");
  expect_usage({"--backoff", "linear:1s"}, "exp:2s,2,1h");
  expect_usage({"--backoff", "exp:2s,two"}, "exp:2s,2,1h");
  expect_usage({"--backoff", "list:1s,,2s"}, "is not a duration");
  expect_usage({"--max-attempts", "101"}, "101");
  expect_usage({"--jitter", "1.5"}, "1.5");
  const auto expect_refused = [&](std::vector<std::string> more, const std::string& field) {
    more.insert(more.begin(), {"submit", "echo"});
    const Ended ended = daemon.weft(more);
    EXPECT_EQ(ended.exit_code, 1) << field;
    EXPECT_THAT(ended.err, HasSubstr("INVALID_ARGUMENT"));
    EXPECT_THAT(ended.err, HasSubstr(field));
  };
  expect_refused({"--delay", "367d"}, "delay");
  expect_refused({"--run-at", "2020-01-02T00:00:00Z", "--expire-at", "2020-01-01T00:00:00Z"},
                 "expire_at");
  expect_refused({"--backoff", "fixed:31d"}, "retry.fixed");
  expect_refused({"--backoff", "exp:2s,11"}, "retry.exponential.factor");
  expect_refused({"--total-timeout", "0s"}, "total_timeout");
  // The same key with other times is another job.
  const auto with_delay = [&](const std::string& delay) {
    return daemon.weft({"submit", "echo", "--idempotency-key", "order-7", "--delay", delay});
  };
  EXPECT_EQ(with_delay("1h").exit_code, 0);
  EXPECT_EQ(with_delay("1h").exit_code, 0);
  EXPECT_EQ(with_delay("2h").exit_code, 1);
}

}  // namespace
}  // namespace weft::testing
