// Schedules in a map, and their times in a set.
#include <weft/base/limits.h>
#include <weft/store/memory/memory_schedules.h>

namespace weft {

Status MemorySchedules::check(const std::string& name, uint64_t expected) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return expected == 0 ? absl::OkStatus() : unknown_schedule(name);
  return found->second.stored.version == expected ? absl::OkStatus() : schedule_changed(name);
}

StatusOr<uint64_t> MemorySchedules::put(v1::Schedule schedule, uint64_t expected,
                                        std::optional<int64_t> wake_ms) {
  const std::string name = schedule.name();
  WEFT_RETURN_IF_ERROR(check(name, expected));
  if (expected == 0 && entries_.size() >= limits::kSchedules) return too_many_schedules();
  Entry& entry = entries_[name];
  if (entry.wake_ms) wakes_.erase({*entry.wake_ms, name});
  if (wake_ms) wakes_.emplace(*wake_ms, name);
  entry.wake_ms = wake_ms;
  entry.stored = StoredSchedule(std::move(schedule), ++version_);
  return version_;
}

StatusOr<StoredSchedule> MemorySchedules::get(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return unknown_schedule(name);
  return found->second.stored;
}

Status MemorySchedules::remove(const std::string& name, uint64_t expected) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return unknown_schedule(name);
  if (expected != 0) WEFT_RETURN_IF_ERROR(check(name, expected));
  if (found->second.wake_ms) wakes_.erase({*found->second.wake_ms, name});
  entries_.erase(found);
  return absl::OkStatus();
}

std::vector<StoredSchedule> MemorySchedules::list(const std::string& after, size_t max) const {
  std::vector<StoredSchedule> page;
  for (auto next = entries_.upper_bound(after); next != entries_.end() && page.size() < max;
       ++next) {
    page.push_back(next->second.stored);
  }
  return page;
}

DueSchedules MemorySchedules::due(size_t max, int64_t now_ms) const {
  DueSchedules due;
  due.now_ms = now_ms;
  due.total = entries_.size();
  for (const auto& [wake_ms, name] : wakes_) {
    if (wake_ms > now_ms || due.schedules.size() == max) {
      due.next_in = std::chrono::milliseconds(std::max<int64_t>(0, wake_ms - now_ms));
      break;
    }
    due.schedules.push_back(entries_.at(name).stored);
  }
  return due;
}

}  // namespace weft
