// Which of the ticks that are due become jobs.
#include <gtest/gtest.h>

#include <vector>

#include <weft/base/limits.h>
#include <weft/base/random.h>
#include <weft/jobs/schedule_policy.h>

namespace weft {
namespace {

constexpr int64_t kMinute = 60'000;
constexpr int64_t kHour = 60 * kMinute;
constexpr int64_t kStart = 1'700'000'400'000;  // a full minute

Timetable clock_table(const std::string& expression) {
  return {*Cron::parse("cron", expression), absl::UTCTimeZone()};
}

TEST(Timetable, AnIntervalNeverDrifts) {
  const Timetable table(kStart, 7000);
  EXPECT_EQ(table.next(kStart - 1), kStart + 7000);
  EXPECT_EQ(table.next(kStart), kStart + 7000);
  EXPECT_EQ(table.next(kStart + 6999), kStart + 7000);
  EXPECT_EQ(table.next(kStart + 7000), kStart + 14'000);
  EXPECT_EQ(table.next(kStart + 7'000'000'123), kStart + 7'000'007'000);
}

TEST(Timetable, CountsAndFindsTheLastOnes) {
  const Timetable table = clock_table("*/10 * * * *");
  const int64_t begin = *table.next(kStart);
  EXPECT_EQ(table.count(begin - 1, begin + 30 * kMinute, 100), 4u);
  EXPECT_EQ(table.count(begin, begin + 30 * kMinute, 100), 3u);
  EXPECT_EQ(table.count(begin, begin + 30 * kMinute, 2), 2u);
  EXPECT_EQ(table.last(begin, begin + 35 * kMinute), begin + 30 * kMinute);
  EXPECT_EQ(table.last(begin, begin + 30 * kMinute, 2), begin + 10 * kMinute);
  EXPECT_EQ(table.last(begin, begin + 30 * kMinute, 3), std::nullopt);
  EXPECT_EQ(table.last(begin, begin + kMinute), std::nullopt);
}

TEST(CatchUpPolicy, ATickInTimeIsFiredWhateverThePolicy) {
  const Timetable table = clock_table("@hourly");
  const int64_t tick = *table.next(kStart);
  for (const CatchUp policy : {CatchUp::kSkip, CatchUp::kOne, CatchUp::kAll}) {
    for (const int64_t late : {int64_t{0}, kTickGraceMs - 1}) {
      const DueTicks due = decide_ticks(table, tick, tick + late, policy);
      EXPECT_EQ(due.fire_ms, tick);
      EXPECT_EQ(due.skipped, 0u);
      EXPECT_EQ(due.next_ms, tick + kHour);
    }
  }
}

TEST(CatchUpPolicy, SkipLeavesOutWhatIsLate) {
  const Timetable table = clock_table("@hourly");
  const int64_t tick = *table.next(kStart);
  const DueTicks one = decide_ticks(table, tick, tick + kTickGraceMs, CatchUp::kSkip);
  EXPECT_EQ(one.fire_ms, std::nullopt);
  EXPECT_EQ(one.skipped, 1u);
  EXPECT_EQ(one.next_ms, tick + kHour);
  const DueTicks many = decide_ticks(table, tick, tick + 5 * kHour + 1, CatchUp::kSkip);
  EXPECT_EQ(many.fire_ms, tick + 5 * kHour);  // hardly late
  EXPECT_EQ(many.skipped, 5u);
  EXPECT_EQ(many.next_ms, tick + 6 * kHour);
}

TEST(CatchUpPolicy, OneMakesUpForTheLatest) {
  const Timetable table = clock_table("@hourly");
  const int64_t tick = *table.next(kStart);
  const DueTicks due = decide_ticks(table, tick, tick + 5 * kHour + kHour / 2, CatchUp::kOne);
  EXPECT_EQ(due.fire_ms, tick + 5 * kHour);
  EXPECT_EQ(due.skipped, 5u);
  EXPECT_EQ(due.next_ms, tick + 6 * kHour);
}

TEST(CatchUpPolicy, AllMakesUpForTheLastHundredOneByOne) {
  const Timetable table(kStart, 1000);
  int64_t next = kStart + 1000;
  const int64_t now = next + 249'500;  // 250 are due
  std::vector<int64_t> fired;
  uint64_t skipped = 0;
  while (next <= now) {
    const DueTicks due = decide_ticks(table, next, now, CatchUp::kAll);
    ASSERT_TRUE(due.fire_ms && due.next_ms);
    fired.push_back(*due.fire_ms);
    skipped += due.skipped;
    ASSERT_GT(*due.next_ms, next);
    next = *due.next_ms;
  }
  EXPECT_EQ(skipped, 150u);
  ASSERT_EQ(fired.size(), limits::kCatchUp);
  EXPECT_EQ(fired.front(), kStart + 151'000);
  EXPECT_EQ(fired.back(), kStart + 250'000);
  EXPECT_EQ(next, kStart + 251'000);
}

TEST(CatchUpPolicy, YearsThatWereMissedAreDecidedAtOnce) {
  const Timetable table = clock_table("* * * * *");
  const int64_t tick = *table.next(kStart);
  const int64_t now = tick + 20 * 365 * 24 * kHour;
  const DueTicks one = decide_ticks(table, tick, now, CatchUp::kOne);
  EXPECT_EQ(one.fire_ms, now);
  EXPECT_EQ(one.skipped, kTicksCounted);
  const DueTicks all = decide_ticks(table, tick, now, CatchUp::kAll);
  EXPECT_EQ(all.fire_ms, now - 99 * kMinute);
  EXPECT_EQ(all.skipped, kTicksCounted);
  const DueTicks none = decide_ticks(table, tick, now + kMinute - 1, CatchUp::kSkip);
  EXPECT_EQ(none.fire_ms, now);
}

TEST(CatchUpPolicy, ATickThatTheTimetableHasNoLongerStillCounts) {
  const Timetable table = clock_table("@hourly");
  const int64_t tick = *table.next(kStart) + kMinute;
  const DueTicks due = decide_ticks(table, tick, tick + 1, CatchUp::kSkip);
  EXPECT_EQ(due.fire_ms, tick);
  EXPECT_EQ(due.next_ms, tick - kMinute + kHour);
}

// Whatever the policy and however often it is asked, every tick is decided once and in order.
TEST(CatchUpPolicy, EachTickIsDecidedOnce) {
  Random random(3);
  const Timetable tables[] = {clock_table("*/7 * * * *"), clock_table("3 1,2 * * *"),
                              Timetable(kStart, 90'000)};
  for (int run = 0; run < 300; ++run) {
    const Timetable& table = tables[run % 3];
    const auto policy = static_cast<CatchUp>(run / 3 % 3);
    const int64_t first = *table.next(kStart);
    int64_t next = first;
    int64_t now = kStart;
    uint64_t decided = 0;
    int64_t last_fired = 0;
    for (int step = 0; step < 20; ++step) {
      now += static_cast<int64_t>(random.below(random.below(4) == 0 ? 20 * kHour : kHour / 6));
      while (next <= now) {
        const DueTicks due = decide_ticks(table, next, now, policy);
        decided += due.skipped + (due.fire_ms ? 1 : 0);
        if (due.fire_ms) {
          ASSERT_GT(*due.fire_ms, last_fired);
          ASSERT_GE(*due.fire_ms, next);
          ASSERT_LE(*due.fire_ms, now);
          last_fired = *due.fire_ms;
        }
        ASSERT_GT(*due.next_ms, next);
        next = *due.next_ms;
      }
    }
    ASSERT_EQ(decided, table.count(first - 1, now, 1'000'000)) << run;
  }
}

TEST(OverlapPolicy, SaysWhatATickDoesWhileTheJobBeforeLives) {
  for (const Overlap overlap : {Overlap::kSkip, Overlap::kQueue, Overlap::kCancelPrevious}) {
    EXPECT_EQ(decide_overlap(overlap, false), TickAction::kFire);
  }
  EXPECT_EQ(decide_overlap(Overlap::kSkip, true), TickAction::kSkip);
  EXPECT_EQ(decide_overlap(Overlap::kQueue, true), TickAction::kWait);
  EXPECT_EQ(decide_overlap(Overlap::kCancelPrevious, true), TickAction::kCancelFirst);
}

}  // namespace
}  // namespace weft
