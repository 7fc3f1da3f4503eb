// Cron: at which minutes of a time zone's clock something is to happen.
#pragma once

#include <absl/time/civil_time.h>
#include <absl/time/time.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <weft/base/status.h>

namespace weft {

// The zone of an IANA name ("Europe/Berlin"), as this machine's tzdata has it; "" and "UTC" are
// UTC. Errors: INVALID_ARGUMENT that names `field`.
StatusOr<absl::TimeZone> find_time_zone(std::string_view field, std::string_view name);

// A cron expression of five fields with blanks between them:
//   minute 0-59 · hour 0-23 · day of month 1-31 · month 1-12 or JAN-DEC · day of week 0-7 or
//   SUN-SAT (0 and 7 are Sunday)
// A field is `*` or a list with commas of numbers and ranges (1-5, MON-FRI); `*` and a range may
// have a step (*/15, 8-18/2). Or one of @hourly, @daily (@midnight), @weekly, @monthly, @yearly
// (@annually). Case does not matter.
//
// Days: when both day fields leave days out, a day that either of them names is enough, as in every
// cron; a field that names all its days leaves none out.
//
// When the clocks change:
//   - with hours left out ("30 2 * * *", "0 */2 * * *"): a time that the clocks skip happens at the
//     moment they jump, once for all that are skipped; one that comes twice happens the first time.
//   - with every hour ("*/5 * * * *", "30 * * * *"): whenever the clock shows such a minute, so
//   each
//     hour that passes has its ticks, also one that comes twice, and a skipped one has none.
//
// Thread: any. Limits: limits::kCronBytes.
class Cron {
 public:
  // Errors: INVALID_ARGUMENT that names `field`, the part at fault and what is allowed; also for
  // days that no year has (30 FEB).
  static StatusOr<Cron> parse(std::string_view field, std::string_view expression);

  // The first tick later than `after_ms` (since 1970). Ticks are nowhere more than 8 years apart;
  // nothing: that would be after the year 9999.
  std::optional<int64_t> next(int64_t after_ms, const absl::TimeZone& zone) const;

 private:
  Cron() = default;
  bool has_day(absl::CivilDay day) const;
  // The first minute of a clock that matches, not before `from`.
  std::optional<absl::CivilMinute> find(absl::CivilMinute from) const;
  std::optional<absl::Time> next_by_clock(absl::Time after, const absl::TimeZone& zone) const;
  std::optional<absl::Time> next_hourly(absl::Time after, const absl::TimeZone& zone) const;

  // A bit for each value.
  uint64_t minutes_ = 0;
  uint64_t hours_ = 0;
  uint64_t days_ = 0;
  uint64_t months_ = 0;
  uint64_t weekdays_ = 0;  // 0 is Sunday
  bool either_day_ = false;
  bool every_hour_ = false;
};

}  // namespace weft
