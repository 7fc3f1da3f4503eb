// Daemons with nothing to do: what they cost Redis, and how fast they begin when there is work.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include <weft/base/clock.h>
#include <weft/client/client.h>

#include "tests/cluster/cluster.h"
#include "tests/cluster/journal.h"
#include "tests/support/redis_server.h"

namespace weft::testing {
namespace {

using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr double kCommandsPerSecond = 10;  // of one worker
constexpr int kWorkers = 3;

TEST(Idle, WorkersCostRedisFewCommandsAndBeginAtOnce) {
  const Journal journal;
  RedisProcess redis;
  Cluster cluster(redis.url(), Cluster::kDefaultLease);
  Node& front = cluster.add("frontend");
  for (int i = 0; i < kWorkers; ++i) cluster.add("worker");
  ASSERT_TRUE(eventually([&] { return cluster.sum("weft_store_healthy") == kWorkers + 1; }));

  const std::string sent = "weft_store_commands_total";
  const auto begin = Clock::now();
  const double sent_before = cluster.sum(sent);
  const int64_t done_before = redis.info("total_commands_processed");
  std::this_thread::sleep_for(Cluster::kDefaultLease / 3);  // a renewal of each
  const double sent_since = cluster.sum(sent) - sent_before;
  const auto done_since = static_cast<double>(redis.info("total_commands_processed") - done_before);
  const double took = std::chrono::duration<double>(Clock::now() - begin).count();
  const double each = sent_since / took / (kWorkers + 1);
  std::printf(
      "figure: idle, commands per second that each of %d daemons sends: %.1f; Redis counts %.1f, "
      "those inside of scripts among them\n",
      kWorkers + 1, each, done_since / took / (kWorkers + 1));
  EXPECT_LE(each, kCommandsPerSecond);

  Client client({.server = front.address()});
  std::vector<std::pair<std::string, int64_t>> submitted;  // and when, in µs
  for (int i = 0; i < 200; ++i) {
    v1::JobSpec spec;
    spec.set_type("noted");
    spec.set_payload(journal.payload(0));
    const int64_t now_us = RealClock::instance().wall_ns() / 1000;
    const auto answer = client.submit(spec);
    ASSERT_TRUE(answer.ok()) << answer.status();
    submitted.emplace_back(answer->id(), now_us);
    // One at a time: the workers are idle when it comes.
    ASSERT_TRUE(eventually([&] { return journal.read().size() == submitted.size(); }));
  }
  std::vector<int64_t> waits_us;
  auto runs = journal.read();
  for (const auto& [id, at_us] : submitted) waits_us.push_back(runs[id].front().start_us - at_us);
  std::sort(waits_us.begin(), waits_us.end());
  const int64_t p50 = waits_us[waits_us.size() / 2];
  const int64_t p99 = waits_us[waits_us.size() * 99 / 100];
  std::printf("figure: submit to start on an idle worker: p50 %.2f ms, p99 %.2f ms\n",
              static_cast<double>(p50) / 1e3, static_cast<double>(p99) / 1e3);
  // Nobody waits for a turn of polling.
  EXPECT_LT(p99, 1'000'000);
}

}  // namespace
}  // namespace weft::testing
