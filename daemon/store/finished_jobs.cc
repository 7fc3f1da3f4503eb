// The orders of finished jobs.
#include <algorithm>

#include <weft/base/limits.h>
#include <weft/store/finished_jobs.h>

namespace weft {

std::vector<int64_t> FinishedJobs::surplus() const {
  std::vector<int64_t> ages;
  absl::flat_hash_map<std::string, size_t> added;
  for (const Change& change : changes_) {
    if (change.added) ++added[change.queue];
  }
  for (const auto& [name, count] : added) {
    const auto found = queues_.find(name);
    if (found == queues_.end()) continue;
    const Queue& queue = *found->second;
    const auto leaves = [&](int64_t age) {
      const auto job = jobs_.find(age);
      return job != jobs_.end() && job->second.queue == &queue;
    };
    const auto leaving = std::count_if(removed_.begin(), removed_.end(), leaves);
    size_t total = queue.ages.size() + count - static_cast<size_t>(leaving);
    size_t room = count * limits::kTrimPerSettle;
    for (const int64_t age : queue.ages) {
      if (total <= per_queue_ || room == 0) break;
      if (removed_.contains(age)) continue;
      ages.push_back(age);
      --total;
      --room;
    }
  }
  return ages;
}

std::vector<int64_t> FinishedJobs::expired(int64_t now_ms, size_t max_jobs) const {
  std::vector<int64_t> ages;
  for (const auto& [expire_ms, age] : by_expiry_) {
    if (expire_ms > now_ms || ages.size() == max_jobs) break;
    if (!removed_.contains(age)) ages.push_back(age);
  }
  return ages;
}

void FinishedJobs::publish() {
  for (const Change& change : changes_) {
    if (change.added) {
      insert(change);
    } else {
      erase(change.age);
    }
  }
  discard();
}

void FinishedJobs::discard() {
  changes_.clear();
  removed_.clear();
}

void FinishedJobs::insert(const Change& change) {
  erase(change.age);
  std::unique_ptr<Queue>& queue = queues_[change.queue];
  if (queue == nullptr) {
    queue = std::make_unique<Queue>();
    queue->name = change.queue;
  }
  const auto place = queue->ages.insert(queue->ages.end(), change.age);
  jobs_.emplace(change.age, Job{queue.get(), place, change.expire_ms});
  by_expiry_.emplace(change.expire_ms, change.age);
}

void FinishedJobs::erase(int64_t age) {
  const auto found = jobs_.find(age);
  if (found == jobs_.end()) return;
  const Job& job = found->second;
  by_expiry_.erase({job.expire_ms, age});
  job.queue->ages.erase(job.place);
  if (job.queue->ages.empty()) queues_.erase(std::string(job.queue->name));
  jobs_.erase(found);
}

}  // namespace weft
