// A Redis that dies, cannot be reached, or is another one afterwards: submissions are refused with
// a time to try again, what runs goes on, and all of it settles once.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include <weft/base/limits.h>
#include <weft/v1/job_service.grpc.pb.h>

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

// Longer than a lease, and than a daemon waits for an answer of Redis. The long version:
// WEFT_CLUSTER_FULL=1
milliseconds outage() {
  if (std::getenv("WEFT_CLUSTER_FULL") != nullptr) return seconds(60);
  return milliseconds(limits::kRedisCommandMs) + seconds(1);
}

std::string admin_page(Node& node, const std::string& path) {
  return get_page(node.daemon().admin_address(), path);
}

// One Submit as any client makes it, without a second try.
grpc::Status submit_once(const std::string& server) {
  const auto stub =
      v1::JobService::NewStub(grpc::CreateChannel(server, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + seconds(30));
  v1::SubmitRequest request;
  request.mutable_spec()->set_type("echo");
  v1::SubmitResponse response;
  return stub->Submit(&context, request, &response);
}

// Kills Redis twice under load; when it did so first.
Clock::time_point kill_redis(RedisProcess& redis, const char* what, Account* account) {
  const Journal journal;
  Cluster cluster(redis.url());
  for (int i = 0; i < 2; ++i) cluster.add("worker");
  for (int i = 0; i < 2; ++i) cluster.add("frontend");
  Load load(cluster, journal, {.jobs = 1000, .job_ms = 300, .spread_ms = 2500});
  Clock::time_point first_kill = Clock::time_point::max();
  for (const int done : {300, 600}) {
    EXPECT_TRUE(eventually([&] { return load.acknowledged() >= done; }));
    first_kill = std::min(first_kill, Clock::now());
    redis.kill();
    std::this_thread::sleep_for(milliseconds(300));  // it is away for a while
    redis.start();
  }
  *account = load.settle(cluster);
  account->print(what);
  return first_kill;
}

TEST(Outage, ARedisThatSyncsAlwaysAndIsKilledLosesNothing) {
  RedisProcess redis({.appendfsync = "always"});
  Account account;
  kill_redis(redis, "kill -9 of Redis, appendfsync always", &account);
  account.expect_nothing_lost();
}

// It may lose what was acknowledged in its last seconds, and with that the knowledge that a job has
// ended, which then runs again. A kill of the process alone, as here, seldom does: what it has
// written the kernel still has.
TEST(Outage, ARedisThatSyncsEverySecondAndIsKilledLosesAtMostItsLastSeconds) {
  RedisProcess redis({.appendfsync = "everysec"});
  Account account;
  const auto first_kill = kill_redis(redis, "kill -9 of Redis, appendfsync everysec", &account);
  EXPECT_EQ(account.acknowledged, account.submitted);
  if (account.lost > 0) {
    EXPECT_GE(account.first_lost, first_kill - seconds(2));
  }
  EXPECT_EQ(account.finished + account.lost, account.submitted);
  EXPECT_EQ(account.stale_accepted, 0);
  EXPECT_EQ(account.dead, 0);
}

// Nothing was kept, so everything is lost; but the daemons do not depend on any of it.
TEST(Outage, ARedisThatForgotEverythingIsWorkedWithAgain) {
  const Journal before;
  const Journal after;
  RedisProcess redis;
  Cluster cluster(redis.url());
  Node& first = cluster.add("worker");
  Node& second = cluster.add("worker");
  cluster.add("frontend");
  {
    Load load(cluster, before, {.jobs = 100, .job_ms_min = 1000, .job_ms = 1000});
    ASSERT_TRUE(eventually([&] { return before.read().size() == 100; }));
    redis.kill();
    redis.start();
  }
  Load load(cluster, after, {.jobs = 300});
  const Account account = load.settle(cluster);
  account.print("a Redis without a file was killed; of the jobs submitted after it");
  account.expect_nothing_lost();
  // What they ran that nobody knows any more is let go.
  for (const Node* worker : {&first, &second}) {
    EXPECT_TRUE(eventually([&] { return worker->metric("weft_resident_jobs") == 0; }));
  }
}

TEST(Outage, WhileRedisCannotBeReachedSubmissionsAreRefusedAndJobsGoOn) {
  constexpr int kJobs = 50;
  const Journal journal;
  RedisProcess redis({.tcp = true});
  TcpProxy network(redis.port());
  Cluster cluster("redis://127.0.0.1:" + std::to_string(network.port()));
  Node& front = cluster.add("frontend");
  Node& worker = cluster.add("worker");
  Load load(cluster, journal, {.jobs = kJobs, .threads = 1, .job_ms = 3000, .try_ms = 20'000});
  ASSERT_TRUE(eventually([&] { return journal.read().size() == kJobs; }));

  for (Node* node : {&front, &worker}) {
    EXPECT_THAT(admin_page(*node, "/readyz"), HasSubstr("HTTP/1.1 200"));
  }

  network.hold_all();
  const auto begin = Clock::now();
  const grpc::Status refused = submit_once(front.address());
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE) << refused.error_message();
  EXPECT_THAT(refused.error_details(), HasSubstr("google.rpc.RetryInfo"));
  std::printf("figure: refused after %lld ms without an answer of Redis: %s\n",
              static_cast<long long>((Clock::now() - begin) / milliseconds(1)),
              refused.error_message().c_str());
  // From now on it knows, and says so at once.
  EXPECT_TRUE(eventually([&] { return front.metric("weft_store_healthy") == 0; }));
  EXPECT_EQ(submit_once(front.address()).error_code(), grpc::StatusCode::UNAVAILABLE);
  for (Node* node : {&front, &worker}) {
    EXPECT_TRUE(eventually([&] {
      const std::string page = admin_page(*node, "/readyz");
      return page.find("HTTP/1.1 503") == 0 &&
             page.find("the store cannot commit: there is no connection to redis://127.0.0.1:") !=
                 std::string::npos;
    })) << admin_page(*node, "/readyz");
    EXPECT_THAT(admin_page(*node, "/livez"), HasSubstr("HTTP/1.1 200"));
  }
  // What runs comes to its end meanwhile.
  EXPECT_TRUE(eventually([&] {
    for (const auto& [id, runs] : journal.read()) {
      if (!runs.back().ended) return false;
    }
    return true;
  }));
  std::this_thread::sleep_until(begin + outage());
  network.resume();

  const Account account = load.settle(cluster);
  account.print("Redis unreachable");
  account.expect_nothing_lost();
  EXPECT_EQ(account.repeated, 0) << "nothing was taken from a worker that could not renew";
  EXPECT_TRUE(eventually([&] { return worker.metric("weft_resident_jobs") == 0; }));
  EXPECT_TRUE(eventually([&] { return submit_once(front.address()).ok(); }));
  for (Node* node : {&front, &worker}) {
    EXPECT_TRUE(eventually([&] { return admin_page(*node, "/readyz").find("HTTP/1.1 200") == 0; }));
  }
}

// Answers that are lost on their way, connections that break at any moment, all of it late: what
// was asked for twice happens once.
TEST(Outage, ABadNetworkLosesAndDoublesNothing) {
  const Journal journal;
  RedisProcess redis({.tcp = true});
  TcpProxy network(redis.port());
  Cluster cluster("redis://127.0.0.1:" + std::to_string(network.port()));
  for (int i = 0; i < 2; ++i) cluster.add("worker");
  cluster.add("frontend");
  network.delay(TcpProxy::kToClient, milliseconds(2));
  Load load(cluster, journal, {.jobs = 1000, .job_ms = 50, .spread_ms = 3000});
  int harm = 0;
  while (load.acknowledged() < 1000 && harm < 200) {
    if (++harm % 4 == 0) {
      network.cut();
    } else {
      network.lose_answer();
    }
    std::this_thread::sleep_for(milliseconds(60));
  }
  network.keep_answers();
  network.resume();
  const Account account = load.settle(cluster);
  std::printf("counts: %d times an answer was lost or all connections were cut\n", harm);
  account.print("a bad network");
  account.expect_nothing_lost();
}

// A worker whose commands arrive but who hears nothing: it must find that out by itself.
TEST(Outage, AHalfOpenConnectionIsGivenUpAndItsJobsHaveOneEnd) {
  constexpr int kJobs = 50;
  const Journal journal;
  RedisProcess redis({.tcp = true});
  TcpProxy network(redis.port());
  Cluster far("redis://127.0.0.1:" + std::to_string(network.port()));
  Cluster near(redis.url());
  near.add("frontend");
  Node& deaf = far.add("worker");
  Load load(near, journal, {.jobs = kJobs, .threads = 1, .job_ms = 2000, .try_ms = 20'000});
  ASSERT_TRUE(eventually([&] { return journal.read().size() == kJobs; }));
  near.add("worker");
  near.excuse(deaf.pid());  // it loses its lease

  network.hold(TcpProxy::kToClient);
  const auto begin = Clock::now();
  EXPECT_TRUE(eventually([&] { return deaf.metric("weft_store_healthy") == 0; }));
  std::this_thread::sleep_until(begin + milliseconds(limits::kRedisCommandMs));
  network.resume();

  const Account account = load.settle(near);
  account.print("half-open connection");
  account.expect_nothing_lost();
  EXPECT_TRUE(eventually([&] { return deaf.metric("weft_store_healthy") == 1; }));
  EXPECT_TRUE(eventually([&] { return deaf.metric("weft_resident_jobs") == 0; }));
}

// Roles change under the daemons, and then the new primary takes the old one's place. It has none
// of the scripts.
TEST(Outage, AReplicaThatTakesOverIsGoneOnWith) {
  constexpr int kJobs = 300;
  const Journal journal;
  RedisProcess primary({.tcp = true, .arguments = {"--repl-diskless-sync-delay", "0"}});
  RedisProcess replica({.tcp = true});
  const std::string port = std::to_string(primary.port());
  ASSERT_EQ(replica.command({"REPLICAOF", "127.0.0.1", port}), "OK");
  ASSERT_TRUE(replica.await_field("master_link_status", "up"));
  Cluster cluster(primary.url());
  for (int i = 0; i < 2; ++i) cluster.add("worker");
  cluster.add("frontend");
  Load load(cluster, journal, {.jobs = kJobs, .job_ms = 3000});
  ASSERT_TRUE(eventually([&] { return load.acknowledged() == kJobs; }));
  // It waits until everything has arrived at the replica.
  ASSERT_EQ(primary.command({"FAILOVER"}), "OK");
  ASSERT_TRUE(replica.await_field("role", "master"));
  const auto refused = [&](const std::string& kind) {
    return cluster.sum("weft_store_refusals_total{kind=\"" + kind + "\"}");
  };
  EXPECT_TRUE(eventually([&] { return refused("READONLY") > 0; }));
  const double loaded = refused("NOSCRIPT");  // each script once in each daemon
  primary.kill();
  ASSERT_EQ(replica.command({"CONFIG", "SET", "port", port}), "OK");

  const Account account = load.settle(cluster);
  account.print("a promoted replica");
  account.expect_nothing_lost();
  std::printf("counts: refusals met: READONLY %.0f, NOSCRIPT %.0f\n", refused("READONLY"),
              refused("NOSCRIPT"));
  EXPECT_GT(refused("NOSCRIPT"), loaded);
}

}  // namespace
}  // namespace weft::testing
