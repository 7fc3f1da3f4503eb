// MemorySchedules: the schedules of the memory store.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <weft/store/schedule_store.h>

namespace weft {

// Each as the verb of ScheduleStore. Thread: one at a time.
class MemorySchedules {
 public:
  StatusOr<uint64_t> put(v1::Schedule schedule, uint64_t expected, std::optional<int64_t> wake_ms);
  StatusOr<StoredSchedule> get(const std::string& name) const;
  Status remove(const std::string& name, uint64_t expected);
  std::vector<StoredSchedule> list(const std::string& after, size_t max) const;
  DueSchedules due(size_t max, int64_t now_ms) const;

 private:
  struct Entry {
    StoredSchedule stored;
    std::optional<int64_t> wake_ms;
  };
  // OK when this version is there, or none for 0.
  Status check(const std::string& name, uint64_t expected) const;

  std::map<std::string, Entry> entries_;
  std::set<std::pair<int64_t, std::string>> wakes_;
  uint64_t version_ = 0;  // the last one given
};

}  // namespace weft
