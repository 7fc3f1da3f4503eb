// FinishedJobs: which finished jobs are kept too long, or are too many of their queue.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <cstdint>
#include <list>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace weft {

// Jobs are named by their age. Changes wait for publish(), so that a transaction that fails leaves
// nothing behind. Thread: one at a time.
class FinishedJobs {
 public:
  explicit FinishedJobs(size_t per_queue) : per_queue_(per_queue) {}
  FinishedJobs(const FinishedJobs&) = delete;
  FinishedJobs& operator=(const FinishedJobs&) = delete;

  void add(const std::string& queue, int64_t age, int64_t expire_ms) {
    changes_.push_back({queue, age, expire_ms, true});
  }
  // Of one that was removed or is retried.
  void remove(int64_t age) {
    changes_.push_back({std::string(), age, 0, false});
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

 private:
  struct Change {
    std::string queue;
    int64_t age;
    int64_t expire_ms;
    bool added;
  };
  struct Queue {
    std::string name;
    std::list<int64_t> ages;  // as they finished
  };
  struct Job {
    Queue* queue;
    std::list<int64_t>::iterator place;
    int64_t expire_ms;
  };
  void insert(const Change& change);
  void erase(int64_t age);

  const size_t per_queue_;
  std::vector<Change> changes_;                                     // in their order
  absl::flat_hash_set<int64_t> removed_;                            // among them
  std::unordered_map<std::string, std::unique_ptr<Queue>> queues_;  // none is empty
  absl::flat_hash_map<int64_t, Job> jobs_;
  std::set<std::pair<int64_t, int64_t>> by_expiry_;  // with the age
};

}  // namespace weft
