// Daemons that die or stand still: what they ran is run by others, once with effect, and whatever
// they try afterwards is refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <thread>
#include <vector>

#include <weft/base/clock.h>
#include <weft/base/random.h>

#include "tests/cluster/cluster.h"
#include "tests/cluster/journal.h"
#include "tests/cluster/load.h"
#include "tests/support/redis_server.h"

namespace weft::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

int64_t wall_us() { return RealClock::instance().wall_ns() / 1000; }

// The long version: WEFT_CLUSTER_FULL=1 ctest --preset release -R Kills
bool full() { return std::getenv("WEFT_CLUSTER_FULL") != nullptr; }
// Another order of kills: WEFT_SEED=N
uint64_t given_seed() {
  const char* given = std::getenv("WEFT_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : 20260;
}

TEST(Kills, OfAnyDaemonEverySecondLoseNothing) {
  constexpr size_t kWorkers = 3;
  constexpr size_t kNodes = 5;
  const seconds duration = full() ? seconds(60) : seconds(6);
  const Journal journal;
  RedisProcess redis;
  Cluster cluster(redis.url());
  for (size_t i = 0; i < kNodes; ++i) cluster.add(i < kWorkers ? "worker" : "frontend");
  Load load(cluster, journal,
            {.jobs = full() ? 20'000 : 3000,
             .job_ms = 400,
             .spread_ms = milliseconds(duration).count(),
             .give_up_ms = 120'000});
  Random random(given_seed());
  const auto end = Clock::now() + duration;
  int kills[2] = {0, 0};  // of front ends, of workers
  for (auto next = Clock::now() + seconds(1); next < end; next += seconds(1)) {
    std::this_thread::sleep_until(next);
    // One of each in any case, whatever the seed.
    const bool worker = kills[1] == 0 || (kills[0] > 0 && random.below(kNodes) < kWorkers);
    Node& victim =
        cluster.at(worker ? random.below(kWorkers) : kWorkers + random.below(kNodes - kWorkers));
    cluster.kill(victim);
    victim.start();
    ++kills[victim.works()];
    load.look();
  }
  const Account account = load.settle(cluster);
  std::printf("seed %llu: %d kills of workers, %d of front ends; stale operations refused %.0f\n",
              static_cast<unsigned long long>(given_seed()), kills[1], kills[0],
              cluster.sum("weft_store_stale_tokens_total"));
  account.print("kills");
  account.expect_nothing_lost();
  EXPECT_GT(kills[0], 0);
  EXPECT_GT(kills[1], 0);
  EXPECT_GT(account.repeated, 0) << "those that were killed ran nothing";
}

// How long after the death of its worker a job runs again; nothing: it did not.
std::optional<milliseconds> take_over() {
  const Journal journal;
  RedisProcess redis;
  Cluster cluster(redis.url());
  Node& front = cluster.add("frontend");
  Node& first = cluster.add("worker");
  Load load(cluster, journal, {.jobs = 40, .job_ms_min = 3'600'000, .job_ms = 3'600'000});
  EXPECT_TRUE(eventually([&] { return journal.read().size() == 40; }));
  Node& second = cluster.add("worker");
  EXPECT_TRUE(eventually([&] { return second.metric("weft_store_healthy") == 1; }));
  const int64_t killed_us = wall_us();
  cluster.kill(first);
  int64_t last_us = 0;
  const bool again = eventually([&] {
    const auto runs = journal.read();
    return std::all_of(runs.begin(), runs.end(), [&](const auto& job) {
      last_us = std::max(last_us, job.second.back().start_us);
      return job.second.size() == 2;
    });
  });
  EXPECT_TRUE(again);
  if (!again) return std::nullopt;
  const milliseconds took((last_us - killed_us) / 1000);
  std::printf(
      "figure: 40 jobs of a killed worker ran again %lld ms after its death, lease %lld ms\n",
      static_cast<long long>(took.count()),
      static_cast<long long>(milliseconds(Cluster::kLease).count()));
  Client client({.server = front.address()});
  v1::ListJobsRequest all;
  all.mutable_filter()->add_states(v1::JOB_STATE_RUNNING);
  all.set_page_size(1000);
  const auto running = client.list(all);
  EXPECT_TRUE(running.ok()) << running.status();
  if (running.ok()) EXPECT_EQ(running->jobs_size(), 40);
  // One that has nothing to do with them shows them as well.
  EXPECT_TRUE(eventually([&] { return front.metric("weft_jobs{state=\"running\"}") == 40; }));
  EXPECT_EQ(cluster.sum("weft_leases_expired_total"), 1) << "one of them has taken over";
  for (const auto& [id, runs] : journal.read()) {
    EXPECT_EQ(runs[1].attempt, 2u);
    EXPECT_EQ(runs[1].pid, second.pid());
  }
  return took;
}

TEST(Kills, WhatADeadWorkerRanRunsElsewhereWithinALeaseAndASecond) {
  constexpr milliseconds kWithin = Cluster::kLease + seconds(1);
  constexpr size_t kRounds = kSanitized ? 1 : 3;
  std::vector<milliseconds> took;  // each is printed; one may be slow by other work on the machine
  while (took.size() < kRounds) {
    const auto round = take_over();
    ASSERT_TRUE(round.has_value() && !HasFailure());
    took.push_back(*round);
  }
  std::sort(took.begin(), took.end());
  const milliseconds median = took[kRounds / 2];
  if (!kSanitized) EXPECT_LE(median, kWithin);
}

TEST(Kills, WhatAWorkerTriesThatStoodStillForThreeLeasesIsRefused) {
  constexpr int kJobs = 40;
  constexpr int kChunks = 800;
  constexpr seconds kLease(3);
  const Journal journal;
  RedisProcess redis;
  Cluster cluster(redis.url(), kLease);
  Node& front = cluster.add("frontend");
  Node& stopped = cluster.add("worker");
  Load load(cluster, journal, {.jobs = kJobs, .job_ms_min = 8000, .job_ms = 8000});
  // It wakes up with all of them due, while the other one still works on them.
  Client client({.server = front.address(), .call_deadline_ms = 60'000});
  v1::JobSpec counting;  // a stream that both of them write
  counting.set_type("count");
  counting.set_payload("{\"to\":" + std::to_string(kChunks) + ",\"delay_ms\":10}");
  const auto counter = client.submit(counting);
  ASSERT_TRUE(counter.ok()) << counter.status();
  ASSERT_TRUE(eventually([&] { return journal.read().size() == kJobs; }));
  Node& other = cluster.add("worker");
  stopped.pause();
  cluster.excuse(stopped.pid());
  const auto begun_before = journal.read();
  size_t held = 0;
  for (const auto& [id, runs] : begun_before) held += !runs.back().ended;
  ASSERT_GT(held, 0u);
  std::this_thread::sleep_for(3 * kLease);
  // The other one has taken over long ago, unless the machine was busy.
  ASSERT_TRUE(eventually([&] {
    return cluster.at(2).metric("weft_leases_expired_total") == 1 ||
           front.metric("weft_leases_expired_total") == 1;
  }));
  stopped.resume();

  const Account account = load.settle(cluster);
  account.print("a worker stood still for three leases");
  account.expect_nothing_lost();
  EXPECT_GE(account.repeated, static_cast<int>(held));
  // What it held then has the other one's outcome, whatever it said when it woke up.
  for (const auto& [id, runs] : begun_before) {
    if (runs.back().ended) continue;
    const auto job = client.get(id);
    ASSERT_TRUE(job.ok()) << job.status();
    EXPECT_NE(job->outcome().result().find(std::to_string(other.pid())), std::string::npos)
        << job->ShortDebugString();
  }
  ResultStream stream = client.watch({.job_id = counter->id()});
  std::vector<std::string> chunks;
  for (const Chunk& chunk : stream) chunks.push_back(chunk.bytes);
  ASSERT_EQ(chunks.size(), size_t{kChunks}) << stream.status();
  for (size_t i = 0; i < chunks.size(); ++i) EXPECT_EQ(chunks[i], std::to_string(i + 1));

  // It knows, and works again.
  EXPECT_TRUE(eventually([&] { return stopped.metric("weft_leases_lost_total") == 1; }));
  EXPECT_TRUE(eventually([&] { return stopped.metric("weft_resident_jobs") == 0; }));
  const double refused = stopped.metric("weft_store_stale_tokens_total");
  double lost = 0;
  for (const std::string type : {"noted", "count"}) {
    lost +=
        stopped.metric("weft_jobs_finished_total{type=\"" + type + "\",outcome=\"lease_lost\"}");
  }
  std::printf(
      "counts: it held %zu jobs when it was stopped; stale operations of it refused %.0f, attempts "
      "given up by itself %.0f\n",
      held, refused, lost);
  EXPECT_GT(refused + lost, 0);
  cluster.kill(other);
  v1::JobSpec again;
  again.set_type("noted");
  again.set_payload(journal.payload(0));
  const auto last = client.submit(again);
  ASSERT_TRUE(last.ok()) << last.status();
  ResultStream end = client.watch({.job_id = last->id(), .deadline_ms = 60'000});
  for ([[maybe_unused]] const Chunk& chunk : end) {
  }
  ASSERT_TRUE(end.finished().has_value()) << end.status();
  EXPECT_EQ(journal.read()[last->id()].back().pid, stopped.pid());
}

// All that a job does beside ending: chunks, progress, sends.
TEST(Kills, AWorkerThatStoodStillWritesNothingIntoWhatOthersRun) {
  constexpr int kJobs = 20;
  constexpr seconds kLease(3);
  RedisProcess redis;
  Cluster cluster(redis.url(), kLease);
  Node& front = cluster.add("frontend");
  Node& stopped = cluster.add("worker");
  Client client({.server = front.address(), .call_deadline_ms = 60'000});
  std::vector<std::string> ids;
  for (int i = 0; i < kJobs; ++i) {
    v1::JobSpec spec;
    spec.set_type("stubborn");
    const auto answer = client.submit(spec);
    ASSERT_TRUE(answer.ok()) << answer.status();
    ids.push_back(answer->id());
  }
  const auto run_in = [&](Node& node, uint64_t attempt) {
    return eventually([&] {
      return std::all_of(ids.begin(), ids.end(), [&](const std::string& id) {
        const auto job = client.get(id);
        return job.ok() && job->attempt() == attempt && job->last_sequence() > 0 &&
               job->progress().message() == std::to_string(node.pid());
      });
    });
  };
  ASSERT_TRUE(run_in(stopped, 1));
  Node& other = cluster.add("worker");
  stopped.pause();
  const auto begin = Clock::now();
  // It will hear of this when it wakes up; those who run the jobs then have to act on it.
  for (const std::string& id : ids) EXPECT_TRUE(client.send(id, "news").ok());
  ASSERT_TRUE(run_in(other, 2));
  std::this_thread::sleep_until(begin + 3 * kLease);
  stopped.resume();
  EXPECT_TRUE(eventually([&] { return stopped.metric("weft_leases_lost_total") == 1; }));
  EXPECT_TRUE(eventually([&] { return stopped.metric("weft_resident_jobs") == 0; }));
  for (const std::string& id : ids) EXPECT_TRUE(client.send(id, "end").ok());

  const std::string pid = std::to_string(other.pid());
  int finished = 0, strange = 0, sends_lost = 0, sends_twice = 0;
  for (const std::string& id : ids) {
    ResultStream stream = client.watch({.job_id = id, .deadline_ms = 60'000});
    int news = 0;
    for (const Chunk& chunk : stream) {
      strange += chunk.bytes != pid && !chunk.bytes.starts_with(pid + " got ");
      news += chunk.bytes == pid + " got news";
    }
    sends_lost += news == 0;
    sends_twice += news > 1;
    const auto job = client.get(id);
    ASSERT_TRUE(job.ok()) << job.status();
    finished += job->state() == v1::JOB_STATE_SUCCEEDED && job->attempt() == 2;
    EXPECT_EQ(job->progress().message(), pid);
  }
  std::printf(
      "counts: %d jobs of a worker that stood still: finished %d, chunks of the old attempt among "
      "the new %d, sends lost %d, sends twice %d; stale operations refused %.0f\n",
      kJobs, finished, strange, sends_lost, sends_twice,
      stopped.metric("weft_store_stale_tokens_total"));
  EXPECT_EQ(finished, kJobs);
  EXPECT_EQ(strange, 0);
  EXPECT_EQ(sends_lost, 0);
  EXPECT_EQ(sends_twice, 0);
}

}  // namespace
}  // namespace weft::testing
