// weft list, result, retry, delete and worker, against a real daemon.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/daemon.h"
#include "tests/support/json_lines.h"

namespace weft::testing {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class Admin : public ::testing::Test {
 protected:
  // Submits and waits for the end.
  std::string ended(const std::string& type, const std::string& payload,
                    std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--max-attempts", "1"});
    const std::string id = daemon_.submit(type, payload, std::move(more));
    daemon_.weft({"result", id});
    return id;
  }
  Daemon daemon_;
};

TEST_F(Admin, ListShowsTheNewestFirstAndFilters) {
  const std::string first = ended("echo", "a");
  const std::string second = ended("fail", R"({"message":"no ink"})", {"--queue", "print"});
  const std::string third = daemon_.submit("sleep", R"({"ms":600000})");
  const auto ids = [&](std::vector<std::string> filter) {
    filter.insert(filter.begin(), {"list", "-o", "jsonl"});
    std::vector<std::string> found;
    for (const json& job : json_lines(daemon_.weft(filter).out)) found.push_back(job["id"]);
    return found;
  };
  EXPECT_THAT(ids({}), ElementsAre(third, second, first));
  EXPECT_THAT(ids({"--state", "dead"}), ElementsAre(second));
  EXPECT_THAT(ids({"--state", "dead", "--state", "succeeded"}), ElementsAre(second, first));
  EXPECT_THAT(ids({"--queue", "print"}), ElementsAre(second));
  EXPECT_THAT(ids({"--type", "sleep"}), ElementsAre(third));
  EXPECT_THAT(ids({"--type", "sleep", "--state", "dead"}), IsEmpty());
  EXPECT_THAT(ids({"--limit", "2"}), ElementsAre(third, second));

  const Ended table = daemon_.weft({"list", "--limit", "1"});
  EXPECT_THAT(table.out, HasSubstr("ID "));
  EXPECT_THAT(table.out, HasSubstr(third));
  EXPECT_THAT(table.out, Not(HasSubstr(second)));
  EXPECT_THAT(table.err, HasSubstr("there are more"));
  EXPECT_THAT(json::parse(daemon_.weft({"list", "-o", "json"}).out), SizeIs(3));
}

TEST_F(Admin, ListFollowsPages) {
  constexpr size_t kJobs = 2500;  // three pages
  const Ended bench =
      daemon_.weft({"bench", "drain", "--running", "--jobs", std::to_string(kJobs)});
  ASSERT_EQ(bench.exit_code, 0) << bench.err;
  const Ended list = daemon_.weft({"list", "--limit", "100000", "-o", "jsonl"});
  EXPECT_THAT(json_lines(list.out), SizeIs(kJobs));
}

TEST_F(Admin, AStateThatIsNoneIsRefusedWithThoseThereAre) {
  const Ended ended = daemon_.weft({"list", "--state", "done"});
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_THAT(ended.err, HasSubstr("'done' is not a state: use scheduled, queued"));
}

TEST_F(Admin, ResultWaitsForTheEndAndExitsWithTheOutcome) {
  // It ends once somebody reads it, and not before.
  const std::string id = daemon_.submit("count", R"({"to":3})", {"--stream-policy", "pause"});
  const Ended early = daemon_.weft({"result", id, "--no-wait"});
  EXPECT_EQ(early.exit_code, 1);
  EXPECT_THAT(early.err, HasSubstr("has no result yet"));
  Process waiting = daemon_.start_weft({"result", id});
  EXPECT_EQ(daemon_.weft({"attach", id}).exit_code, 0);
  EXPECT_EQ(waiting.wait().exit_code, 0);
  EXPECT_EQ(daemon_.weft({"result", ended("fail", R"({"message":"no ink"})")}).exit_code, 10);
  const Ended unknown = daemon_.weft({"result", "no-such-job-at-all"});
  EXPECT_EQ(unknown.exit_code, 13);
  const std::string endless = daemon_.submit("sleep", R"({"ms":600000})");
  EXPECT_EQ(daemon_.weft({"result", endless, "--deadline", "0.2"}).exit_code, 124);
}

TEST_F(Admin, RetryRunsADeadJobAgainAndNoOther) {
  const std::string dead = ended("fail", R"({"message":"no ink"})");
  const Ended again = daemon_.weft({"retry", dead});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(daemon_.weft({"result", dead}).exit_code, 10);
  EXPECT_EQ(json::parse(daemon_.weft({"get", dead, "-o", "json"}).out)["attempt"], 2);
  const std::string running = daemon_.submit("sleep", R"({"ms":600000})");
  for (const std::string& id : {running, ended("echo", "x")}) {
    const Ended refused = daemon_.weft({"retry", id});
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_THAT(refused.err, HasSubstr("FAILED_PRECONDITION"));
  }
}

TEST_F(Admin, AFilterChangesAllThatMatchOnceItIsConfirmed) {
  for (int i = 0; i < 3; ++i) ended("fail", R"({"message":"no ink"})", {"--queue", "print"});
  ended("fail", R"({"message":"no paper"})", {"--queue", "print"});
  const std::string other = ended("echo", "x");
  const std::vector<std::string> inkless = {"--queue", "print", "--error", "no ink"};
  const auto run = [&](std::vector<std::string> command, std::vector<std::string> more = {}) {
    command.insert(command.end(), inkless.begin(), inkless.end());
    command.insert(command.end(), more.begin(), more.end());
    return daemon_.weft(command);
  };
  EXPECT_EQ(run({"retry"}, {"--count"}).out, "3 jobs\n");
  const Ended unasked = run({"retry"});
  EXPECT_EQ(unasked.exit_code, 2);
  EXPECT_THAT(unasked.err, HasSubstr("--yes"));
  const Ended retried = run({"retry"}, {"--yes"});
  EXPECT_EQ(retried.exit_code, 0) << retried.err;
  EXPECT_EQ(retried.out, "3 jobs\n");
  for (const json& job : json_lines(run({"list", "-o", "jsonl"}).out)) {
    EXPECT_EQ(daemon_.weft({"result", job["id"]}).exit_code, 10);
  }
  const json deleted = json::parse(run({"delete"}, {"--yes", "-o", "json"}).out);
  EXPECT_EQ(deleted["matched"], 3);
  EXPECT_EQ(deleted["changed"], 3);
  EXPECT_EQ(daemon_.weft({"delete", "--all", "--count"}).out, "2 jobs\n");
  const std::string running = daemon_.submit("sleep", R"({"ms":600000})");
  EXPECT_EQ(daemon_.weft({"cancel", "--type", "sleep", "--yes", "--reason", "late"}).out,
            "1 job\n");
  EXPECT_EQ(daemon_.weft({"result", running}).exit_code, 11);
  EXPECT_EQ(daemon_.weft({"get", other}).exit_code, 0);
}

TEST_F(Admin, AChangeNeedsAnIdOrAFilterAndNotBoth) {
  const Ended none = daemon_.weft({"cancel"});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_THAT(none.err, HasSubstr("--all"));
  EXPECT_EQ(daemon_.weft({"delete", "some-job-id", "--queue", "print", "--yes"}).exit_code, 2);
  const Ended time = daemon_.weft({"list", "--since", "yesterday"});
  EXPECT_EQ(time.exit_code, 2);
  EXPECT_THAT(time.err, HasSubstr("2026-01-31T08:00:00Z"));
  const Ended state = daemon_.weft({"retry", "--state", "queued", "--yes"});
  EXPECT_EQ(state.exit_code, 1);
  EXPECT_THAT(state.err, HasSubstr("INVALID_ARGUMENT"));
}

TEST_F(Admin, DeleteForgetsAFinishedJobOnly) {
  const std::string id = ended("count", R"({"to":10})");
  EXPECT_EQ(daemon_.weft({"delete", id}).out, "deleted\n");
  EXPECT_EQ(daemon_.weft({"get", id}).exit_code, 13);
  EXPECT_EQ(daemon_.weft({"watch", id}).exit_code, 13);
  EXPECT_EQ(daemon_.weft({"delete", id}).exit_code, 13);
  const Ended running = daemon_.weft({"delete", daemon_.submit("sleep", R"({"ms":600000})")});
  EXPECT_EQ(running.exit_code, 1);
  EXPECT_THAT(running.err, HasSubstr("cancel"));
}

TEST_F(Admin, TheSameKeyIsTheSameJob) {
  const auto submit = [&](const std::string& payload) {
    return daemon_.weft(
        {"submit", "echo", "-p", payload, "--idempotency-key", "order-7", "-o", "jsonl"});
  };
  // The client names the job itself unless told otherwise, so the id is given here too.
  const Ended first = submit("a");
  ASSERT_EQ(first.exit_code, 0) << first.err;
  const Ended second = submit("a");
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(json::parse(second.out)["id"], json::parse(first.out)["id"]);
  EXPECT_EQ(json::parse(second.out)["existing"], true);
  const Ended other = submit("b");
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_THAT(other.err, HasSubstr("idempotency_key"));
}

TEST_F(Admin, RetentionOfNothingLeavesNothing) {
  const std::string id = "keeps-nothing-1";
  // It computes nothing before its reader is there, who then sees all of it and its end.
  const Ended run =
      daemon_.weft({"run", "count", "-p", R"({"to":3})", "--id", id, "--retention", "0"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, "1\n2\n3\n");
  EXPECT_EQ(daemon_.weft({"get", id}).exit_code, 13);
}

TEST_F(Admin, AnAttemptThatTakesTooLongFails) {
  const Ended late = daemon_.weft(
      {"run", "sleep", "-p", R"({"ms":600000})", "--timeout", "0.2", "--max-attempts", "1"});
  EXPECT_EQ(late.exit_code, 10);
  EXPECT_THAT(late.err, HasSubstr("deadline"));
}

TEST_F(Admin, WorkerListAndDumpSayWhoRunsWhat) {
  const std::string id = daemon_.submit("sleep", R"({"ms":600000})");
  json worker;
  do {
    worker = json_lines(daemon_.weft({"worker", "list", "-o", "jsonl"}).out).at(0);
  } while (worker["resident_jobs"] != 1);
  EXPECT_EQ(worker["store"], "memory:");
  EXPECT_GT(worker["resident_memory_bytes"], 1 << 20);
  const Ended dump = daemon_.weft({"worker", "dump"});
  EXPECT_EQ(dump.exit_code, 0) << dump.err;
  EXPECT_THAT(dump.out, HasSubstr(id));
  EXPECT_EQ(daemon_.weft({"worker", "dump", worker["name"]}).exit_code, 0);
  EXPECT_EQ(daemon_.weft({"worker", "dump", "nobody-1"}).exit_code, 13);
}

TEST_F(Admin, RawPutsNothingBetweenChunks) {
  EXPECT_EQ(daemon_.weft({"run", "count", "--raw", "-p", R"({"to":5})"}).out, "12345");
  const std::string id = ended("count", R"({"to":3})");
  EXPECT_EQ(daemon_.weft({"watch", id, "--raw"}).out, "123");
}

TEST_F(Admin, ACommandWithoutItsSecondWordIsToldWhatThereIs) {
  const Ended ended = daemon_.weft({"worker"});
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_THAT(ended.err, HasSubstr("worker needs one of list, dump"));
}

TEST_F(Admin, ProgressIsABarOnATerminalAndNothingInAPipe) {
  const TempDir dir;
  for (int i = 0; i < 20; ++i) write_file(dir.file("file" + std::to_string(i)), "x");
  Daemon daemon({.arguments = {"--allow-root", dir.path().string()}});
  const std::string payload = json{{"path", dir.path().string()}}.dump();
  const std::string command = weft_path() + " run digest --server " + daemon.address() +
                              " --payload '" + payload + "' >/dev/null";
  const Ended terminal =
      run_process({"/usr/bin/script", "--quiet", "--return", "--command", command, "/dev/null"});
  EXPECT_EQ(terminal.exit_code, 0);
  EXPECT_THAT(terminal.out, HasSubstr("[##"));
  EXPECT_THAT(daemon.weft({"run", "digest", "--payload", payload}).err, IsEmpty());
}

}  // namespace
}  // namespace weft::testing
