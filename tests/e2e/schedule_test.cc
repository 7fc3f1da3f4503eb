// Schedules by the command line, and through kills of the daemons.
#include <gmock/gmock.h>
#include <google/protobuf/util/time_util.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include <weft/client/client.h>

#include "tests/support/daemon.h"
#include "tests/support/redis_server.h"

namespace weft::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

constexpr auto kPatience = std::chrono::seconds(60);

bool eventually(const std::function<bool()>& condition) {
  const auto limit = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > limit) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return true;
}

// How many jobs each tick of a schedule has, by the second it was due in.
std::map<int64_t, int> ticks(const std::string& server) {
  Client client({.server = server});
  std::map<int64_t, int> ticks;
  v1::ListJobsRequest request;
  request.mutable_filter()->set_type("echo");
  JobList jobs = client.jobs(request);
  for (const v1::Job& job : jobs) {
    const auto tick = job.spec().metadata().find("weft.tick");
    if (tick == job.spec().metadata().end()) continue;
    google::protobuf::Timestamp time;
    EXPECT_TRUE(google::protobuf::util::TimeUtil::FromString(tick->second, &time));
    ++ticks[time.seconds()];
  }
  EXPECT_TRUE(jobs.status().ok()) << jobs.status();
  return ticks;
}

std::vector<std::string> every_second(const std::string& name) {
  return {"schedule",  "create", name,         "--every", "1s", "--type", "echo",
          "--overlap", "queue",  "--catch-up", "all",     "-p", "tick"};
}

// Each second from the first tick to the last has one job.
void expect_each_once(const std::map<int64_t, int>& ticks, const char* what) {
  ASSERT_FALSE(ticks.empty());
  const int64_t first = ticks.begin()->first;
  const int64_t last = ticks.rbegin()->first;
  size_t doubled = 0;
  for (const auto& [second, jobs] : ticks) doubled += jobs > 1 ? 1 : 0;
  std::printf("figure: %s: %zu ticks in %lld s, %zu doubled\n", what, ticks.size(),
              static_cast<long long>(last - first + 1), doubled);
  EXPECT_EQ(ticks.size(), static_cast<size_t>(last - first + 1));
  EXPECT_EQ(doubled, 0u);
}

TEST(ScheduleCommands, CreateShowChangeAndDelete) {
  const Daemon daemon;
  const auto create = [&](std::vector<std::string> more) {
    std::vector<std::string> words = {"schedule", "create", "nightly", "--type",
                                      "echo",     "-p",     "hello"};
    words.insert(words.end(), more.begin(), more.end());
    return daemon.weft(words);
  };
  Ended ended = create({"--cron", "0 3 * * *", "--time-zone", "Europe/Berlin", "-o", "json"});
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  json shown = json::parse(ended.out);
  EXPECT_EQ(shown["cron"], "0 3 * * *");
  EXPECT_EQ(shown["time_zone"], "Europe/Berlin");
  EXPECT_EQ(shown["payload"], "hello");
  EXPECT_EQ(shown["overlap"], "skip");

  EXPECT_EQ(create({"--cron", "0 3 * * *", "--time-zone", "Europe/Berlin"}).exit_code, 0);
  ended = create({"--cron", "0 4 * * *"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_THAT(ended.err, HasSubstr("--replace"));
  ended = create({"--cron", "0 4 * * *", "--catch-up", "one", "--replace"});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;

  ended = daemon.weft({"schedule", "list"});
  EXPECT_THAT(ended.out, HasSubstr("nightly"));
  EXPECT_THAT(ended.out, HasSubstr("0 4 * * *"));
  ended = daemon.weft({"schedule", "list", "-o", "jsonl"});
  EXPECT_EQ(json::parse(ended.out)["catch_up"], "one");

  ended = daemon.weft({"schedule", "pause", "nightly", "-o", "json"});
  EXPECT_TRUE(json::parse(ended.out)["paused"]);
  EXPECT_FALSE(json::parse(ended.out).contains("next_time"));
  ended = daemon.weft({"schedule", "trigger", "nightly"});
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  ASSERT_THAT(ended.out, MatchesRegex("[A-Za-z0-9_-]+\n"));
  const std::string id = ended.out.substr(0, ended.out.size() - 1);
  EXPECT_EQ(daemon.weft({"result", id}).out, "hello\n");
  ended = daemon.weft({"get", id, "-o", "json"});
  EXPECT_EQ(json::parse(ended.out)["metadata"]["weft.schedule"], "nightly");
  ended = daemon.weft({"schedule", "resume", "nightly", "-o", "json"});
  EXPECT_TRUE(json::parse(ended.out).contains("next_time"));
  EXPECT_EQ(json::parse(ended.out)["fired"], 1);

  ended = daemon.weft({"schedule", "get", "nightly"});
  EXPECT_THAT(ended.out, HasSubstr("last_job_id: " + id));
  ended = daemon.weft({"schedule", "next", "nightly", "-n", "3"});
  EXPECT_THAT(ended.out, MatchesRegex("(....-..-..T04:00:00\\+00:00\n)(.*\n)(.*\n)"));
  EXPECT_EQ(daemon.weft({"schedule", "delete", "nightly"}).out, "deleted\n");
  EXPECT_EQ(daemon.weft({"schedule", "get", "nightly"}).exit_code, 13);
}

TEST(ScheduleCommands, NextShowsTheTicksOfAnExpressionWithoutAServer) {
  const Daemon daemon;
  const Ended ended = daemon.weft({"schedule", "next", "--cron", "30 2 29 2 *", "--time-zone",
                                   "Europe/Berlin", "-n", "2", "-o", "json"});
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  const json times = json::parse(ended.out);
  ASSERT_EQ(times.size(), 2u);
  EXPECT_THAT(times[0].get<std::string>(), HasSubstr("-02-29T02:30:00+01:00"));
}

TEST(ScheduleCommands, WhatCannotBeIsRefusedWithWhatIsAllowed) {
  const Daemon daemon;
  const auto refused = [&](std::vector<std::string> more) {
    std::vector<std::string> words = {"schedule", "create", "s", "--type", "echo"};
    words.insert(words.end(), more.begin(), more.end());
    const Ended ended = daemon.weft(words);
    EXPECT_NE(ended.exit_code, 0);
    return ended.err;
  };
  EXPECT_THAT(refused({}), HasSubstr("cron or interval"));
  EXPECT_THAT(refused({"--cron", "61 * * * *"}), HasSubstr("use 0-59"));
  EXPECT_THAT(refused({"--cron", "0 0 31 APR *"}), HasSubstr("no year has"));
  EXPECT_THAT(refused({"--cron", "@daily", "--time-zone", "Mars/Base"}),
              HasSubstr("Europe/Berlin"));
  EXPECT_THAT(refused({"--every", "10ms"}), HasSubstr("1 s to"));
  EXPECT_THAT(refused({"--every", "1s", "--cron", "@daily"}), HasSubstr("--cron"));
  EXPECT_THAT(refused({"--every", "1s", "--overlap", "always"}), HasSubstr("overlap"));
  const Ended next = daemon.weft({"schedule", "next", "--cron", "* * *"});
  EXPECT_EQ(next.exit_code, 2);
  EXPECT_THAT(next.err, HasSubstr("five"));
  const Ended zone = daemon.weft({"schedule", "next", "s", "--time-zone", "UTC"});
  EXPECT_EQ(zone.exit_code, 2);
  EXPECT_THAT(zone.err, HasSubstr("--time-zone"));
}

TEST(ScheduleKills, NoTickIsLostOrDoubledWhenTheOneDaemonIsKilled) {
  const TempDir dir;
  const DaemonOptions options{.store = "sqlite:" + dir.file("weft.db")};
  {
    Daemon daemon(options);
    ASSERT_EQ(daemon.weft(every_second("s")).exit_code, 0);
    ASSERT_TRUE(eventually([&] { return ticks(daemon.address()).size() >= 2; }));
    daemon.process().kill();
  }
  std::this_thread::sleep_for(std::chrono::seconds(3));  // these ticks are missed
  Daemon daemon(options);
  ASSERT_TRUE(eventually([&] { return ticks(daemon.address()).size() >= 8; }));
  ASSERT_EQ(daemon.weft({"schedule", "pause", "s"}).exit_code, 0);
  expect_each_once(ticks(daemon.address()), "one daemon on SQLite, killed once");
}

TEST(ScheduleKills, NoTickIsLostOrDoubledWhenOneOfTwoDaemonsIsKilled) {
  RedisProcess redis;
  const DaemonOptions options{.store = redis.url(), .arguments = {"--lease", "2"}};
  const Daemon stays(options);
  {
    Daemon dies(options);
    ASSERT_EQ(dies.weft(every_second("s")).exit_code, 0);
    ASSERT_TRUE(eventually([&] { return ticks(stays.address()).size() >= 3; }));
    dies.process().kill();
  }
  ASSERT_TRUE(eventually([&] { return ticks(stays.address()).size() >= 8; }));
  ASSERT_EQ(stays.weft({"schedule", "pause", "s"}).exit_code, 0);
  expect_each_once(ticks(stays.address()), "two daemons on Redis, one killed");
}

}  // namespace
}  // namespace weft::testing
