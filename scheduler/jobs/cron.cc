// Parsing, and the search for the next tick over months, days and changes of the clocks.
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdlib>
#include <utility>
#include <vector>

#include <weft/base/limits.h>
#include <weft/jobs/cron.h>

namespace weft {
namespace {

constexpr int kSearchYears = 9;               // 29 February comes every 8 years at worst
constexpr int64_t kLast_s = 253'402'300'799;  // of that year
constexpr size_t kZoneBytes = 64;
constexpr uint64_t kAllHours = (1ULL << 24) - 1;
constexpr uint64_t kAllDays = ((1ULL << 31) - 1) << 1;
constexpr uint64_t kAllWeekdays = (1ULL << 7) - 1;

// What a field may hold.
struct FieldRule {
  const char* name;
  int low;
  int high;
  const char* const* names;  // of the values from `low` on; null: they have none
  const char* allowed;
};

constexpr const char* kMonths[] = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN",  "JUL",
                                   "AUG", "SEP", "OCT", "NOV", "DEC", nullptr};
constexpr const char* kWeekdays[] = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", nullptr};
constexpr FieldRule kMinute{"minute", 0, 59, nullptr, "0-59"};
constexpr FieldRule kHour{"hour", 0, 23, nullptr, "0-23"};
constexpr FieldRule kDay{"day of month", 1, 31, nullptr, "1-31"};
constexpr FieldRule kMonth{"month", 1, 12, kMonths, "1-12 or JAN-DEC"};
constexpr FieldRule kWeekday{"day of week", 0, 7, kWeekdays, "0-7 or SUN-SAT"};

constexpr std::pair<const char*, const char*> kShort[] = {
    {"@HOURLY", "0 * * * *"},   {"@DAILY", "0 0 * * *"},   {"@MIDNIGHT", "0 0 * * *"},
    {"@WEEKLY", "0 0 * * 0"},   {"@MONTHLY", "0 0 1 * *"}, {"@YEARLY", "0 0 1 1 *"},
    {"@ANNUALLY", "0 0 1 1 *"},
};

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = text.find(at);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::optional<int> to_number(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool good = error == std::errc() && end == text.data() + text.size() && text[0] != '-';
  return good ? std::optional(number) : std::nullopt;
}

std::optional<int> to_value(const FieldRule& rule, std::string_view text) {
  for (int i = 0; rule.names != nullptr && rule.names[i] != nullptr; ++i) {
    if (text == rule.names[i]) return rule.low + i;
  }
  const std::optional<int> number = to_number(text);
  if (!number || *number < rule.low || *number > rule.high) return std::nullopt;
  return number;
}

// What of an expression is shown in an error.
std::string shown(std::string_view text) {
  std::string out(text.substr(0, limits::kCronBytes));
  std::ranges::replace_if(out, [](char c) { return c < ' ' || c > '~'; }, '?');
  return "'" + out + "'";
}

// One part of a list as bits; else what is wrong with it.
StatusOr<uint64_t> parse_part(const FieldRule& rule, std::string_view part) {
  const auto wrong = [&](const std::string& advice) {
    return make_status(StatusCode::kInvalidArgument,
                       std::string("the ") + rule.name + " " + shown(part) + " " + advice);
  };
  int step = 1;
  std::string_view range = part;
  const size_t slash = part.find('/');
  if (slash != std::string_view::npos) {
    range = part.substr(0, slash);
    const std::optional<int> given = to_number(part.substr(slash + 1));
    if (!given || *given < 1 || *given > rule.high) {
      return wrong("has no step from 1 to " + std::to_string(rule.high) + ": write */2 or 1-5/2");
    }
    step = *given;
  }
  int low = rule.low;
  int high = rule.high;
  if (range != "*") {
    const size_t dash = range.find('-');
    const std::optional<int> first = to_value(rule, range.substr(0, dash));
    const std::optional<int> last =
        dash == std::string_view::npos ? first : to_value(rule, range.substr(dash + 1));
    if (!first || !last) return wrong(std::string("is not allowed: use ") + rule.allowed);
    if (dash == std::string_view::npos && slash != std::string_view::npos) {
      return wrong("has a step without a range: write */2 or 1-5/2");
    }
    low = *first;
    high = *last;
    if (&rule == &kWeekday && high == 0 && low > 0) high = 7;  // SAT-SUN
    if (low > high) return wrong("runs backwards: write the smaller one first, or two ranges");
  }
  uint64_t bits = 0;
  for (int value = low; value <= high; value += step) {
    bits |= 1ULL << (&rule == &kWeekday ? value % 7 : value);
  }
  return bits;
}

StatusOr<uint64_t> parse_field(const FieldRule& rule, std::string_view text) {
  uint64_t bits = 0;
  for (const std::string_view part : split(text, ',')) {
    const StatusOr<uint64_t> its = parse_part(rule, part);
    if (!its.ok()) return its;
    bits |= *its;
  }
  return bits;
}

int longest(int month) {
  if (month == 2) return 29;
  return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

bool has_bit(uint64_t bits, int64_t value) { return (bits >> value & 1) != 0; }

// The smallest value that is there and not below `from`, or -1.
int first_from(uint64_t bits, int from) {
  const uint64_t left = from > 63 ? 0 : bits >> from << from;
  return left == 0 ? -1 : std::countr_zero(left);
}

int weekday_of(absl::CivilDay day) {
  // absl counts from Monday.
  return (static_cast<int>(absl::GetWeekday(day)) + 1) % 7;
}

bool is_zone_file(const std::string& name) {
  const char* folder = std::getenv("TZDIR");
  const std::string path = (folder != nullptr ? std::string(folder) : "/usr/share/zoneinfo");
  struct stat file{};
  return stat((path + "/" + name).c_str(), &file) == 0 && S_ISREG(file.st_mode);
}

}  // namespace

StatusOr<absl::TimeZone> find_time_zone(std::string_view field, std::string_view name) {
  if (name.empty() || name == "UTC") return absl::UTCTimeZone();
  const std::string text(name);
  // No path to somewhere else, and no name that means another zone on another machine. absl keeps
  // every name it was asked for, so one without a file is not even asked for.
  const bool plain = text.size() <= kZoneBytes && text.front() != '/' && text != "localtime" &&
                     std::ranges::all_of(text, [](char c) {
                       return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                              (c >= 'a' && c <= 'z') || c == '/' || c == '_' || c == '-' ||
                              c == '+';
                     });
  absl::TimeZone zone;
  if (plain && is_zone_file(text) && absl::LoadTimeZone(to_absl(text), &zone)) return zone;
  const bool none = !is_zone_file("Europe/London");
  return field_error(field, "the time zone " + shown(text.substr(0, kZoneBytes)) +
                                " is not known here: use a name as Europe/Berlin, or UTC" +
                                (none ? "; this machine has no time zones, install tzdata" : ""));
}

StatusOr<Cron> Cron::parse(std::string_view field, std::string_view expression) {
  const auto refuse = [&](const std::string& why) {
    return field_error(field, std::string(field) + ": " + why);
  };
  if (expression.size() > limits::kCronBytes) {
    return refuse("the expression has " + std::to_string(expression.size()) +
                  " bytes: use at most " + std::to_string(limits::kCronBytes));
  }
  std::string text(expression);
  for (char& c : text) {
    if (c == '\t') c = ' ';
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  const size_t begin = std::min(text.find_first_not_of(' '), text.size());
  text = text.substr(begin, text.find_last_not_of(' ') + 1 - begin);
  if (text.starts_with('@')) {
    const auto* known = std::ranges::find(kShort, text, [](const auto& one) { return one.first; });
    if (known == std::end(kShort)) {
      return refuse(shown(expression) +
                    " is not known: use @hourly, @daily, @weekly, @monthly or @yearly");
    }
    text = known->second;
  }
  std::vector<std::string_view> fields = split(text, ' ');
  std::erase_if(fields, [](std::string_view one) { return one.empty(); });
  if (fields.size() != 5) {
    return refuse(
        shown(expression) + " has " + std::to_string(fields.size()) +
        " fields: use five, minute, hour, day of month, month and day of week, or @daily");
  }
  Cron cron;
  const std::pair<const FieldRule*, uint64_t*> rules[] = {{&kMinute, &cron.minutes_},
                                                          {&kHour, &cron.hours_},
                                                          {&kDay, &cron.days_},
                                                          {&kMonth, &cron.months_},
                                                          {&kWeekday, &cron.weekdays_}};
  for (size_t i = 0; i < fields.size(); ++i) {
    const StatusOr<uint64_t> bits = parse_field(*rules[i].first, fields[i]);
    if (!bits.ok()) return refuse(std::string(from_absl(bits.status().message())));
    *rules[i].second = *bits;
  }
  cron.every_hour_ = cron.hours_ == kAllHours;
  cron.either_day_ = cron.days_ != kAllDays && cron.weekdays_ != kAllWeekdays;
  bool possible = cron.either_day_;
  for (int month = 1; month <= 12 && !possible; ++month) {
    possible = has_bit(cron.months_, month) && std::countr_zero(cron.days_) <= longest(month);
  }
  if (!possible) {
    return refuse("no year has the day " + std::string(fields[2]) + " in the month " +
                  std::string(fields[3]) + ": use a day that its months have");
  }
  return cron;
}

bool Cron::has_day(absl::CivilDay day) const {
  const bool in_month = has_bit(days_, day.day());
  const bool in_week = has_bit(weekdays_, weekday_of(day));
  return either_day_ ? in_month || in_week : in_month && in_week;
}

std::optional<absl::CivilMinute> Cron::find(absl::CivilMinute from) const {
  const absl::CivilDay first(from);
  const absl::CivilYear end = absl::CivilYear(first) + kSearchYears;
  for (absl::CivilDay day = first; absl::CivilYear(day) < end;) {
    if (!has_bit(months_, day.month())) {
      day = absl::CivilDay(absl::CivilMonth(day) + 1);
      continue;
    }
    if (has_day(day)) {
      int hour = first_from(hours_, day == first ? from.hour() : 0);
      int minute = first_from(minutes_, 0);
      if (day == first && hour == from.hour()) {
        minute = first_from(minutes_, from.minute());
        if (minute < 0) {
          hour = first_from(hours_, hour + 1);
          minute = first_from(minutes_, 0);
        }
      }
      if (hour >= 0) {
        return absl::CivilMinute(day.year(), day.month(), day.day(), hour, minute);
      }
    }
    ++day;
  }
  return std::nullopt;
}

// Each time of the clock has one moment: the first, or that of the jump. It never moves back as the
// times go on, so the first one that is later is the next.
std::optional<absl::Time> Cron::next_by_clock(absl::Time after, const absl::TimeZone& zone) const {
  absl::CivilMinute from(zone.At(after).cs);
  for (;;) {
    const std::optional<absl::CivilMinute> found = find(from);
    if (!found) return std::nullopt;
    const absl::TimeZone::TimeInfo info = zone.At(absl::CivilSecond(*found));
    const absl::Time moment =
        info.kind == absl::TimeZone::TimeInfo::SKIPPED ? info.trans : info.pre;
    if (moment > after) return moment;
    from = *found + 1;
  }
}

// From one change of the clocks to the next, time passes as the clock shows it.
std::optional<absl::Time> Cron::next_hourly(absl::Time after, const absl::TimeZone& zone) const {
  absl::CivilSecond shown_then = zone.At(after).cs;
  absl::CivilMinute from = absl::CivilMinute(shown_then) + 1;
  const absl::CivilYear end = absl::CivilYear(shown_then) + kSearchYears;
  for (;;) {
    const std::optional<absl::CivilMinute> found = find(from);
    absl::Time moment = absl::InfiniteFuture();
    if (found) moment = after + absl::Seconds(absl::CivilSecond(*found) - shown_then);
    absl::TimeZone::CivilTransition change;
    if (!zone.NextTransition(after, &change)) change.from = absl::CivilSecond::max();
    const absl::TimeZone::TimeInfo info = zone.At(change.to);
    const absl::Time changed = change.from == absl::CivilSecond::max() ? absl::InfiniteFuture()
                               : info.kind == absl::TimeZone::TimeInfo::UNIQUE ? info.pre
                                                                               : info.trans;
    if (moment < changed) return moment;
    if (changed == absl::InfiniteFuture() || absl::CivilYear(change.to) > end) return std::nullopt;
    after = changed;
    shown_then = change.to;
    // The minute that begins with the change is one of its own.
    from = absl::CivilMinute(shown_then);
    if (absl::CivilSecond(from) < shown_then) ++from;
  }
}

std::optional<int64_t> Cron::next(int64_t after_ms, const absl::TimeZone& zone) const {
  const int64_t after_s = after_ms < 0 ? -1 : after_ms / 1000;
  if (after_s >= kLast_s) return std::nullopt;
  const absl::Time after = absl::FromUnixSeconds(after_s);
  const std::optional<absl::Time> moment =
      every_hour_ ? next_hourly(after, zone) : next_by_clock(after, zone);
  if (!moment || absl::ToUnixSeconds(*moment) > kLast_s) return std::nullopt;
  return absl::ToUnixMillis(*moment);
}

}  // namespace weft
