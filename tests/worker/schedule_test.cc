// Schedules in daemons that die: each tick becomes one job, whatever happens.
#include <gmock/gmock.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include <weft/base/limits.h>
#include <weft/runtime/task_group.h>
#include <weft/store/check_schedule.h>
#include <weft/store/memory/memory_store.h>
#include <weft/worker/schedule_runner.h>

#include "tests/support/coro_test.h"
#include "tests/support/store_wrapper.h"

namespace weft::testing {
namespace {

using google::protobuf::util::TimeUtil;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

int64_t now_ms() { return EventLoop::current()->wall_ns() / 1'000'000; }

// One daemon's view of the store that all share. At its `crash_at`th call it dies: before the call
// is made, or before it has the answer.
class Process final : public StoreWrapper {
 public:
  explicit Process(Store& shared) : StoreWrapper(nullptr), shared_(shared) {}
  bool shared() const override { return true; }
  Task<StatusOr<uint64_t>> put_schedule(v1::Schedule schedule, uint64_t expected,
                                        std::optional<int64_t> wake_ms) override {
    return call(shared_.put_schedule(std::move(schedule), expected, wake_ms));
  }
  Task<StatusOr<DueSchedules>> due_schedules(size_t max) override {
    most_asked = std::max(most_asked, max);
    return call(shared_.due_schedules(max));
  }
  Task<StatusOr<std::vector<StoredSchedule>>> list_schedules(std::string after,
                                                             size_t max) override {
    return call(shared_.list_schedules(std::move(after), max));
  }
  Task<StatusOr<v1::Job>> get(std::string job_id, bool with_payload) override {
    return call(shared_.get(std::move(job_id), with_payload));
  }
  Task<std::vector<StatusOr<Submitted>>> submit(std::vector<v1::JobSpec> specs) override {
    return call(shared_.submit(std::move(specs)));
  }
  Task<StatusOr<v1::CancelResponse>> cancel(std::string job_id, std::string reason) override {
    return call(shared_.cancel(std::move(job_id), std::move(reason)));
  }

  // A life of the daemon: ends with its crash, or when `until_ms` has come.
  Task<void> live(int64_t until_ms, size_t crash_call = SIZE_MAX, bool crash_answered = false) {
    calls = 0;
    crash_at = crash_call;
    answered = crash_answered;
    // Lives of one seed would give one id to jobs of two schedules.
    static uint64_t lives = 0;
    ScheduleRunner runner(*this, Random(++lives));
    auto body = [&](TaskGroup& group) -> Task<void> {
      group_ = &group;
      group.start([](ScheduleRunner* its) { return its->run(); }, &runner);
      co_await sleep_for(milliseconds(until_ms - now_ms()));
      group.cancel(CancelReason::kShutdown);
    };
    co_await with_group(body);
    group_ = nullptr;
  }
  bool crashed() const { return calls >= crash_at; }

  size_t calls = 0;
  size_t crash_at = SIZE_MAX;
  bool answered = false;
  size_t most_asked = 0;

 private:
  template <typename T>
  Task<T> call(Task<T> inner_call) {
    const bool last = ++calls == crash_at;
    if (last && !answered) group_->cancel(CancelReason::kShutdown);
    T answer = co_await inner_call;
    if (last) group_->cancel(CancelReason::kShutdown);
    co_await yield_now();
    co_return answer;
  }
  Store& shared_;
  TaskGroup* group_ = nullptr;
};

v1::Schedule every(const std::string& name, int64_t interval_ms) {
  v1::Schedule schedule;
  schedule.set_name(name);
  *schedule.mutable_interval() = TimeUtil::MillisecondsToDuration(interval_ms);
  schedule.mutable_job()->set_type("tick");
  schedule.set_catch_up(v1::CATCH_UP_POLICY_ALL);
  const Status status = check_schedule(schedule, EventLoop::current()->wall_ns());
  EXPECT_TRUE(status.ok()) << status;
  *schedule.mutable_create_time() = TimeUtil::MillisecondsToTimestamp(now_ms());
  *schedule.mutable_next_time() = TimeUtil::MillisecondsToTimestamp(now_ms() + interval_ms);
  return schedule;
}

Task<void> add(Store& store, v1::Schedule schedule) {
  const auto look = next_look_ms(schedule, now_ms());
  Task<StatusOr<uint64_t>> call = store.put_schedule(std::move(schedule), 0, look);
  const auto put = co_await call;
  EXPECT_TRUE(put.ok()) << put.status();
}

Task<v1::Schedule> get(Store& store, std::string name) {
  Task<StatusOr<StoredSchedule>> call = store.get_schedule(std::move(name));
  const auto stored = co_await call;
  EXPECT_TRUE(stored.ok()) << stored.status();
  co_return stored.ok() ? stored->schedule : v1::Schedule();
}

// The same, but no tick is left out while the job before lives.
v1::Schedule every_one(const std::string& name, int64_t interval_ms) {
  v1::Schedule schedule = every(name, interval_ms);
  schedule.set_overlap(v1::OVERLAP_POLICY_QUEUE);
  return schedule;
}

// Runs every job at once, and counts the jobs of each tick.
class Ledger {
 public:
  static constexpr Incarnation kWorker{1, 2};
  explicit Ledger(Store& store) : store_(store) {}
  Task<void> work() {
    for (;;) {
      co_await sleep_for(milliseconds(10));
      co_await take_all();
    }
  }
  Task<void> take_all() {
    for (;;) {
      TakeRequest take{.worker = kWorker, .worker_name = "w", .max_jobs = 1000};
      Task<StatusOr<Taken>> call = store_.settle_and_take({}, take);
      const auto taken = co_await call;
      if (!taken.ok() || taken->jobs.empty()) co_return;
      std::vector<Settlement> settlements;
      for (const v1::Job& job : taken->jobs) {
        ++ticks[job.spec().metadata().at("weft.schedule")][job.spec().metadata().at("weft.tick")];
        ++jobs;
        settlements.emplace_back(Token(job.spec().id(), job.attempt(), kWorker),
                                 v1::JOB_STATE_SUCCEEDED, v1::Outcome(), 0);
      }
      take.max_jobs = 0;
      Task<StatusOr<Taken>> end = store_.settle_and_take(std::move(settlements), take);
      const auto ended = co_await end;
      EXPECT_TRUE(ended.ok());
    }
  }
  size_t doubled() const {
    size_t count = 0;
    for (const auto& [name, times] : ticks) {
      for (const auto& [time, its] : times) count += its > 1 ? 1 : 0;
    }
    return count;
  }
  std::map<std::string, std::map<std::string, int>> ticks;
  size_t jobs = 0;

 private:
  Store& store_;
};

CORO_TEST(Schedules, ATickIsFiredOnceWhereverTheDaemonDies) {
  size_t crashes = 0;
  for (const bool answered : {false, true}) {
    for (size_t crash_at = 1; crash_at <= 60; ++crash_at) {
      const std::unique_ptr<Store> store = make_memory_store({});
      co_await add(*store, every_one("s", 1000));
      const int64_t begin = now_ms();
      Ledger ledger(*store);
      auto body = [&](TaskGroup& group) -> Task<void> {
        group.start([](Ledger* its) { return its->work(); }, &ledger);
        Process first(*store);
        co_await first.live(begin + 8500, crash_at, answered);
        crashes += first.crashed() ? 1 : 0;
        Process second(*store);
        co_await second.live(begin + 12'500);
        co_await sleep_for(milliseconds(20));
        group.cancel(CancelReason::kShutdown);
      };
      co_await with_group(body);
      EXPECT_EQ(ledger.ticks["s"].size(), 12u) << crash_at << answered;
      EXPECT_EQ(ledger.jobs, 12u) << crash_at << answered;
      const v1::Schedule schedule = co_await get(*store, "s");
      EXPECT_EQ(schedule.fired(), 12u) << schedule.ShortDebugString();
      EXPECT_EQ(schedule.skipped(), 0u);
      EXPECT_FALSE(schedule.has_pending());
      Task<void> close = store->close();
      co_await close;
    }
  }
  EXPECT_GT(crashes, 80u);
}

CORO_TEST(Schedules, TenThousandTicksOverManyCrashesOfSeveralDaemons) {
  constexpr size_t kSchedules = 100;
  constexpr size_t kTicks = 100;
  const std::unique_ptr<Store> store = make_memory_store({});
  const int64_t begin = now_ms();
  for (size_t i = 0; i < kSchedules; ++i) {
    co_await add(*store, every_one("s" + std::to_string(i), 1000));
  }
  const int64_t end = begin + static_cast<int64_t>(kTicks) * 1000 + 500;
  Ledger ledger(*store);
  size_t crashes = 0;
  auto daemon = [](Store* shared, int64_t until, uint64_t seed, size_t* count) -> Task<void> {
    Random random(seed);
    Process process(*shared);
    while (now_ms() < until) {
      co_await process.live(until, 1 + random.below(6000), random.below(2) == 0);
      if (process.crashed()) ++*count;
      if (now_ms() < until) co_await sleep_for(milliseconds(random.below(5000)));
    }
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start([](Ledger* its) { return its->work(); }, &ledger);
    auto daemons = [&](TaskGroup& all) -> Task<void> {
      for (uint64_t seed = 1; seed <= 3; ++seed)
        all.start(daemon, store.get(), end, seed, &crashes);
      co_return;
    };
    co_await with_group(daemons);
    Process last(*store);
    co_await last.live(now_ms() + 5000);
    co_await sleep_for(milliseconds(20));
    group.cancel(CancelReason::kShutdown);
  };
  co_await with_group(body);
  // None is left out, up to the one that comes next.
  for (const auto& [name, its] : ledger.ticks) {
    EXPECT_GE(its.size(), kTicks) << name;
    const v1::Schedule schedule = co_await get(*store, name);
    EXPECT_EQ(schedule.fired(), its.size()) << name;
    EXPECT_EQ(schedule.skipped(), 0u) << name;
    EXPECT_EQ(TimeUtil::TimestampToMilliseconds(schedule.next_time()),
              begin + 1000 * static_cast<int64_t>(its.size() + 1))
        << name;
  }
  EXPECT_EQ(ledger.ticks.size(), kSchedules);
  EXPECT_EQ(ledger.doubled(), 0u);
  EXPECT_GE(ledger.jobs, kSchedules * kTicks);
  EXPECT_GE(crashes, 10u);
  std::printf(
      "figure: ticks of %zu schedules over %zu crashes of daemons: %zu jobs, 0 ticks lost, "
      "%zu doubled\n",
      kSchedules, crashes, ledger.jobs, ledger.doubled());
  Task<void> close = store->close();
  co_await close;
}

CORO_TEST(Schedules, TenThousandDueAtOnceComeInBatches) {
  const std::unique_ptr<Store> store = make_memory_store({});
  for (size_t i = 0; i < limits::kSchedules; ++i) {
    co_await add(*store, every("s" + std::to_string(i), 3600'000));
  }
  Process process(*store);
  Ledger ledger(*store);
  co_await process.live(now_ms() + 3601'000);
  co_await ledger.take_all();
  EXPECT_EQ(ledger.jobs, limits::kSchedules);
  EXPECT_EQ(ledger.doubled(), 0u);
  EXPECT_EQ(process.most_asked, limits::kScheduleBatch);
  Task<void> close = store->close();
  co_await close;
}

// One schedule that a test looks at itself, at any time.
class Bench {
 public:
  Task<void> look(const std::string& name, int64_t at_ms) {
    Task<StatusOr<StoredSchedule>> call = store->get_schedule(name);
    const auto stored = co_await call;
    EXPECT_TRUE(stored.ok());
    Task<Status> looked = ticks.look_at(*stored, at_ms);
    last = co_await looked;
  }
  Task<std::vector<v1::Job>> jobs() {
    Task<StatusOr<JobPage>> call = store->list({}, "", 1000);
    auto page = co_await call;
    std::reverse(page->jobs.begin(), page->jobs.end());
    co_return std::move(page->jobs);
  }
  Task<void> finish(const std::string& id) {
    Task<StatusOr<v1::CancelResponse>> call = store->cancel(id, "done");
    const auto done = co_await call;
    EXPECT_TRUE(done.ok());
  }
  Task<void> close() { return store->close(); }
  explicit Bench(StoreOptions options = {}) : store(make_memory_store(options)) {}
  std::unique_ptr<Store> store;
  ScheduleTicks ticks{*store, Random(3)};
  Status last;
};

CORO_TEST(Schedules, AfterAJumpOfTheClockTheCatchUpPolicyDecides) {
  for (const auto policy :
       {v1::CATCH_UP_POLICY_SKIP, v1::CATCH_UP_POLICY_ONE, v1::CATCH_UP_POLICY_ALL}) {
    Bench bench;
    v1::Schedule hourly = every("s", 3600'000);
    hourly.set_catch_up(policy);
    hourly.set_overlap(v1::OVERLAP_POLICY_CANCEL_PREVIOUS);
    const int64_t begin = now_ms();
    co_await add(*bench.store, hourly);
    const int64_t later = begin + 10 * 3600'000 + 1800'000;
    for (int i = 0; i < 12; ++i) co_await bench.look("s", later);
    const v1::Schedule schedule = co_await get(*bench.store, "s");
    const uint64_t fired = policy == v1::CATCH_UP_POLICY_SKIP  ? 0
                           : policy == v1::CATCH_UP_POLICY_ONE ? 1
                                                               : 10;
    EXPECT_EQ(schedule.fired(), fired);
    EXPECT_EQ(schedule.skipped(), 10 - fired);
    EXPECT_EQ(TimeUtil::TimestampToMilliseconds(schedule.next_time()), begin + 11 * 3600'000);
    // A little back again: what was decided is not decided anew.
    for (int i = 0; i < 3; ++i) co_await bench.look("s", later - 40 * 60'000);
    const v1::Schedule after = co_await get(*bench.store, "s");
    EXPECT_EQ(after.fired(), fired);
    EXPECT_EQ(after.skipped(), 10 - fired);
    EXPECT_EQ(after.next_time().seconds(), schedule.next_time().seconds());
    // Far back: it does not wait until the clock is there again.
    for (int i = 0; i < 3; ++i) co_await bench.look("s", begin + 2 * 3600'000);
    const v1::Schedule back = co_await get(*bench.store, "s");
    EXPECT_EQ(back.fired(), fired);
    EXPECT_EQ(TimeUtil::TimestampToMilliseconds(back.next_time()), begin + 3 * 3600'000);
    co_await bench.close();
  }
}

CORO_TEST(Schedules, SkipLeavesATickOutWhileTheJobBeforeLives) {
  Bench bench;
  const int64_t begin = now_ms();
  co_await add(*bench.store, every("s", 1000));
  co_await bench.look("s", begin + 1000);
  co_await bench.look("s", begin + 2000);
  const v1::Schedule while_it_lives = co_await get(*bench.store, "s");
  EXPECT_EQ(while_it_lives.fired(), 1u);
  EXPECT_EQ(while_it_lives.skipped(), 1u);
  co_await bench.finish(while_it_lives.last_job_id());
  co_await bench.look("s", begin + 3000);
  const v1::Schedule after = co_await get(*bench.store, "s");
  EXPECT_EQ(after.fired(), 2u);
  EXPECT_NE(after.last_job_id(), while_it_lives.last_job_id());
  co_await bench.close();
}

CORO_TEST(Schedules, TicksThatAreMadeUpForWaitForOneAnother) {
  for (const int64_t interval_ms : {3600'000, 1000}) {
    Bench bench;
    const int64_t begin = now_ms();
    co_await add(*bench.store, every("s", interval_ms));
    const int64_t later = begin + 10 * interval_ms + interval_ms / 2;
    for (uint64_t tick = 1; tick <= 10; ++tick) {
      for (int i = 0; i < 3; ++i) co_await bench.look("s", later);
      const v1::Schedule schedule = co_await get(*bench.store, "s");
      // The last one is hardly late, with seconds between: it is like any tick.
      const bool skipped = tick == 10 && interval_ms == 1000;
      EXPECT_EQ(schedule.fired(), skipped ? 9 : tick);
      EXPECT_EQ(schedule.skipped(), tick >= 9 && interval_ms == 1000 ? 1u : 0u);
      co_await bench.finish(schedule.last_job_id());
    }
    const v1::Schedule schedule = co_await get(*bench.store, "s");
    EXPECT_EQ(TimeUtil::TimestampToMilliseconds(schedule.next_time()), begin + 11 * interval_ms);
    co_await bench.close();
  }
}

CORO_TEST(Schedules, OneWhoseZoneIsNotKnownHereIsLeftToOthers) {
  const std::unique_ptr<Store> store = make_memory_store({});
  v1::Schedule unknown = every("unknown", 1000);
  unknown.set_cron("* * * * *");
  unknown.set_time_zone("Mars/Base");
  unknown.set_catch_up(v1::CATCH_UP_POLICY_ONE);
  co_await add(*store, unknown);
  co_await add(*store, every_one("known", 1000));
  Ledger ledger(*store);
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start([](Ledger* its) { return its->work(); }, &ledger);
    Process process(*store);
    co_await process.live(now_ms() + 60'500);
    EXPECT_LT(process.calls, 60u * 20);
    Task<StatusOr<StoredSchedule>> look = store->get_schedule("unknown");
    const auto untouched = co_await look;
    WEFT_ASSERT(untouched.ok());
    EXPECT_EQ(untouched->version, 1u);
    EXPECT_EQ(ledger.ticks["known"].size(), 60u);
    // What another makes of it is seen at once.
    v1::Schedule changed = untouched->schedule;
    changed.set_time_zone("UTC");
    Task<StatusOr<uint64_t>> put = store->put_schedule(changed, untouched->version, now_ms());
    const auto stored = co_await put;
    WEFT_ASSERT(stored.ok());
    co_await process.live(now_ms() + 2000);
    co_await sleep_for(milliseconds(20));
    EXPECT_EQ(ledger.ticks["unknown"].size(), 1u);
    group.cancel(CancelReason::kShutdown);
  };
  co_await with_group(body);
  Task<void> close = store->close();
  co_await close;
}

CORO_TEST(Schedules, AClockThatWasWrongForAMomentStopsNone) {
  constexpr int64_t kYearMs = int64_t{365} * 86'400'000;
  const std::unique_ptr<Store> store = make_memory_store({});
  const auto far = TimeUtil::MillisecondsToTimestamp(now_ms() + kYearMs);
  v1::Schedule hourly = every_one("hourly", 3600'000);
  *hourly.mutable_next_time() = far;
  co_await add(*store, hourly);
  v1::Schedule made_then = every_one("made-then", 3600'000);
  *made_then.mutable_create_time() = far;
  *made_then.mutable_next_time() = far;
  co_await add(*store, made_then);
  v1::Schedule pending = every_one("pending", 3600'000);
  *pending.mutable_next_time() = far;
  pending.mutable_pending()->set_job_id("pending-job-1");
  *pending.mutable_pending()->mutable_time() = far;
  *pending.mutable_pending()->mutable_since() = far;
  Task<StatusOr<uint64_t>> put =
      store->put_schedule(pending, 0, TimeUtil::TimestampToMilliseconds(pending.pending().since()));
  const auto stored = co_await put;
  WEFT_ASSERT(stored.ok());
  v1::Schedule yearly = every_one("yearly", 1000);
  yearly.set_cron("@yearly");
  const StatusOr<Timetable> timetable = timetable_of(yearly);
  WEFT_ASSERT(timetable.ok());
  *yearly.mutable_next_time() = TimeUtil::MillisecondsToTimestamp(*timetable->next(now_ms()));
  co_await add(*store, yearly);
  Ledger ledger(*store);
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start([](Ledger* its) { return its->work(); }, &ledger);
    Process process(*store);
    co_await process.live(now_ms() + 3 * 3600'000 + 5000);
    group.cancel(CancelReason::kShutdown);
  };
  co_await with_group(body);
  EXPECT_EQ(ledger.ticks["hourly"].size(), 3u);
  EXPECT_EQ(ledger.ticks["made-then"].size(), 3u);
  EXPECT_GE(ledger.ticks["pending"].size(), 3u);
  Task<StatusOr<StoredSchedule>> look = store->get_schedule("yearly");
  const auto untouched = co_await look;
  WEFT_ASSERT(untouched.ok());
  EXPECT_EQ(untouched->version, 4u);
  Task<void> close = store->close();
  co_await close;
}

CORO_TEST(Schedules, QueueLetsATickWaitForTheJobBefore) {
  Bench bench;
  v1::Schedule schedule = every("s", 1000);
  schedule.set_overlap(v1::OVERLAP_POLICY_QUEUE);
  schedule.set_catch_up(v1::CATCH_UP_POLICY_SKIP);
  const int64_t begin = now_ms();
  co_await add(*bench.store, schedule);
  co_await bench.look("s", begin + 1000);
  co_await bench.look("s", begin + 2000);
  for (int64_t at = begin + 3000; at < begin + 200'000; at += 5000) co_await bench.look("s", at);
  const v1::Schedule waiting = co_await get(*bench.store, "s");
  EXPECT_EQ(waiting.fired(), 1u);
  EXPECT_EQ(waiting.pending().waits_for(), waiting.last_job_id());
  EXPECT_EQ(TimeUtil::TimestampToMilliseconds(waiting.pending().time()), begin + 2000);
  co_await bench.finish(waiting.last_job_id());
  // However long it has waited, it comes; of those that came meanwhile the latest one does.
  co_await bench.look("s", begin + 200'500);
  const v1::Schedule second = co_await get(*bench.store, "s");
  EXPECT_EQ(second.fired(), 2u);
  EXPECT_EQ(second.last_job_id(), waiting.pending().job_id());
  co_await bench.finish(second.last_job_id());
  co_await bench.look("s", begin + 200'500);
  const v1::Schedule third = co_await get(*bench.store, "s");
  EXPECT_EQ(third.fired(), 3u);
  EXPECT_EQ(third.skipped(), 197u);
  EXPECT_EQ(TimeUtil::TimestampToMilliseconds(third.last_time()), begin + 200'000);
  co_await bench.close();
}

CORO_TEST(Schedules, CancelPreviousEndsTheJobBefore) {
  Bench bench;
  v1::Schedule schedule = every("s", 1000);
  schedule.set_overlap(v1::OVERLAP_POLICY_CANCEL_PREVIOUS);
  const int64_t begin = now_ms();
  co_await add(*bench.store, schedule);
  co_await bench.look("s", begin + 1000);
  co_await bench.look("s", begin + 2000);
  const std::vector<v1::Job> jobs = co_await bench.jobs();
  WEFT_ASSERT(jobs.size() == 2);
  EXPECT_EQ(jobs[0].state(), v1::JOB_STATE_CANCELLED);
  EXPECT_THAT(jobs[0].outcome().error_message(), HasSubstr("next tick of its schedule 's'"));
  EXPECT_EQ(jobs[1].state(), v1::JOB_STATE_QUEUED);
  co_await bench.close();
}

CORO_TEST(Schedules, ATickWaitsWhileItsQueueIsFull) {
  StoreOptions options;
  options.queued_per_queue = 1;
  Bench bench(options);
  const int64_t begin = now_ms();
  co_await add(*bench.store, every("a", 1000));
  co_await add(*bench.store, every("b", 1000));
  co_await bench.look("a", begin + 1000);
  co_await bench.look("b", begin + 1000);
  EXPECT_EQ(bench.last.code(), StatusCode::kResourceExhausted) << bench.last;
  const v1::Schedule full = co_await get(*bench.store, "b");
  EXPECT_THAT(full.pending().error(), HasSubstr("its limit"));
  const v1::Schedule a = co_await get(*bench.store, "a");
  co_await bench.finish(a.last_job_id());
  co_await bench.look("b", begin + 1500);
  const v1::Schedule done = co_await get(*bench.store, "b");
  EXPECT_FALSE(done.has_pending());
  EXPECT_EQ(done.fired(), 1u);
  EXPECT_EQ(done.last_job_id(), full.pending().job_id());
  co_await bench.close();
}

CORO_TEST(Schedules, AJobThatCannotBeIsLeftOutAndSaid) {
  Bench bench;
  const int64_t begin = now_ms();
  co_await add(*bench.store, every("s", 1000));
  Task<StatusOr<StoredSchedule>> call = bench.store->get_schedule("s");
  const auto stored = co_await call;
  // Its id is another job's.
  v1::JobSpec other;
  other.set_id("another-job");
  other.set_queue("elsewhere");
  other.set_type("other");
  Task<std::vector<StatusOr<Submitted>>> submit = bench.store->submit({other});
  co_await submit;
  Task<StatusOr<StoredSchedule>> trigger = bench.ticks.trigger(*stored, "another-job", begin);
  const auto triggered = co_await trigger;
  WEFT_ASSERT(triggered.ok());
  Task<StatusOr<StoredSchedule>> carry = bench.ticks.carry_out(*triggered, begin);
  const auto carried = co_await carry;
  EXPECT_EQ(carried.status().code(), StatusCode::kInvalidArgument) << carried.status();
  const v1::Schedule schedule = co_await get(*bench.store, "s");
  EXPECT_FALSE(schedule.has_pending());
  EXPECT_EQ(schedule.skipped(), 1u);
  EXPECT_FALSE(schedule.last_error().empty());
  co_await bench.look("s", begin + 1000);
  const v1::Schedule next = co_await get(*bench.store, "s");
  EXPECT_EQ(next.fired(), 1u);
  EXPECT_THAT(next.last_error(), IsEmpty());
  co_await bench.close();
}

CORO_TEST(Schedules, ATriggerKeepsTheNextTickAndTheOverlapPolicy) {
  Bench bench;
  const int64_t begin = now_ms();
  co_await add(*bench.store, every("s", 1000));
  Task<StatusOr<StoredSchedule>> call = bench.store->get_schedule("s");
  const auto stored = co_await call;
  Task<StatusOr<StoredSchedule>> trigger = bench.ticks.trigger(*stored, "", begin + 500);
  const auto triggered = co_await trigger;
  WEFT_ASSERT(triggered.ok());
  Task<StatusOr<StoredSchedule>> twice = bench.ticks.trigger(*triggered, "", begin + 500);
  const auto again = co_await twice;
  EXPECT_EQ(again.status().code(), StatusCode::kFailedPrecondition) << again.status();
  Task<StatusOr<StoredSchedule>> carry = bench.ticks.carry_out(*triggered, begin + 500);
  const auto fired = co_await carry;
  WEFT_ASSERT(fired.ok());
  EXPECT_EQ(fired->schedule.next_time().seconds(), stored->schedule.next_time().seconds());
  EXPECT_EQ(fired->schedule.fired(), 1u);
  Task<StatusOr<StoredSchedule>> alive = bench.ticks.trigger(*fired, "", begin + 600);
  const auto refused = co_await alive;
  EXPECT_EQ(refused.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("has not ended"));
  co_await bench.close();
}

CORO_TEST(Schedules, ARunnerThatSleepsIsWokenByAChange) {
  const std::unique_ptr<Store> store = make_memory_store({});
  ScheduleRunner runner(*store, Random(5));
  Ledger ledger(*store);
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start([](ScheduleRunner* its) { return its->run(); }, &runner);
    co_await sleep_for(seconds(10));
    co_await add(*store, every("s", 1000));
    runner.wake();
    co_await sleep_for(milliseconds(1001));
    co_await ledger.take_all();
    EXPECT_EQ(ledger.jobs, 1u);
    EXPECT_EQ(runner.schedules(), 1u);
    EXPECT_EQ(runner.stats().fired, 1u);
    EXPECT_EQ(runner.stats().lateness.count(), 1u);
    group.cancel(CancelReason::kShutdown);
  };
  co_await with_group(body);
  Task<void> close = store->close();
  co_await close;
}

}  // namespace
}  // namespace weft::testing
