// weft bench: what it prints, what it refuses, and that it leaves nothing behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/support/daemon.h"
#include "tests/support/json_lines.h"
#include "tests/support/process.h"
#include "tests/support/redis_server.h"

namespace weft::testing {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

TEST(Bench, EachPrintsItsSettingsAndFigures) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> benches = {
      {"submit", {"--seconds", "0.1"}},
      {"drain", {"--jobs", "500"}},
      {"latency", {"--jobs", "20"}},
      {"stream", {"--chunks", "2000"}},
      {"waiting", {"--jobs", "500"}}};
  for (const auto& [name, options] : benches) {
    std::vector<std::string> command = {weft_path(), "bench", name, "-o", "jsonl"};
    command.insert(command.end(), options.begin(), options.end());
    const Ended ended = run_process(command);
    ASSERT_EQ(ended.exit_code, 0) << name << ": " << ended.err;
    const std::vector<json> reports = json_lines(ended.out);
    ASSERT_THAT(reports, SizeIs(2));  // one a store
    for (const json& report : reports) {
      EXPECT_EQ(report["bench"], name);
      EXPECT_THAT(report["settings"].dump(), HasSubstr("durability"));
      ASSERT_FALSE(report["rows"].empty());
      for (const json& row : report["rows"]) {
        ASSERT_FALSE(row["figures"].empty()) << row;
      }
    }
  }
}

TEST(Bench, JobsOfAnotherTypeRunAndLeaveNothingBehind) {
  const Ended ended =
      run_process({weft_path(), "bench", "drain", "--store", "sqlite:", "--jobs", "1000", "--type",
                   "sleep", "--payload", R"({"ms":0})", "--retention", "0", "-o", "jsonl"});
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  const std::vector<json> reports = json_lines(ended.out);
  ASSERT_THAT(reports, SizeIs(1));
  EXPECT_EQ(reports[0]["settings"]["jobs"], "sleep with 100 bytes, kept 0 s");
  ASSERT_THAT(reports[0]["rows"], SizeIs(2));
  EXPECT_GT(reports[0]["rows"][0]["figures"]["jobs/s"].get<double>(), 0);
}

TEST(Bench, ADaemonKeepsToTheCpuItIsGiven) {
  const Ended ended = run_process({weft_path(), "bench", "latency", "--store", "memory:", "--jobs",
                                   "5", "--daemon-cpu", "0", "-o", "jsonl"});
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  const std::vector<json> reports = json_lines(ended.out);
  ASSERT_THAT(reports, SizeIs(1));
  EXPECT_THAT(reports[0]["settings"]["placement"].get<std::string>(), HasSubstr("daemon CPU 0"));
}

TEST(Bench, ArgumentsThatCannotBeUsedAreRefusedBeforeAnythingStarts) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> wrong = {
      {{"drain", "--workers", "2"}, "needs a store that processes share"},
      {{"drain", "--workers", "2", "--running"}, "needs a store that processes share"},
      {{"drain", "--workers", "65"}, "65"},
      {{"drain", "--retention", "-1"}, "--retention"},
      {{"latency", "--retention", "0"}, "--retention"},
      {{"drain", "--store", "redis:/here"}, "write redis://"},
      {{"drain", "--store", "redis://me:hush@host:port"}, "write redis://"},
      {{"submit", "--daemon-cpu", "0", "--running"}, "leave --running out"},
      {{"submit", "--seconds", "x"}, "--seconds"}};
  for (const auto& [arguments, says] : wrong) {
    std::vector<std::string> command = {weft_path(), "bench"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    const Ended ended = run_process(command);
    EXPECT_EQ(ended.exit_code, 2) << ::testing::PrintToString(arguments);
    EXPECT_THAT(ended.err, HasSubstr(says));
    EXPECT_THAT(ended.err, Not(HasSubstr("hush")));
    EXPECT_THAT(ended.err, Not(HasSubstr("unknown option --seconds")));
    EXPECT_THAT(ended.out, IsEmpty());
  }
}

TEST(Bench, ARedisThatIsNotThereIsNamedAsTheReason) {
  const Ended ended = run_process(
      {weft_path(), "bench", "drain", "--store", "redis://me:hush@127.0.0.1:1", "--jobs", "1"});
  EXPECT_EQ(ended.exit_code, 14);
  EXPECT_THAT(ended.err, HasSubstr("no Redis server answers"));
  EXPECT_THAT(ended.err, Not(HasSubstr("hush")));
}

TEST(Bench, InterruptedItRemovesWhatItHasMade) {
  std::string folder = ::testing::TempDir() + "weft-bench-test-XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  ProcessOptions options;
  options.environment["TMPDIR"] = folder;
  Process bench({weft_path(), "bench", "waiting", "--store", "sqlite:", "--jobs", "900000"},
                options);
  const auto deadline = std::chrono::steady_clock::now() + Process::kPatience;
  while (std::filesystem::is_empty(folder) && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  bench.signal(SIGTERM);
  const Ended ended = bench.wait();
  EXPECT_EQ(ended.exit_code, 130);
  EXPECT_THAT(ended.out, IsEmpty());
  EXPECT_TRUE(std::filesystem::is_empty(folder));
  std::filesystem::remove_all(folder);
}

TEST(Bench, OnRedisItCountsTheServerAndRemovesItsKeys) {
  RedisProcess redis({.appendfsync = "everysec"});
  const std::vector<std::pair<std::string, std::vector<std::string>>> benches = {
      {"submit", {"--seconds", "0.1"}},
      {"drain", {"--jobs", "1000", "--workers", "3"}},
      {"latency", {"--jobs", "20"}},
      {"stream", {"--chunks", "2000"}},
      {"waiting", {"--jobs", "200"}}};
  for (const auto& [name, options] : benches) {
    std::vector<std::string> command = {weft_path(), "bench", name,   "--store",
                                        redis.url(), "-o",    "jsonl"};
    command.insert(command.end(), options.begin(), options.end());
    const Ended ended = run_process(command);
    ASSERT_EQ(ended.exit_code, 0) << name << ": " << ended.err;
    // A daemon that says it is ready has its connection.
    EXPECT_THAT(ended.err, Not(HasSubstr("no connection")));
    EXPECT_EQ(redis.command({"DBSIZE"}), "0") << redis.command({"KEYS", "*"});
    const std::vector<json> reports = json_lines(ended.out);
    ASSERT_THAT(reports, SizeIs(1));
    EXPECT_EQ(reports[0]["settings"]["durability"], "Redis, AOF everysec");
    if (name == "waiting") continue;
    const json& figures = reports[0]["rows"][0]["figures"];
    EXPECT_TRUE(figures.contains(name == "stream" ? "redis CPU us/chunk" : "redis CPU us/job"))
        << figures;
    if (name != "drain") continue;
    std::vector<std::string> rows;
    for (const json& row : reports[0]["rows"]) rows.push_back(row["what"]);
    EXPECT_THAT(
        rows, ElementsAre("drain a backlog of 1000", "drain a backlog of 1000 by 2 workers",
                          "drain a backlog of 1000 by 3 workers", "submit in bulk and run, 1000"));
  }
}

TEST(Bench, InterruptedOnRedisItRemovesItsKeysAndNoOthers) {
  RedisProcess redis;
  redis.command({"SET", "another", "program"});
  Process bench({weft_path(), "bench", "waiting", "--store", redis.url(), "--jobs", "900000"});
  const auto deadline = std::chrono::steady_clock::now() + Process::kPatience;
  while (redis.command({"DBSIZE"}) == "1" && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  bench.signal(SIGTERM);
  EXPECT_EQ(bench.wait().exit_code, 130);
  EXPECT_EQ(redis.command({"KEYS", "*"}), "another");
}

}  // namespace
}  // namespace weft::testing
