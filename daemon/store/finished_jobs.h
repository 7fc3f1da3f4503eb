// FinishedJobs: which finished jobs are kept too long, or are too many of their queue.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <weft/jobs/job_state.h>

namespace weft {

// Jobs are named by their age. Changes wait for publish(), so that a transaction that fails leaves
// nothing behind. Thread: one at a time.
class FinishedJobs {
 public:
  explicit FinishedJobs(size_t per_queue) : per_queue_(per_queue) {}
  FinishedJobs(const FinishedJobs&) = delete;
  FinishedJobs& operator=(const FinishedJobs&) = delete;

  void add(const std::string& queue, int64_t age, int64_t expire_ms, JobState end) {
    changes_.push_back({queue, age, expire_ms, end, true});
  }
  // Of one that was removed or is retried.
  void remove(int64_t age) {
    changes_.push_back({std::string(), age, 0, JobState{}, false});
    removed_.insert(age);
  }
  void publish();
  void discard();

  // The ones that finished first in the queues that have too many with what was added: at most
  // limits::kTrimPerSettle for each of those added.
  std::vector<int64_t> surplus() const;
  // Up to `max_jobs` whose time is over.
  std::vector<int64_t> expired(int64_t now_ms, size_t max_jobs) const;
  size_t size() const { return jobs_.size(); }
  // What the orders by time hold, jobs that left included.
  size_t entries() const;
  // Of those kept, the ones that ended so.
  size_t count(JobState end) const {
    const auto found = counts_.find(end);
    return found == counts_.end() ? 0 : found->second;
  }

 private:
  struct Change {
    std::string queue;
    int64_t age;
    int64_t expire_ms;
    JobState end;
    bool added;
  };
  // A job that left stays in the orders, with a stamp that is nobody's, until they are tidied:
  // nodes of their own for each job cost more than all the rest.
  struct Entry {
    int64_t age;
    uint64_t stamp;
  };
  struct Queue {
    std::string name;
    std::deque<Entry> order;  // as they finished
    size_t jobs = 0;
  };
  struct Job {
    Queue* queue;
    int64_t expire_ms;
    uint64_t stamp;
    JobState end;
  };
  struct Second {
    std::vector<Entry> entries;
    size_t jobs = 0;
  };
  bool is_current(const Entry& entry) const {
    const auto job = jobs_.find(entry.age);
    return job != jobs_.end() && job->second.stamp == entry.stamp;
  }
  void insert(const Change& change);
  void erase(int64_t age);

  const size_t per_queue_;
  std::vector<Change> changes_;                                     // in their order
  absl::flat_hash_set<int64_t> removed_;                            // among them
  std::unordered_map<std::string, std::unique_ptr<Queue>> queues_;  // none is empty
  absl::flat_hash_map<int64_t, Job> jobs_;
  std::map<int64_t, Second> by_expiry_;  // none is without jobs
  absl::flat_hash_map<JobState, size_t> counts_;
  uint64_t last_stamp_ = 0;
};

}  // namespace weft
