// The loop over due schedules.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>

#include <weft/base/limits.h>
#include <weft/runtime/combinators.h>
#include <weft/runtime/sleep.h>
#include <weft/runtime/task_group.h>
#include <weft/worker/schedule_runner.h>

namespace weft {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPoll(limits::kSchedulePollMs);
constexpr std::chrono::hours kSweep(1);
// Those that are left alone stand before the others.
constexpr size_t kMostDue = 10 * limits::kScheduleBatch;

// `failed`: whether something stands in the way that a pause may change.
Task<void> look_at(ScheduleTicks* ticks, StoredSchedule stored, int64_t now_ms, bool* failed) {
  Task<Status> call = ticks->look_at(std::move(stored), now_ms);
  const Status status = co_await call;
  if (status.code() == StatusCode::kUnavailable) *failed = true;
}

Task<void> wait_for_event(Event* event) { co_await event->wait(); }

}  // namespace

// The store itself says how an outage goes on.
void ScheduleRunner::say(const Status& status) {
  if (status == said_) return;
  said_ = status;
  if (status.ok() || status.code() == StatusCode::kUnavailable) return;
  spdlog::error("the schedules cannot be read: {}", from_absl(status.message()));
}

// Those that wait for a time of a clock that was wrong are due for no query.
Task<Status> ScheduleRunner::sweep(int64_t now_ms) {
  std::string after;
  for (;;) {
    Task<StatusOr<std::vector<StoredSchedule>>> call =
        store_.list_schedules(after, limits::kScheduleBatch);
    StatusOr<std::vector<StoredSchedule>> page = co_await call;
    if (!page.ok()) co_return page.status();
    const bool last = page->size() < limits::kScheduleBatch;
    if (!last) after = page->back().schedule.name();
    for (StoredSchedule& stored : *page) {
      if (!is_astray(stored.schedule, now_ms)) continue;
      Task<Status> mend = ticks_.look_at(std::move(stored), now_ms);
      const Status mended = co_await mend;
      if (mended.code() == StatusCode::kUnavailable) co_return mended;
    }
    if (last) co_return absl::OkStatus();
  }
}

// True: there may be more to do at once.
Task<bool> ScheduleRunner::look() {
  changed_.reset();
  Task<StatusOr<DueSchedules>> call =
      store_.due_schedules(std::min(limits::kScheduleBatch + ticks_.left_alone(), kMostDue));
  StatusOr<DueSchedules> due = co_await call;
  pause_ = kPoll;
  if (!due.ok()) {
    say(due.status());
    co_return false;
  }
  schedules_ = due->total;
  EventLoop* loop = EventLoop::current();
  if (due->now_ms < looked_ms_ || loop->now_ns() >= sweep_ns_) {
    Task<Status> work = sweep(due->now_ms);
    const Status swept = co_await work;
    say(swept);
    if (swept.ok()) sweep_ns_ = loop->after_ns(kSweep);
  } else {
    say(absl::OkStatus());
  }
  looked_ms_ = due->now_ms;
  std::erase_if(due->schedules,
                [this](const StoredSchedule& stored) { return ticks_.is_left_alone(stored); });
  bool failed = false;
  const bool any = !due->schedules.empty();
  auto batch = [&](TaskGroup& group) -> Task<void> {
    for (StoredSchedule& stored : due->schedules) {
      group.start(&look_at, &ticks_, std::move(stored), due->now_ms, &failed);
    }
    co_return;
  };
  if (any) co_await with_group(batch);
  if (failed) co_return false;
  if (any) co_return true;  // what was decided may be due again
  if (!store_.shared() && !due->next_in && ticks_.left_alone() == 0) {
    pause_.reset();
  } else {
    pause_ = std::min(due->next_in.value_or(kPoll), kPoll);
  }
  co_return false;
}

Task<void> ScheduleRunner::wait(std::optional<milliseconds> limit) {
  if (!limit) {
    co_await changed_.wait();
    co_return;
  }
  co_await with_timeout(*limit, wait_for_event(&changed_));
}

Task<void> ScheduleRunner::run() {
  for (;;) {
    Task<bool> work = look();
    if (co_await work) {
      co_await yield_now();
      continue;
    }
    co_await wait(pause_);
  }
}

}  // namespace weft
