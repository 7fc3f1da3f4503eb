// Who shares a Redis with whom: daemons of one prefix are one cluster and know each other, clusters
// of two prefixes never meet, and what other programs keep there is left alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <weft/client/client.h>

#include "tests/cluster/cluster.h"
#include "tests/cluster/journal.h"
#include "tests/cluster/load.h"
#include "tests/support/redis_server.h"

namespace weft::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kJobs = 300;

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

nlohmann::json worker_list(Node& asked) {
  const Ended list = asked.daemon().weft({"worker", "list", "-o", "json"});
  EXPECT_EQ(list.exit_code, 0) << list.err;
  return nlohmann::json::parse(list.out, nullptr, false);
}

std::set<std::string> values(const nlohmann::json& workers, const std::string& field) {
  std::set<std::string> all;
  for (const nlohmann::json& worker : workers) all.insert(worker.value(field, ""));
  return all;
}

TEST(Sharing, TwoClustersWithOnePrefixAreOne) {
  const Journal journals[2];
  RedisProcess redis;
  Cluster one(redis.url()), other(redis.url());
  for (Cluster* cluster : {&one, &other}) {
    cluster->add("worker");
    cluster->add("frontend");
  }
  // The same keys mean the same jobs, so each uses its own.
  Load first(one, journals[0], {.jobs = kJobs, .key = "one"});
  Load second(other, journals[1], {.jobs = kJobs, .key = "other"});
  // What is the other's counts as doubled here: so the journals are looked at, which do not mix.
  const Account accounts[2] = {first.settle(one), second.settle(other)};
  for (int i = 0; i < 2; ++i) {
    const Account& account = accounts[i];
    std::printf("counts: of two clusters with one prefix: acknowledged %d, finished %d, lost %d\n",
                account.acknowledged, account.finished, account.lost);
    EXPECT_EQ(account.finished, kJobs);
    EXPECT_EQ(account.lost + account.stale_accepted + account.repeated, 0);
    EXPECT_EQ(journals[i].read().size(), size_t{kJobs});
  }
  for (Node* asked : {&one.at(1), &other.at(0)}) {
    const nlohmann::json workers = worker_list(*asked);
    EXPECT_EQ(values(workers, "incarnation").size(), 4u) << workers;
    EXPECT_EQ(values(workers, "name").size(), 4u) << workers;
  }
}

TEST(Sharing, ClustersWithTwoPrefixesDoNotMeetAndLeaveOtherKeysAlone) {
  const Journal journals[2];
  RedisProcess redis;
  redis.command({"SET", "weft", "mine"});
  redis.command({"RPUSH", "{one}:lane:default:noted", "mine"});
  redis.command({"HSET", "{one:01}:job", "mine", "mine"});
  redis.command({"SET", "another", "program", "PXAT", "32503680000000"});
  const auto others = [&] {
    std::vector<std::string> all;
    for (const std::string& key : lines_of(redis.command({"KEYS", "*"}))) {
      if (key.starts_with("{one:00}:") || key.starts_with("{other:00}:")) continue;
      all.push_back(key + " " + redis.command({"DUMP", key}) + redis.command({"PEXPIRETIME", key}));
    }
    std::sort(all.begin(), all.end());
    return all;
  };
  const auto before = others();
  ASSERT_EQ(before.size(), 4u);
  Cluster one(redis.url()), other(redis.url());
  one.add("worker", {"--store-prefix", "one"});
  one.add("frontend", {"--store-prefix", "one"});
  other.add("worker", {"--store-prefix", "other"});
  other.add("frontend", {"--store-prefix", "other"});
  // Both use the same idempotency keys.
  Load first(one, journals[0], {.jobs = kJobs});
  Load second(other, journals[1], {.jobs = kJobs});
  const Account accounts[2] = {first.settle(one), second.settle(other)};
  for (const Account& account : accounts) {
    account.print("two clusters in one database");
    account.expect_nothing_lost();
  }
  const auto pids = [](const Journal& journal) {
    std::set<pid_t> all;
    for (const auto& [id, runs] : journal.read()) all.insert(runs.front().pid);
    return all;
  };
  EXPECT_EQ(pids(journals[0]), std::set<pid_t>{one.at(0).pid()});
  EXPECT_EQ(pids(journals[1]), std::set<pid_t>{other.at(0).pid()});
  EXPECT_EQ(values(worker_list(one.at(1)), "name").size(), 2u);
  Client client({.server = one.at(1).address()});
  const auto not_here = client.get(second.ids().front());
  EXPECT_EQ(not_here.status().code(), StatusCode::kNotFound) << not_here.status();
  EXPECT_EQ(others(), before);
}

// Somebody else has written where a cluster is about to.
TEST(Sharing, AKeyThatIsNotOursIsNamedAndNothingSpins) {
  for (const std::string key : {"job", "lane:default:noted", "workers", "idle"}) {
    SCOPED_TRACE(key);
    const Journal journal;
    RedisProcess redis;
    redis.command({"SET", "{weft:00}:" + key, "x"});
    Cluster cluster(redis.url());
    Node& node = cluster.add("all");
    const pid_t pid = node.pid();
    Client impatient({.server = node.address(), .call_deadline_ms = 3000, .retry_for_ms = 0});
    v1::JobSpec spec;
    spec.set_type("noted");
    spec.set_payload(journal.payload(0));
    EXPECT_TRUE(eventually([&] {
      return node.metric("weft_store_refusals_total{kind=\"WRONGTYPE\"}") > 0 ||
             impatient.submit(spec).status().code() == StatusCode::kUnavailable;
    }));
    const double sent = node.metric("weft_store_commands_total");
    std::this_thread::sleep_for(milliseconds(1000));
    EXPECT_LT(node.metric("weft_store_commands_total") - sent, 200) << "it tries all the time";
    redis.command({"DEL", "{weft:00}:" + key});
    Client patient({.server = node.address(), .call_deadline_ms = 60'000, .retry_for_ms = 60'000});
    const auto accepted = patient.submit(spec);
    ASSERT_TRUE(accepted.ok()) << accepted.status();
    ResultStream stream = patient.watch({.job_id = accepted->id(), .deadline_ms = 60'000});
    for ([[maybe_unused]] const Chunk& chunk : stream) {
    }
    ASSERT_TRUE(stream.finished().has_value()) << stream.status();
    EXPECT_EQ(stream.finished()->state(), v1::JOB_STATE_SUCCEEDED);
    EXPECT_EQ(node.pid(), pid);
  }
}

TEST(Sharing, WorkerListShowsEveryDaemonUntilItIsGone) {
  const Journal journal;
  RedisProcess redis;
  Cluster cluster(redis.url());
  Node& all = cluster.add("all");
  Node& worker = cluster.add("worker", {"--concurrency", "7"});
  Node& front = cluster.add("frontend");
  const auto named = [](Node& node) {
    const std::string line = node.daemon().ready_line();
    return line.substr(line.rfind("worker=") + 7);
  };
  const std::set<std::string> names = {named(all), named(worker), named(front)};
  ASSERT_EQ(names.size(), 3u);
  ASSERT_TRUE(eventually([&] { return worker_list(front).size() == 3; }));
  // All are asked, and each tells of all.
  for (Node* asked : {&all, &worker, &front}) {
    const nlohmann::json workers = worker_list(*asked);
    EXPECT_EQ(values(workers, "name"), names);
    EXPECT_EQ(values(workers, "incarnation").size(), 3u);
    for (const nlohmann::json& one : workers) {
      const bool runs = one["role"] != "frontend";
      EXPECT_NE(one.value("version", ""), "");
      EXPECT_NE(one.value("host", ""), "");
      EXPECT_TRUE(one["name"].get<std::string>().starts_with(one["host"].get<std::string>() + "-"));
      EXPECT_TRUE(one["queues"].is_array());
      EXPECT_EQ(one["slots"], one["name"] == named(worker) ? 7 : runs ? 1000 : 0);
      EXPECT_TRUE(one.contains("slots_used") && one.contains("resident_jobs"));
      EXPECT_NE(one.value("last_heard", ""), "");
      EXPECT_EQ(!one["types"].empty(), runs);
    }
  }
  // What runs shows at the next beat.
  Client client({.server = front.address()});
  v1::JobSpec spec;
  spec.set_type("noted");
  spec.set_payload(journal.payload(3'600'000));
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(client.submit(spec).ok());
  EXPECT_TRUE(eventually([&] {
    uint64_t resident = 0;
    for (const nlohmann::json& one : worker_list(front)) {
      resident += one["resident_jobs"].get<uint64_t>();
    }
    return resident == 20;
  }));
  const Ended table = front.daemon().weft({"worker", "list"});
  EXPECT_EQ(table.exit_code, 0) << table.err;
  const auto lines = lines_of(table.out);
  ASSERT_EQ(lines.size(), 4u) << table.out;
  for (const char* column :
       {"NAME", "HOST", "VERSION", "ROLE", "QUEUES", "HEARD", "SLOTS", "RESIDENT"}) {
    EXPECT_THAT(lines[0], HasSubstr(column));
  }
  for (const std::string& name : names) EXPECT_THAT(table.out, HasSubstr("\n" + name + " "));
  std::printf("%s", table.out.c_str());
  // One that was killed is gone after its lease, one that was stopped at once.
  const std::string killed = named(worker);
  cluster.kill(worker);
  EXPECT_TRUE(eventually([&] { return worker_list(front).size() == 2; }));
  EXPECT_EQ(values(worker_list(all), "name").contains(killed), false);
  EXPECT_EQ(all.stop(), 0);
  EXPECT_EQ(worker_list(front).size(), 1u);
}

}  // namespace
}  // namespace weft::testing
