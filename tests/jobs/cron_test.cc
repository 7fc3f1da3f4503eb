// Cron expressions: what they mean, when the clocks change too, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include <weft/base/limits.h>
#include <weft/base/random.h>
#include <weft/jobs/cron.h>

namespace weft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Cron cron_of(const std::string& expression) {
  auto cron = Cron::parse("cron", expression);
  EXPECT_TRUE(cron.ok()) << cron.status();
  return *cron;
}

absl::TimeZone zone_of(const std::string& name) {
  auto zone = find_time_zone("time_zone", name);
  EXPECT_TRUE(zone.ok()) << zone.status();
  return zone.value_or(absl::UTCTimeZone());
}

// "2026-03-29 02:30" of the zone's clock; of a time that comes twice, the first.
int64_t ms_of(const std::string& text, const absl::TimeZone& zone) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime("%Y-%m-%d %H:%M", to_absl(text), zone, &time, &error)) << error;
  return absl::ToUnixMillis(time);
}

std::vector<std::string> ticks(const std::string& expression, const std::string& zone_name,
                               const std::string& after, size_t count) {
  const Cron cron = cron_of(expression);
  const absl::TimeZone zone = zone_of(zone_name);
  std::vector<std::string> out;
  int64_t at = ms_of(after, zone);
  while (out.size() < count) {
    const auto next = cron.next(at, zone);
    if (!next) break;
    at = *next;
    out.push_back(absl::FormatTime("%a %Y-%m-%d %H:%M %z", absl::FromUnixMillis(at), zone));
  }
  return out;
}

std::string refusal(const std::string& expression) {
  const auto cron = Cron::parse("schedule.cron", expression);
  if (cron.ok()) return "accepted";
  EXPECT_EQ(cron.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(field_of(cron.status()), "schedule.cron");
  return std::string(from_absl(cron.status().message()));
}

TEST(Cron, NumbersNamesRangesStepsAndLists) {
  EXPECT_THAT(ticks("*/20 9-10 * * MON-FRI", "UTC", "2026-01-02 10:20", 3),
              ElementsAre("Fri 2026-01-02 10:40 +0000", "Mon 2026-01-05 09:00 +0000",
                          "Mon 2026-01-05 09:20 +0000"));
  EXPECT_THAT(ticks("5,35 1-23/11 * jan,Dec *", "UTC", "2026-01-31 12:04", 3),
              ElementsAre("Sat 2026-01-31 12:05 +0000", "Sat 2026-01-31 12:35 +0000",
                          "Sat 2026-01-31 23:05 +0000"));
  EXPECT_THAT(ticks(" 0\t0  1 * * ", "UTC", "2026-01-01 00:00", 1),
              ElementsAre("Sun 2026-02-01 00:00 +0000"));
  EXPECT_THAT(ticks("0 0 * * SAT-SUN", "UTC", "2026-01-01 00:00", 3),
              ElementsAre("Sat 2026-01-03 00:00 +0000", "Sun 2026-01-04 00:00 +0000",
                          "Sat 2026-01-10 00:00 +0000"));
  EXPECT_EQ(ticks("0 0 * * 7", "UTC", "2026-01-01 00:00", 5),
            ticks("0 0 * * 0", "UTC", "2026-01-01 00:00", 5));
}

TEST(Cron, ShortForms) {
  for (const auto& [name, expression] :
       std::vector<std::pair<std::string, std::string>>{{"@hourly", "0 * * * *"},
                                                        {"@daily", "0 0 * * *"},
                                                        {"@midnight", "0 0 * * *"},
                                                        {"@weekly", "0 0 * * SUN"},
                                                        {"@monthly", "0 0 1 * *"},
                                                        {"@YEARLY", "0 0 1 JAN *"},
                                                        {"@annually", "0 0 1 1 *"}}) {
    EXPECT_EQ(ticks(name, "Asia/Tokyo", "2026-02-03 04:05", 4),
              ticks(expression, "Asia/Tokyo", "2026-02-03 04:05", 4))
        << name;
  }
}

TEST(Cron, EitherDayIsEnoughWhenBothLeaveDaysOut) {
  EXPECT_THAT(ticks("0 12 13 * FRI", "UTC", "2026-01-09 12:00", 3),
              ElementsAre("Tue 2026-01-13 12:00 +0000", "Fri 2026-01-16 12:00 +0000",
                          "Fri 2026-01-23 12:00 +0000"));
  EXPECT_EQ(ticks("0 12 1-31 * FRI", "UTC", "2026-01-09 12:00", 9),
            ticks("0 12 * * FRI", "UTC", "2026-01-09 12:00", 9));
}

TEST(Cron, ALeapDayIsFoundEightYearsAhead) {
  EXPECT_THAT(ticks("0 0 29 2 *", "UTC", "2096-03-01 00:00", 2),
              ElementsAre("Fri 2104-02-29 00:00 +0000", "Wed 2108-02-29 00:00 +0000"));
  EXPECT_THAT(ticks("0 * 29 2 *", "Europe/Berlin", "2096-03-01 00:00", 1),
              ElementsAre("Fri 2104-02-29 00:00 +0100"));
}

TEST(Cron, ASkippedTimeHappensAtTheJump) {
  EXPECT_THAT(ticks("30 2 * * *", "Europe/Berlin", "2026-03-28 00:00", 3),
              ElementsAre("Sat 2026-03-28 02:30 +0100", "Sun 2026-03-29 03:00 +0200",
                          "Mon 2026-03-30 02:30 +0200"));
  // Once for all that are skipped, and for the time the clocks jump to.
  EXPECT_THAT(ticks("*/30 2-3 * * *", "Europe/Berlin", "2026-03-28 03:30", 3),
              ElementsAre("Sun 2026-03-29 03:00 +0200", "Sun 2026-03-29 03:30 +0200",
                          "Mon 2026-03-30 02:00 +0200"));
  // A day that a whole country skipped.
  EXPECT_THAT(ticks("0 6 30 12 *", "Pacific/Apia", "2010-12-31 00:00", 2),
              ElementsAre("Sat 2011-12-31 00:00 +1400", "Sun 2012-12-30 06:00 +1400"));
}

TEST(Cron, ATimeThatComesTwiceHappensTheFirstTime) {
  EXPECT_THAT(ticks("30 2 * * *", "Europe/Berlin", "2026-10-24 03:00", 2),
              ElementsAre("Sun 2026-10-25 02:30 +0200", "Mon 2026-10-26 02:30 +0100"));
  EXPECT_THAT(ticks("15,45 1 * * *", "America/New_York", "2026-10-31 02:00", 3),
              ElementsAre("Sun 2026-11-01 01:15 -0400", "Sun 2026-11-01 01:45 -0400",
                          "Mon 2026-11-02 01:15 -0500"));
}

TEST(Cron, EveryHourThatPassesHasItsTicks) {
  EXPECT_THAT(ticks("30 * * * *", "Europe/Berlin", "2026-10-25 01:30", 4),
              ElementsAre("Sun 2026-10-25 02:30 +0200", "Sun 2026-10-25 02:30 +0100",
                          "Sun 2026-10-25 03:30 +0100", "Sun 2026-10-25 04:30 +0100"));
  EXPECT_THAT(ticks("@hourly", "Europe/Berlin", "2026-03-29 00:00", 3),
              ElementsAre("Sun 2026-03-29 01:00 +0100", "Sun 2026-03-29 03:00 +0200",
                          "Sun 2026-03-29 04:00 +0200"));
  // Half an hour, twice and left out.
  EXPECT_THAT(ticks("*/15 * * * *", "Australia/Lord_Howe", "2026-04-05 01:30", 4),
              ElementsAre("Sun 2026-04-05 01:45 +1100", "Sun 2026-04-05 01:30 +1030",
                          "Sun 2026-04-05 01:45 +1030", "Sun 2026-04-05 02:00 +1030"));
}

TEST(Cron, ErrorsNameThePartAndWhatIsAllowed) {
  EXPECT_THAT(refusal("60 * * * *"), HasSubstr("the minute '60' is not allowed: use 0-59"));
  EXPECT_THAT(refusal("* 24 * * *"), HasSubstr("the hour '24' is not allowed: use 0-23"));
  EXPECT_THAT(refusal("* * 0 * *"), HasSubstr("the day of month '0'"));
  EXPECT_THAT(refusal("* * * FOO *"), HasSubstr("use 1-12 or JAN-DEC"));
  EXPECT_THAT(refusal("* * * * 8"), HasSubstr("use 0-7 or SUN-SAT"));
  EXPECT_THAT(refusal("30-10 * * * *"), HasSubstr("runs backwards"));
  EXPECT_THAT(refusal("*/0 * * * *"), HasSubstr("step"));
  EXPECT_THAT(refusal("5/10 * * * *"), HasSubstr("without a range"));
  EXPECT_THAT(refusal("1,,2 * * * *"), HasSubstr("the minute ''"));
  EXPECT_THAT(refusal("-1 * * * *"), HasSubstr("the minute '-1'"));
  EXPECT_THAT(refusal("* * * *"), HasSubstr("has 4 fields: use five"));
  EXPECT_THAT(refusal("* * * * * *"), HasSubstr("has 6 fields"));
  EXPECT_THAT(refusal(""), HasSubstr("has 0 fields"));
  EXPECT_THAT(refusal("@fortnightly"), HasSubstr("@weekly"));
}

TEST(Cron, ADayThatNoYearHasIsRefused) {
  EXPECT_THAT(refusal("0 0 30 FEB *"), HasSubstr("no year has the day 30 in the month FEB"));
  EXPECT_THAT(refusal("0 0 31 2,4,6,9,11 *"), HasSubstr("no year has"));
  EXPECT_EQ(refusal("0 0 29 2 *"), "accepted");
  EXPECT_EQ(refusal("0 0 30 2 MON"), "accepted");  // either day is enough
}

TEST(Cron, AnExpressionHasABound) {
  std::string list = "0";
  while (list.size() + 10 <= limits::kCronBytes) list += ",1";
  EXPECT_EQ(refusal(list + " * * * *"), "accepted");
  const std::string blanks(limits::kCronBytes + 1 - 9, ' ');
  EXPECT_EQ(refusal("* * * * *" + blanks.substr(1)), "accepted");
  EXPECT_THAT(refusal("* * * * *" + blanks), HasSubstr("use at most 256"));
}

TEST(Cron, UnknownTimeZonesAreRefused) {
  for (const std::string name :
       {"Europe/Atlantis", "/etc/localtime", "../zoneinfo/UTC", "localtime", "Europe", "Ünited"}) {
    const auto zone = find_time_zone("time_zone", name);
    ASSERT_FALSE(zone.ok()) << name;
    EXPECT_EQ(field_of(zone.status()), "time_zone");
  }
  EXPECT_TRUE(find_time_zone("time_zone", "").ok());
  EXPECT_TRUE(find_time_zone("time_zone", "America/Argentina/Buenos_Aires").ok());
}

TEST(Cron, NothingAfterTheLastYear) {
  EXPECT_FALSE(cron_of("@hourly").next(253'402'300'799'000, absl::UTCTimeZone()).has_value());
  EXPECT_FALSE(cron_of("@hourly").next(INT64_MAX, absl::UTCTimeZone()).has_value());
  EXPECT_TRUE(cron_of("@hourly").next(INT64_MIN, absl::UTCTimeZone()).has_value());
}

// One field, as text and as the values it names.
struct Field {
  std::string text;
  std::set<int> values;
};
Field random_field(Random& random, int low, int high, bool all) {
  Field field;
  if (all) {
    field.text = "*";
    for (int i = low; i <= high; ++i) field.values.insert(i);
    return field;
  }
  const auto pick = [&](int from) {
    return from + static_cast<int>(random.below(static_cast<uint64_t>(high - from + 1)));
  };
  for (uint64_t parts = 1 + random.below(3); parts > 0; --parts) {
    const int first = pick(low);
    const int last = random.below(2) == 0 ? first : pick(first);
    const int step = 1 + static_cast<int>(random.below(4));
    if (!field.text.empty()) field.text += ",";
    field.text += std::to_string(first);
    if (last != first) field.text += "-" + std::to_string(last) + "/" + std::to_string(step);
    for (int i = first; i <= last; i += step) field.values.insert(i);
  }
  return field;
}

Field random_day(Random& random) {
  const bool all = random.below(2) == 0;
  return random_field(random, 1, all ? 31 : 28, all);
}

// What Cron is to do, found by looking at every minute.
struct Oracle {
  explicit Oracle(Random& random)
      : minute(random_field(random, 0, 59, random.below(4) == 0)),
        hour(random_field(random, 0, 23, random.below(3) == 0)),
        day(random_day(random)),
        month(random_field(random, 1, 12, random.below(2) == 0)),
        weekday(random_field(random, 0, 6, random.below(2) == 0)) {}
  std::string text() const {
    return minute.text + " " + hour.text + " " + day.text + " " + month.text + " " + weekday.text;
  }
  bool matches(absl::CivilMinute at) const {
    const absl::CivilDay date(at);
    const int in_week = static_cast<int>(date - absl::CivilDay(2023, 1, 1)) % 7;  // a Sunday
    const bool by_month = day.values.contains(at.day());
    const bool by_week = weekday.values.contains((in_week + 7) % 7);
    const bool either = day.text != "*" && weekday.text != "*" && weekday.values.size() < 7;
    return minute.values.contains(at.minute()) && hour.values.contains(at.hour()) &&
           month.values.contains(at.month()) &&
           (either ? by_month || by_week : by_month && by_week);
  }
  Field minute, hour, day, month, weekday;
};

TEST(Cron, AgreesWithALookAtEveryMinuteAroundEachChangeOfTheClocks) {
  Random random(7);
  size_t compared = 0;
  for (const std::string name :
       {"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo",
        "Africa/Casablanca", "Pacific/Apia", "Asia/Kathmandu", "Atlantic/Azores"}) {
    const absl::TimeZone zone = zone_of(name);
    absl::Time after = absl::FromCivil(absl::CivilDay(2009, 1, 1), zone);
    for (int change = 0; change < 8; ++change) {
      absl::TimeZone::CivilTransition transition;
      absl::Time middle = after + absl::Hours(24 * 100);
      if (zone.NextTransition(after, &transition)) {
        middle = absl::FromCivil(transition.from, zone);
      }
      after = middle + absl::Hours(48);
      const absl::Time begin =
          absl::FromUnixSeconds((absl::ToUnixSeconds(middle) / 60 - 2000) * 60);
      std::vector<absl::CivilMinute> clock;
      for (int i = 0; i < 4500; ++i) {
        clock.emplace_back(zone.At(begin + absl::Minutes(i)).cs);
      }
      for (int expression = 0; expression < 8; ++expression) {
        const Oracle oracle(random);
        const Cron cron = cron_of(oracle.text());
        std::vector<int> expected;
        absl::CivilMinute seen = clock.front();
        for (int i = 1; i < static_cast<int>(clock.size()); ++i) {
          bool tick = false;
          if (oracle.hour.values.size() == 24) {
            tick = oracle.matches(clock[i]);
          } else {
            while (seen < clock[i]) tick |= oracle.matches(++seen);
          }
          if (tick) expected.push_back(i);
        }
        std::vector<int> found;
        int64_t at = absl::ToUnixMillis(begin);
        for (;;) {
          const auto next = cron.next(at, zone);
          if (!next) break;
          const int64_t minute = (*next - absl::ToUnixMillis(begin)) / 60'000;
          if (minute >= static_cast<int64_t>(clock.size())) break;
          found.push_back(static_cast<int>(minute));
          at = *next;
        }
        ASSERT_EQ(found, expected) << oracle.text() << " in " << name << " from " << begin;
        compared += expected.size();
      }
    }
  }
  EXPECT_GT(compared, 10'000u);
}

TEST(Cron, NextIsTheSameFromAnywhereBeforeIt) {
  Random random(11);
  const absl::TimeZone zone = zone_of("America/Sao_Paulo");
  for (int i = 0; i < 200; ++i) {
    const Cron cron = cron_of(Oracle(random).text());
    const int64_t from = static_cast<int64_t>(random.below(4'000'000'000)) * 1000;
    const auto next = cron.next(from, zone);
    ASSERT_TRUE(next.has_value());
    ASSERT_GT(*next, from);
    const auto between =
        from + static_cast<int64_t>(random.below(static_cast<uint64_t>(*next - from)));
    ASSERT_EQ(cron.next(between, zone), next);
    ASSERT_EQ(cron.next(*next - 1, zone), next);
  }
}

TEST(Cron, AnyTextIsReadOrRefused) {
  Random random(13);
  constexpr std::string_view kPieces[] = {"*",  "/",    "-", ",",   " ",   "0",
                                          "5",  "59",   "@", "MON", "jan", "999999999999",
                                          "\t", "\xff", "7", "31",  "?"};
  size_t accepted = 0;
  for (int i = 0; i < 50'000; ++i) {
    std::string text;
    for (uint64_t fields = 4 + random.below(3); fields > 0; --fields) {
      for (uint64_t n = random.below(3) == 0 ? random.below(6) : 1; n > 0; --n) {
        text += kPieces[random.below(std::size(kPieces))];
      }
      text += " ";
    }
    const auto cron = Cron::parse("cron", text);
    if (!cron.ok()) {
      ASSERT_EQ(field_of(cron.status()), "cron");
      continue;
    }
    ++accepted;
    const auto next = cron->next(1'700'000'000'000, absl::UTCTimeZone());
    ASSERT_TRUE(next.has_value()) << text;
    ASSERT_GT(*next, 1'700'000'000'000);
  }
  EXPECT_GT(accepted, 10u);
}

}  // namespace
}  // namespace weft
