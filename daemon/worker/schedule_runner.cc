// The loop over due schedules.
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

// `failed`: whether something stands in the way that a pause may change.
Task<void> look_at(ScheduleTicks* ticks, StoredSchedule stored, int64_t now_ms, bool* failed) {
  Task<Status> call = ticks->look_at(std::move(stored), now_ms);
  const Status status = co_await call;
  if (status.code() == StatusCode::kUnavailable) *failed = true;
}

Task<void> wait_for_event(Event* event) { co_await event->wait(); }

}  // namespace

// True: there may be more to do at once.
Task<bool> ScheduleRunner::look() {
  changed_.reset();
  Task<StatusOr<DueSchedules>> call = store_.due_schedules(limits::kScheduleBatch);
  StatusOr<DueSchedules> due = co_await call;
  pause_ = kPoll;
  if (!due.ok()) co_return false;
  schedules_ = due->total;
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
  if (!store_.shared() && !due->next_in) {
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
