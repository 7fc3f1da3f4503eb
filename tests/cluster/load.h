// Load: many jobs submitted over several front ends while things break, and the account of what
// became of them.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <weft/client/client.h>

#include "tests/cluster/cluster.h"
#include "tests/cluster/journal.h"

namespace weft::testing {

// What a test must show of its jobs.
struct Account {
  int submitted = 0;
  int acknowledged = 0;
  int finished = 0;
  int lost = 0;            // acknowledged, and unknown or without an end
  int doubled = 0;         // accepted as two jobs, or seen with two different ends
  int stale_accepted = 0;  // the end of an attempt that was not the job's last
  int dead = 0;
  std::chrono::steady_clock::time_point first_lost = {};  // when that was acknowledged; if any
  int repeated = 0;                                       // jobs that began more than once…
  int unexplained = 0;  // …though the process that began them before was not killed or stopped

  void print(const char* what) const;
  // Everything submitted has ended, once, with what its last attempt said.
  void expect_nothing_lost() const;
};

// Submits `noted` jobs in batches from threads of its own, each to the front end of its turn, with
// idempotency keys, until each is acknowledged.
// Thread: one. Lifetime: stopped before the journal goes away.
class Load {
 public:
  struct Options {
    int jobs = 1000;
    int threads = 4;
    int batch = 10;
    int64_t job_ms_min = 0;
    int64_t job_ms = 20;    // of each job, at most
    int64_t spread_ms = 0;  // over which the submissions are spread
    int64_t try_ms = 2000;  // of one call, before the next front end has its turn
    int64_t give_up_ms = 60'000;
    std::string key = "load";  // idempotency keys begin so
  };
  Load(const Cluster& cluster, const Journal& journal, Options options);
  ~Load();

  int acknowledged() const { return acknowledged_; }
  // Notes the ends there are now, so that another end of the same job is seen later; how many jobs
  // have not ended.
  size_t look();
  // Waits until all are acknowledged and have ended, and counts. Once.
  Account settle(const Cluster& cluster);
  std::vector<std::string> ids();

 private:
  void submit_share(int thread);
  bool submit(std::vector<v1::JobSpec> specs, size_t turn);
  // Looks at each of a share of the jobs.
  void check_share(const std::vector<std::string>& ids, size_t thread, size_t threads);
  // False: it has not ended. Counts an end that differs from the one seen before.
  bool note(const v1::Job& job);

  const std::vector<std::string> front_ends_;
  const Journal& journal_;
  const Options options_;
  std::atomic<int> submitted_ = 0;
  std::atomic<int> acknowledged_ = 0;
  std::atomic<bool> stop_ = false;

  std::mutex mutex_;  // guards what follows
  std::vector<std::string> ids_;
  std::map<std::string, std::chrono::steady_clock::time_point> acknowledged_at_;
  std::map<std::string, std::string> ends_;  // by job: its end as it was first seen
  Account account_;

  std::vector<std::thread> threads_;
};

}  // namespace weft::testing
