// ScheduleRunner: looks at schedules when they are due.
#pragma once

#include <cstdint>

#include <weft/base/random.h>
#include <weft/runtime/event.h>
#include <weft/runtime/task.h>
#include <weft/store/store.h>
#include <weft/worker/schedule_ticks.h>

namespace weft {

// Runs in every daemon; those that share a store need not know of each other.
// Thread: the loop's. Lifetime: the store outlives run().
// Limits: limits::kScheduleBatch schedules at once, and the loop turns between two batches. Every
// hour, and when the clock was set back, it goes through all of them for those that a wrong clock
// has sent astray.
class ScheduleRunner {
 public:
  explicit ScheduleRunner(Store& store, Random random = Random::from_system())
      : store_(store), ticks_(store, random) {}

  // Sleeps until the next schedule is due, but looks every limits::kSchedulePollMs when others may
  // have changed some or the clock may have been set. Cancellation: how it ends; at any await, and
  // whatever was under way goes on elsewhere or after the next start.
  Task<void> run();
  // A schedule was changed here: look again. For those that were not run().
  void wake() { changed_.set(); }

  ScheduleTicks& ticks() { return ticks_; }
  const ScheduleStats& stats() const { return ticks_.stats(); }
  // In the store, as of the last look.
  uint64_t schedules() const { return schedules_; }

 private:
  Task<bool> look();
  Task<Status> sweep(int64_t now_ms);
  // Of a failure, once.
  void say(const Status& status);
  Task<void> wait(std::optional<std::chrono::milliseconds> limit);

  Store& store_;
  ScheduleTicks ticks_;
  Event changed_;
  std::optional<std::chrono::milliseconds> pause_;  // until the next look; none: until wake()
  uint64_t schedules_ = 0;
  Status said_;
  int64_t looked_ms_ = 0;  // by the store's clock
  int64_t sweep_ns_ = 0;   // when it goes through all of them next
};

}  // namespace weft
