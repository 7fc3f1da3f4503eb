// TimedJobs: the waiting jobs of a store that have a time: those due later, and those whose time
// can be over.
#pragma once

#include <absl/container/btree_set.h>
#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include <weft/store/job_record.h>

namespace weft {

// Jobs without a time cost nothing here. T has an `age`, which no two have in common.
// Thread: one at a time. Lifetime: owns no job; one leaves before it is destroyed.
template <typename T>
class TimedJobs {
 public:
  // `record`: the job's, SCHEDULED or QUEUED.
  void add(T& job, const v1::Job& record) {
    if (state_of(record) == JobState::kScheduled) {
      due_.insert(Entry{due_ms(record), &job});
      ++scheduled_[to_absl(record.spec().queue())];
    }
    if (const int64_t ms = over_ms(record); ms != kNoTime) over_.insert(Entry{ms, &job});
  }
  // As it was added.
  void remove(T& job, const v1::Job& record) {
    if (state_of(record) == JobState::kScheduled) {
      due_.erase(Entry{due_ms(record), &job});
      const auto queue = scheduled_.find(to_absl(record.spec().queue()));
      if (--queue->second == 0) scheduled_.erase(queue);
    }
    if (const int64_t ms = over_ms(record); ms != kNoTime) over_.erase(Entry{ms, &job});
  }
  // The one whose time came first; of one millisecond, the oldest. Null: no time has come.
  T* first(int64_t now_ms) const {
    const Entry* earliest = first_entry();
    return earliest != nullptr && earliest->ms <= now_ms ? earliest->job : nullptr;
  }
  // The time of any is over, whether it is due or not.
  bool is_any_over(int64_t now_ms) const { return !over_.empty() && over_.begin()->ms <= now_ms; }
  // kNoTime: there is none.
  int64_t next_ms() const {
    const Entry* earliest = first_entry();
    return earliest != nullptr ? earliest->ms : kNoTime;
  }
  // SCHEDULED ones.
  size_t scheduled() const { return due_.size(); }
  size_t scheduled(const std::string& queue) const {
    if (scheduled_.empty()) return 0;
    const auto found = scheduled_.find(to_absl(queue));
    return found == scheduled_.end() ? 0 : found->second;
  }
  void clear() {
    due_.clear();
    over_.clear();
    scheduled_.clear();
  }

 private:
  struct Entry {
    int64_t ms;
    T* job;
    bool operator<(const Entry& other) const {
      return ms != other.ms ? ms < other.ms : job->age < other.job->age;
    }
  };
  const Entry* first_entry() const {
    if (due_.empty()) return over_.empty() ? nullptr : &*over_.begin();
    if (over_.empty()) return &*due_.begin();
    return &std::min(*due_.begin(), *over_.begin());
  }

  absl::btree_set<Entry> due_;
  absl::btree_set<Entry> over_;
  absl::flat_hash_map<std::string, size_t> scheduled_;  // by queue
};

// The earliest time that a waiting job has; kNoTime: none.
inline int64_t next_time_ms(const v1::Job& job) {
  const int64_t over = over_ms(job);
  return state_of(job) == JobState::kScheduled ? std::min(due_ms(job), over) : over;
}

// How long it is until then; 0 when that has passed.
inline std::chrono::milliseconds time_until(int64_t ms, int64_t wall_ns) {
  return std::chrono::milliseconds(std::max<int64_t>(ms - wall_ns / 1'000'000, 0));
}

}  // namespace weft
