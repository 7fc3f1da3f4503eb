// When the ticks of a schedule come, and what becomes of those that are due.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>

#include <weft/jobs/cron.h>

namespace weft {

// A tick that is so late is a missed one; one that is less late has only waited for its turn.
inline constexpr int64_t kTickGraceMs = 60'000;
// Missed ticks are counted up to here: more are counted as so many.
inline constexpr size_t kTicksCounted = 1000;

// The ticks of one schedule, in milliseconds since 1970. Thread: any.
class Timetable {
 public:
  Timetable(Cron cron, absl::TimeZone zone) : ticks_(Clock{cron, zone}) {}
  // Every `interval_ms` from `anchor_ms` on: the first tick is one interval after it.
  Timetable(int64_t anchor_ms, int64_t interval_ms) : ticks_(Interval{anchor_ms, interval_ms}) {}

  // The first tick later than `after_ms`. Nothing: there is none.
  std::optional<int64_t> next(int64_t after_ms) const;
  // How many ticks are later than `after_ms` and not later than `until_ms`; at most `most`.
  size_t count(int64_t after_ms, int64_t until_ms, size_t most) const;
  // The tick that has `later` (0 or more) ticks between it and `until_ms`, itself not later than
  // that, but later than `after_ms`. Nothing: there are not so many.
  std::optional<int64_t> last(int64_t after_ms, int64_t until_ms, size_t later = 0) const;

 private:
  struct Clock {
    Cron cron;
    absl::TimeZone zone;
  };
  struct Interval {
    int64_t anchor_ms;
    int64_t interval_ms;
  };
  std::variant<Clock, Interval> ticks_;
};

// What becomes of ticks that were missed.
enum class CatchUp : uint8_t {
  kSkip,  // none is made up for, unless it is hardly late
  kOne,   // the latest one is
  kAll,   // the last limits::kCatchUp are
};

class DueTicks {
 public:
  std::optional<int64_t> fire_ms;  // this one becomes a job
  uint64_t skipped = 0;            // so many do not
  std::optional<int64_t> next_ms;  // this one is to be decided next, now if it is due
};

// REQUIRES: the tick `next_ms` is due, and is the first that was not decided.
DueTicks decide_ticks(const Timetable& timetable, int64_t next_ms, int64_t now_ms,
                      CatchUp catch_up);

// What becomes of a tick while the job of the one before has not ended.
enum class Overlap : uint8_t { kSkip, kQueue, kCancelPrevious };
enum class TickAction : uint8_t { kFire, kSkip, kWait, kCancelFirst };

inline TickAction decide_overlap(Overlap overlap, bool previous_lives) {
  if (!previous_lives) return TickAction::kFire;
  switch (overlap) {
    case Overlap::kQueue:
      return TickAction::kWait;
    case Overlap::kCancelPrevious:
      return TickAction::kCancelFirst;
    case Overlap::kSkip:
      break;
  }
  return TickAction::kSkip;
}

}  // namespace weft
