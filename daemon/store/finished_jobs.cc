// The orders of finished jobs.
#include <algorithm>

#include <weft/base/limits.h>
#include <weft/store/finished_jobs.h>

namespace weft {
namespace {

constexpr int64_t kSecond_ms = 1000;
constexpr size_t kTidySecond = 16;     // the same, of one second
constexpr size_t kTidyEntries = 1000;  // of jobs that left, beside as many as there are jobs

}  // namespace

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
    size_t total = queue.jobs + count - static_cast<size_t>(leaving);
    size_t room = count * limits::kTrimPerSettle;
    for (const Entry& entry : queue.order) {
      if (total <= per_queue_ || room == 0) break;
      if (!is_current(entry) || removed_.contains(entry.age)) continue;
      ages.push_back(entry.age);
      --total;
      --room;
    }
  }
  return ages;
}

std::vector<int64_t> FinishedJobs::expired(int64_t now_ms, size_t max_jobs) const {
  std::vector<int64_t> ages;
  for (const auto& [second, bucket] : by_expiry_) {
    if (second * kSecond_ms > now_ms) break;
    for (const Entry& entry : bucket.entries) {
      if (ages.size() == max_jobs) return ages;
      if (!is_current(entry) || removed_.contains(entry.age)) continue;
      if (jobs_.at(entry.age).expire_ms <= now_ms) ages.push_back(entry.age);
    }
  }
  return ages;
}

size_t FinishedJobs::entries() const {
  size_t count = 0;
  for (const auto& [second, bucket] : by_expiry_) count += bucket.entries.size();
  return count;
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
  const Entry entry{change.age, ++last_stamp_};
  queue->order.push_back(entry);
  ++queue->jobs;
  jobs_.emplace(change.age, Job{queue.get(), change.expire_ms, entry.stamp, change.end});
  ++counts_[change.end];
  Second& second = by_expiry_[change.expire_ms / kSecond_ms];
  second.entries.push_back(entry);
  ++second.jobs;
}

void FinishedJobs::erase(int64_t age) {
  const auto found = jobs_.find(age);
  if (found == jobs_.end()) return;
  const Job job = found->second;
  jobs_.erase(found);
  --counts_[job.end];
  const auto second = by_expiry_.find(job.expire_ms / kSecond_ms);
  if (--second->second.jobs == 0) {
    by_expiry_.erase(second);
  } else if (std::vector<Entry>& entries = second->second.entries;
             entries.size() > 2 * second->second.jobs + kTidySecond) {
    std::erase_if(entries, [this](const Entry& entry) { return !is_current(entry); });
    entries.shrink_to_fit();
  }
  Queue& queue = *job.queue;
  if (--queue.jobs == 0) {
    queues_.erase(std::string(queue.name));
    return;
  }
  while (!is_current(queue.order.front())) queue.order.pop_front();
  if (queue.order.size() > 2 * queue.jobs + kTidyEntries) {
    std::erase_if(queue.order, [this](const Entry& entry) { return !is_current(entry); });
  }
}

}  // namespace weft
