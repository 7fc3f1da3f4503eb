// Ticks of clocks and intervals, and the catch-up policies.
#include <algorithm>

#include <weft/base/limits.h>
#include <weft/jobs/schedule_policy.h>

namespace weft {

std::optional<int64_t> Timetable::next(int64_t after_ms) const {
  if (const auto* clock = std::get_if<Clock>(&ticks_)) {
    return clock->cron.next(after_ms, clock->zone);
  }
  const auto& [anchor_ms, interval_ms] = std::get<Interval>(ticks_);
  const int64_t passed = std::max<int64_t>(0, after_ms - anchor_ms) / interval_ms;
  return anchor_ms + (passed + 1) * interval_ms;
}

size_t Timetable::count(int64_t after_ms, int64_t until_ms, size_t most) const {
  size_t count = 0;
  for (auto tick = next(after_ms); tick && *tick <= until_ms && count < most; tick = next(*tick)) {
    ++count;
  }
  return count;
}

// The later one looks from, the fewer ticks there are: the latest moment from which there are
// enough is just before the one that is looked for.
std::optional<int64_t> Timetable::last(int64_t after_ms, int64_t until_ms, size_t later) const {
  const auto enough = [&](int64_t from_ms) {
    return count(from_ms, until_ms, later + 1) == later + 1;
  };
  if (!enough(after_ms)) return std::nullopt;
  int64_t low = after_ms;
  int64_t high = until_ms;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (enough(middle) ? low : high) = middle;
  }
  return next(low);
}

DueTicks decide_ticks(const Timetable& timetable, int64_t next_ms, int64_t now_ms,
                      CatchUp catch_up) {
  // `next_ms` counts even if the timetable does not have it any more: the rules of a zone change.
  DueTicks due;
  const size_t most = catch_up == CatchUp::kAll ? limits::kCatchUp : 1;
  if (timetable.count(next_ms, now_ms, most) < most) {
    due.fire_ms = next_ms;
  } else {
    due.fire_ms = timetable.last(next_ms, now_ms, most - 1);
    due.skipped = 1 + timetable.count(next_ms, *due.fire_ms - 1, kTicksCounted - 1);
  }
  due.next_ms = timetable.next(*due.fire_ms);
  if (catch_up == CatchUp::kSkip && now_ms - *due.fire_ms >= kTickGraceMs) {
    due.fire_ms.reset();
    due.skipped = std::min<uint64_t>(due.skipped + 1, kTicksCounted);
  }
  return due;
}

}  // namespace weft
