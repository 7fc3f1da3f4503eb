// The contract of ScheduleStore, on every store.
#include <gmock/gmock.h>

#include <weft/base/limits.h>
#include <weft/runtime/combinators.h>
#include <weft/runtime/sleep.h>

#include "tests/store_contract/fixture.h"

namespace weft::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

v1::Schedule schedule(const std::string& name, const std::string& queue = "first") {
  v1::Schedule schedule;
  schedule.set_name(name);
  schedule.set_cron("@daily");
  schedule.mutable_job()->set_queue(queue);
  return schedule;
}

std::vector<std::string> names(const std::vector<StoredSchedule>& all) {
  std::vector<std::string> out;
  for (const StoredSchedule& one : all) out.push_back(one.schedule.name());
  return out;
}

Task<DueSchedules> due(Harness& harness, size_t max) {
  auto answer = co_await harness.store().due_schedules(max);
  EXPECT_TRUE(answer.ok()) << answer.status();
  co_return answer.ok() ? *std::move(answer) : DueSchedules();
}

STORE_TEST(AScheduleIsStoredUnderItsNameAndVersion) {
  Store& store = harness.store();
  const auto none = co_await store.get_schedule("a");
  EXPECT_EQ(none.status().code(), StatusCode::kNotFound) << none.status();
  const auto first = co_await store.put_schedule(schedule("a"), 0, std::nullopt);
  WEFT_ASSERT(first.ok());
  EXPECT_GT(*first, 0u);
  const auto stored = co_await store.get_schedule("a");
  WEFT_ASSERT(stored.ok());
  EXPECT_EQ(stored->version, *first);
  EXPECT_EQ(stored->schedule.SerializeAsString(), schedule("a").SerializeAsString());
  const auto second = co_await store.put_schedule(schedule("a", "second"), *first, std::nullopt);
  WEFT_ASSERT(second.ok());
  EXPECT_NE(*second, *first);
  const auto changed = co_await store.get_schedule("a");
  WEFT_ASSERT(changed.ok());
  EXPECT_EQ(changed->schedule.job().queue(), "second");
}

STORE_TEST(OfTwoChangesOfOneVersionOneIsMade) {
  Store& store = harness.store();
  const auto first = co_await store.put_schedule(schedule("a"), 0, std::nullopt);
  WEFT_ASSERT(first.ok());
  const auto taken = co_await store.put_schedule(schedule("a"), 0, std::nullopt);
  EXPECT_EQ(taken.status().code(), StatusCode::kAborted) << taken.status();
  const auto won = co_await store.put_schedule(schedule("a", "won"), *first, std::nullopt);
  const auto lost = co_await store.put_schedule(schedule("a", "lost"), *first, std::nullopt);
  EXPECT_TRUE(won.ok()) << won.status();
  EXPECT_EQ(lost.status().code(), StatusCode::kAborted) << lost.status();
  const auto stored = co_await store.get_schedule("a");
  WEFT_ASSERT(stored.ok());
  EXPECT_EQ(stored->schedule.job().queue(), "won");
}

STORE_TEST(AScheduleThatIsGoneIsNotChangedOrRemoved) {
  Store& store = harness.store();
  const auto put = co_await store.put_schedule(schedule("a"), 7, std::nullopt);
  EXPECT_EQ(put.status().code(), StatusCode::kNotFound) << put.status();
  const auto first = co_await store.put_schedule(schedule("a"), 0, 1);
  WEFT_ASSERT(first.ok());
  const Status other = co_await store.remove_schedule("a", *first + 1);
  EXPECT_EQ(other.code(), StatusCode::kAborted) << other;
  const Status removed = co_await store.remove_schedule("a", *first);
  EXPECT_TRUE(removed.ok()) << removed;
  const Status again = co_await store.remove_schedule("a", *first);
  EXPECT_EQ(again.code(), StatusCode::kNotFound) << again;
  const DueSchedules left = co_await due(harness, 10);
  EXPECT_THAT(left.schedules, IsEmpty());
  EXPECT_FALSE(left.next_in.has_value());
  EXPECT_EQ(left.total, 0u);
  // The next one of the name is another: who knew the first cannot change it.
  const auto next = co_await store.put_schedule(schedule("a"), 0, std::nullopt);
  WEFT_ASSERT(next.ok());
  EXPECT_NE(*next, *first);
  const auto late = co_await store.put_schedule(schedule("a"), *first, std::nullopt);
  EXPECT_EQ(late.status().code(), StatusCode::kAborted) << late.status();
  co_await harness.must(store.remove_schedule("a", 0));
  const Status nothing = co_await store.remove_schedule("a", 0);
  EXPECT_EQ(nothing.code(), StatusCode::kNotFound) << nothing;
}

STORE_TEST(SchedulesAreListedByName) {
  for (const char* name : {"b", "a.2", "C", "a-1", "a"}) {
    co_await harness.must(harness.store().put_schedule(schedule(name), 0, std::nullopt));
  }
  const auto page = co_await harness.store().list_schedules("", 3);
  WEFT_ASSERT(page.ok());
  EXPECT_THAT(names(*page), ElementsAre("C", "a", "a-1"));
  const auto rest = co_await harness.store().list_schedules("a-1", 3);
  WEFT_ASSERT(rest.ok());
  EXPECT_THAT(names(*rest), ElementsAre("a.2", "b"));
  EXPECT_GT(rest->front().version, 0u);
  const auto none = co_await harness.store().list_schedules("", 0);
  WEFT_ASSERT(none.ok());
  EXPECT_THAT(*none, IsEmpty());
}

STORE_TEST(SchedulesComeWhenTheyAreDueAndTheLongestWaitingFirst) {
  const DueSchedules empty = co_await due(harness, 10);
  const int64_t now_ms = empty.now_ms;
  EXPECT_EQ(now_ms, EventLoop::current()->wall_ns() / 1'000'000);
  Store& store = harness.store();
  const auto put = [&](const char* name, std::optional<int64_t> wake_ms) {
    return harness.must(store.put_schedule(schedule(name), 0, wake_ms));
  };
  co_await put("never", std::nullopt);
  co_await put("later", now_ms + 60'000);
  co_await put("soon", now_ms + 10'000);
  co_await put("past", now_ms - 10'000);
  const DueSchedules at_first = co_await due(harness, 10);
  EXPECT_THAT(names(at_first.schedules), ElementsAre("past"));
  EXPECT_EQ(at_first.total, 4u);
  WEFT_ASSERT(at_first.next_in.has_value());
  EXPECT_LE(*at_first.next_in, std::chrono::seconds(10));
  EXPECT_GT(*at_first.next_in, std::chrono::seconds(9));
  co_await sleep_for(std::chrono::seconds(10));
  const DueSchedules one = co_await due(harness, 1);
  EXPECT_THAT(names(one.schedules), ElementsAre("past"));
  EXPECT_EQ(one.next_in, std::chrono::milliseconds(0));
  const DueSchedules two = co_await due(harness, 2);
  EXPECT_THAT(names(two.schedules), ElementsAre("past", "soon"));
  const DueSchedules nothing = co_await due(harness, 0);
  EXPECT_THAT(nothing.schedules, IsEmpty());
  EXPECT_EQ(nothing.next_in, std::chrono::milliseconds(0));
  // A change gives it another time, or none.
  co_await harness.must(
      store.put_schedule(schedule("past"), two.schedules[0].version, std::nullopt));
  co_await harness.must(
      store.put_schedule(schedule("soon"), two.schedules[1].version, now_ms + 60'001));
  const DueSchedules after = co_await due(harness, 10);
  EXPECT_THAT(after.schedules, IsEmpty());
  co_await sleep_for(std::chrono::seconds(51));
  const DueSchedules last = co_await due(harness, 10);
  EXPECT_THAT(names(last.schedules), ElementsAre("later", "soon"));
  EXPECT_FALSE(last.next_in.has_value());
}

STORE_TEST(ThereIsABoundOfSchedules) {
  Store& store = harness.store();
  for (size_t i = 0; i < limits::kSchedules;) {
    std::vector<Task<StatusOr<uint64_t>>> some;
    for (; i < limits::kSchedules && some.size() < 500; ++i) {
      some.push_back(store.put_schedule(schedule("s" + std::to_string(i)), 0, std::nullopt));
    }
    const auto answers = co_await all_of(std::move(some));
    for (const auto& answer : answers) EXPECT_TRUE(answer.ok()) << answer.status();
  }
  const auto refused = co_await store.put_schedule(schedule("one more"), 0, std::nullopt);
  EXPECT_EQ(refused.status().code(), StatusCode::kResourceExhausted) << refused.status();
  const auto there = co_await store.get_schedule("s0");
  WEFT_ASSERT(there.ok());
  co_await harness.must(store.put_schedule(schedule("s0"), there->version, 5));
  const auto again = co_await store.get_schedule("s0");
  WEFT_ASSERT(again.ok());
  co_await harness.must(store.remove_schedule("s0", again->version));
  const auto fits = co_await store.put_schedule(schedule("one more"), 0, std::nullopt);
  EXPECT_TRUE(fits.ok()) << fits.status();
}

}  // namespace
}  // namespace weft::testing
