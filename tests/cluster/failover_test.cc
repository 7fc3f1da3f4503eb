// A Redis that dies while a replica of it lives: the replica takes its place at the same address,
// and what had arrived at it is gone on with.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "tests/cluster/cluster.h"
#include "tests/cluster/journal.h"
#include "tests/cluster/load.h"
#include "tests/support/http_client.h"
#include "tests/support/redis_server.h"
#include "tests/support/tcp_proxy.h"

namespace weft::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;

class Failover : public ::testing::Test {
 protected:
  Failover() {
    // The replica hears of the primary through a network, too, which may lag behind.
    const std::string port = std::to_string(replication_.port());
    EXPECT_EQ(replica_.command({"REPLICAOF", "127.0.0.1", port}), "OK");
    EXPECT_TRUE(replica_.await_field("master_link_status", "up"));
  }
  std::string url() const { return "redis://127.0.0.1:" + std::to_string(network_.port()); }
  // Returns when all that was done before has arrived at the replica.
  void await_replica() {
    const int64_t done = primary_.info("master_repl_offset");
    EXPECT_TRUE(eventually([&] { return replica_.info("slave_repl_offset") >= done; }));
  }
  void replace_primary() {
    primary_.kill();
    EXPECT_EQ(replica_.command({"REPLICAOF", "NO", "ONE"}), "OK");
    network_.lead_to(replica_.port());
  }

  RedisProcess primary_{
      {.tcp = true, .appendfsync = "everysec", .arguments = {"--repl-diskless-sync-delay", "0"}}};
  RedisProcess replica_{{.tcp = true}};
  TcpProxy replication_{primary_.port()};
  TcpProxy network_{primary_.port()};
};

TEST_F(Failover, WhatHadArrivedAtTheReplicaSurvivesACrashOfThePrimary) {
  constexpr int kJobs = 1000;
  const Journal journal;
  Cluster cluster(url());
  for (int i = 0; i < 2; ++i) cluster.add("worker");
  Node& front = cluster.add("frontend");
  const auto refused = [&](const std::string& kind) {
    return cluster.sum("weft_store_refusals_total{kind=\"" + kind + "\"}");
  };
  Load load(cluster, journal, {.jobs = kJobs, .job_ms = 300, .spread_ms = 2500});
  ASSERT_TRUE(eventually([&] { return load.acknowledged() >= kJobs / 3; }));
  const auto known = Clock::now();
  await_replica();
  const double loaded = refused("NOSCRIPT");
  replace_primary();
  EXPECT_TRUE(eventually([&] { return cluster.sum("weft_store_healthy") == 3; }));
  EXPECT_GT(refused("NOSCRIPT"), loaded) << "the replica had the scripts";

  // The old primary comes back as what it is now, and somebody leads the daemons to it.
  primary_.start();
  ASSERT_EQ(primary_.command({"REPLICAOF", "127.0.0.1", std::to_string(replica_.port())}), "OK");
  network_.lead_to(primary_.port());
  network_.cut();
  EXPECT_TRUE(eventually([&] {
    return get_page(front.daemon().admin_address(), "/readyz").find("not a master") !=
           std::string::npos;
  }));
  network_.lead_to(replica_.port());

  const Account account = load.settle(cluster);
  account.print("kill -9 of a primary whose replica took over");
  std::printf("counts: refusals met: READONLY %.0f, NOSCRIPT %.0f\n", refused("READONLY"),
              refused("NOSCRIPT"));
  EXPECT_EQ(account.acknowledged, account.submitted);
  EXPECT_EQ(account.finished + account.lost, account.submitted);
  if (account.lost > 0) {
    EXPECT_GE(account.first_lost, known) << "what had arrived at the replica is lost";
  }
  EXPECT_EQ(account.doubled, 0);
  EXPECT_EQ(account.stale_accepted, 0);
  EXPECT_EQ(account.dead, 0);
  for (const size_t worker : {0, 1}) {
    EXPECT_TRUE(eventually([&] { return cluster.at(worker).metric("weft_resident_jobs") == 0; }));
  }
}

// The worker has taken jobs, and has ended some, of which the new primary knows nothing: they run
// again, also in the same process, and each has one end.
TEST_F(Failover, WhatTheReplicaHadNotHeardOfIsDoneAgain) {
  constexpr int kEach = 20;
  const Journal journal;
  Cluster cluster(url());
  cluster.add("frontend");
  Node& worker = cluster.add("worker", {"--max-resident", std::to_string(kEach)});
  Load load(cluster, journal,
            {.jobs = kEach + kEach / 2, .threads = 1, .job_ms_min = 1500, .job_ms = 1500});
  ASSERT_TRUE(eventually([&] { return load.acknowledged() == kEach + kEach / 2; }));
  ASSERT_TRUE(eventually([&] { return journal.read().size() >= kEach; }));
  await_replica();
  replication_.hold(TcpProxy::kToClient);
  ASSERT_TRUE(eventually([&] { return journal.read().size() == kEach + kEach / 2; }));
  replace_primary();

  const Account account = load.settle(cluster);
  account.print("kill -9 of a primary whose replica was behind");
  EXPECT_EQ(account.finished, kEach + kEach / 2);
  EXPECT_EQ(account.lost, 0);
  EXPECT_EQ(account.doubled, 0);
  EXPECT_EQ(account.stale_accepted, 0);
  EXPECT_EQ(account.dead, 0);
  EXPECT_GT(account.repeated, 0) << "the replica was not behind";
  // Also where the new primary has given an attempt once more to the worker that was running it.
  for (const auto& [id, runs] : journal.read()) {
    for (size_t i = 1; i < runs.size(); ++i) {
      const bool both_ended = runs[i].ended && runs[i - 1].ended;
      EXPECT_TRUE(!both_ended || runs[i].start_us >= runs[i - 1].end_us)
          << "attempt " << runs[i].attempt << " of job " << id << " ran twice at once";
    }
  }
  EXPECT_TRUE(eventually([&] { return worker.metric("weft_resident_jobs") == 0; }));
}

}  // namespace
}  // namespace weft::testing
