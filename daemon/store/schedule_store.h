// ScheduleStore: where schedules live. It knows when one is to be looked at, and not what is done
// then.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <weft/base/limits.h>
#include <weft/base/status.h>
#include <weft/runtime/task.h>
#include <weft/v1/schedule_service.pb.h>

namespace weft {

class StoredSchedule {
 public:
  StoredSchedule() = default;
  StoredSchedule(v1::Schedule what, uint64_t its_version)
      : schedule(std::move(what)), version(its_version) {}
  v1::Schedule schedule;
  uint64_t version = 0;  // another one after each change, and of no other schedule
};

// The schedules to be looked at, those first whose time came first.
class DueSchedules {
 public:
  std::vector<StoredSchedule> schedules;
  int64_t now_ms = 0;  // by the store's clock
  // Until the next one that is not among them is due; none: no other ever is.
  std::optional<std::chrono::milliseconds> next_in;
  size_t total = 0;  // schedules in the store
};

// Thread, Lifetime, Cancellation, Errors: as JobStore. One that does not parse is left out of
// lists, named in the log, and can only be removed. Limits: limits::kSchedules.
class ScheduleStore {
 public:
  virtual ~ScheduleStore() = default;

  // Stores a schedule under its name if `expected` is the version that is there; 0: none is.
  // Returns its new version. `wake_ms`: when it is due, by the store's clock; none: never. Errors:
  // ABORTED when there is another version, or one although 0 was expected; NOT_FOUND when there is
  // none; RESOURCE_EXHAUSTED for a new one too many.
  virtual Task<StatusOr<uint64_t>> put_schedule(v1::Schedule schedule, uint64_t expected,
                                                std::optional<int64_t> wake_ms) = 0;
  // Errors: NOT_FOUND; DATA_LOSS: it does not parse.
  virtual Task<StatusOr<StoredSchedule>> get_schedule(std::string name) = 0;
  // `expected` 0: whatever is there. Errors: ABORTED for another version; NOT_FOUND.
  virtual Task<Status> remove_schedule(std::string name, uint64_t expected) = 0;
  // Up to `max` schedules by name (its bytes), those after `after`; fewer: that was all.
  virtual Task<StatusOr<std::vector<StoredSchedule>>> list_schedules(std::string after,
                                                                     size_t max) = 0;
  virtual Task<StatusOr<DueSchedules>> due_schedules(size_t max) = 0;
};

// What every store answers alike.
inline Status unknown_schedule(const std::string& name) {
  return make_status(StatusCode::kNotFound, "there is no schedule '" + name + "'");
}
inline Status schedule_changed(const std::string& name) {
  return make_status(StatusCode::kAborted,
                     "the schedule '" + name + "' was changed meanwhile: try again");
}
inline Status unreadable_schedule(const std::string& name) {
  return make_status(StatusCode::kDataLoss,
                     "the schedule '" + name + "' cannot be read: delete it and create it again");
}
inline Status too_many_schedules() {
  return make_status(StatusCode::kResourceExhausted,
                     "there are " + std::to_string(limits::kSchedules) +
                         " schedules, which is the most: delete some");
}

}  // namespace weft
