// ScheduleTicks: what becomes of one schedule's ticks: decided once, and carried out until it is
// done.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include <weft/base/histogram.h>
#include <weft/base/random.h>
#include <weft/base/status.h>
#include <weft/runtime/task.h>
#include <weft/store/schedule_store.h>
#include <weft/store/store.h>

namespace weft {

// Of this process.
struct ScheduleStats {
  uint64_t fired = 0;    // jobs it has submitted, and nobody before it
  uint64_t skipped = 0;  // ticks it has decided to leave out
  Histogram lateness;    // of the ticks it has fired
};

// A tick is decided by a change of its schedule: that names the job (pending) and the tick that
// comes next, and of all daemons one makes it. Then the job is submitted under its name, which can
// be repeated by anyone, and then the schedule says so. Whoever finds a pending tick some time
// later goes on with it, so that it does not matter where the one before has died. Thread: the
// loop's. Lifetime: the store outlives its tasks. Cancellation: of the awaiting task, at any await.
// Errors: those of the store; ABORTED: another daemon was faster.
class ScheduleTicks {
 public:
  ScheduleTicks(Store& store, Random random) : store_(store), random_(random) {}

  // Does what is due of it at `now_ms`, of the store's clock.
  Task<Status> look_at(StoredSchedule stored, int64_t now_ms);
  // Names the job of another tick, now, whatever the timetable says; empty: the store makes an id.
  // Returns the schedule with that pending. Errors: also FAILED_PRECONDITION.
  Task<StatusOr<StoredSchedule>> trigger(StoredSchedule stored, std::string job_id, int64_t now_ms);
  // Submits the job of the pending tick, unless that waits for another. Returns the schedule as it
  // is then. Errors: also RESOURCE_EXHAUSTED: the tick is still pending; INVALID_ARGUMENT: it is
  // given up, because its job can never be submitted.
  Task<StatusOr<StoredSchedule>> carry_out(StoredSchedule stored, int64_t now_ms);

  // Whether this machine does not know its time zone and has only just seen it: others may.
  bool is_left_alone(const StoredSchedule& stored) const;
  // How many schedules there were of that kind lately.
  size_t left_alone();

  const ScheduleStats& stats() const { return stats_; }

 private:
  struct LeftAlone {
    uint64_t version = 0;
    int64_t until_ns = 0;
  };
  void leave_alone(const StoredSchedule& stored, const Status& why);
  static void bring_back(v1::Schedule& schedule, int64_t now_ms);
  Task<Status> decide(StoredSchedule& stored, int64_t now_ms);
  Task<StatusOr<bool>> lives(std::string job_id);
  Task<Status> put(StoredSchedule& stored, std::optional<int64_t> wake_ms);

  Store& store_;
  Random random_;
  ScheduleStats stats_;
  std::unordered_map<std::string, LeftAlone> left_alone_;  // by name
};

// When somebody has to look at it again, after a change at `now_ms`; none: there is nothing to do.
std::optional<int64_t> next_look_ms(const v1::Schedule& schedule, int64_t now_ms);

// Whether a clock that was wrong by more than an hour has left it: it waits for a time that is too
// far away. look_at() sets that right.
bool is_astray(const v1::Schedule& schedule, int64_t now_ms);

}  // namespace weft
