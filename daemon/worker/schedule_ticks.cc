// Deciding and carrying out; every step ends with a change that names the version it was made from.
#include <google/protobuf/util/time_util.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>
#include <vector>

#include <weft/base/id.h>
#include <weft/jobs/schedule_policy.h>
#include <weft/store/check_schedule.h>
#include <weft/store/job_record.h>
#include <weft/worker/schedule_ticks.h>

namespace weft {
namespace {

using google::protobuf::util::TimeUtil;

constexpr int64_t kNanosPerMs = 1'000'000;
constexpr int64_t kClaimMs = 2000;  // after so long another daemon goes on with a pending tick
// A schedule whose zone is not known here is left to others for so long…
constexpr std::chrono::seconds kUnknownZone(5);
// …and forgotten if it was not seen for so long since.
constexpr std::chrono::seconds kUnknownZoneKept(60);
// A clock that was wrong by less makes no tick come twice; by more, none come late.
constexpr int64_t kClockErrorMs = 3600'000;
constexpr int64_t kWaitMsMin = 200;   // looks at the job that is waited for…
constexpr int64_t kWaitMsMax = 5000;  // …ever less often
constexpr int64_t kTryMsMin = 1000;   // tries to submit
constexpr int64_t kTryMsMax = 10'000;

google::protobuf::Timestamp time_of(int64_t ms) { return TimeUtil::MillisecondsToTimestamp(ms); }
int64_t ms_of(const google::protobuf::Timestamp& time) {
  return TimeUtil::TimestampToMilliseconds(time);
}

CatchUp catch_up_of(const v1::Schedule& schedule) {
  switch (schedule.catch_up()) {
    case v1::CATCH_UP_POLICY_ONE:
      return CatchUp::kOne;
    case v1::CATCH_UP_POLICY_ALL:
      return CatchUp::kAll;
    default:
      return CatchUp::kSkip;
  }
}

Overlap overlap_of(const v1::Schedule& schedule) {
  switch (schedule.overlap()) {
    case v1::OVERLAP_POLICY_QUEUE:
      return Overlap::kQueue;
    case v1::OVERLAP_POLICY_CANCEL_PREVIOUS:
      return Overlap::kCancelPrevious;
    default:
      return Overlap::kSkip;
  }
}

// The longer something has waited, the longer the next pause.
int64_t pause_ms(const v1::PendingTick& pending, int64_t now_ms, int64_t least, int64_t most) {
  return std::clamp((now_ms - ms_of(pending.since())) / 4, least, most);
}

bool is_temporary(const Status& status) {
  return status.code() == StatusCode::kUnavailable ||
         status.code() == StatusCode::kResourceExhausted;
}

// A tick whose job is made now.
void set_pending(v1::Schedule& schedule, TickAction action, std::string job_id, int64_t tick_ms,
                 int64_t now_ms) {
  v1::PendingTick& pending = *schedule.mutable_pending();
  pending.set_job_id(std::move(job_id));
  *pending.mutable_time() = time_of(tick_ms);
  *pending.mutable_since() = time_of(now_ms);
  if (action == TickAction::kWait) pending.set_waits_for(schedule.last_job_id());
  if (action == TickAction::kCancelFirst) pending.set_cancels(schedule.last_job_id());
}

}  // namespace

std::optional<int64_t> next_look_ms(const v1::Schedule& schedule, int64_t now_ms) {
  if (schedule.has_pending()) {
    const v1::PendingTick& pending = schedule.pending();
    if (pending.waits_for().empty()) return now_ms + kClaimMs;
    return now_ms + pause_ms(pending, now_ms, kWaitMsMin, kWaitMsMax);
  }
  if (!schedule.has_next_time()) return std::nullopt;
  return ms_of(schedule.next_time());
}

bool is_astray(const v1::Schedule& schedule, int64_t now_ms) {
  const int64_t soon_ms = now_ms + kClockErrorMs;
  if (schedule.has_pending()) return ms_of(schedule.pending().since()) > soon_ms;
  if (!schedule.has_next_time() || ms_of(schedule.next_time()) <= soon_ms) return false;
  if (schedule.has_interval() && ms_of(schedule.create_time()) > soon_ms) return true;
  const StatusOr<Timetable> timetable = timetable_of(schedule);
  if (!timetable.ok()) return false;
  const std::optional<int64_t> next_ms = timetable->next(soon_ms);
  return next_ms && *next_ms < ms_of(schedule.next_time());
}

bool ScheduleTicks::is_left_alone(const StoredSchedule& stored) const {
  const auto found = left_alone_.find(stored.schedule.name());
  return found != left_alone_.end() && found->second.version == stored.version &&
         found->second.until_ns > EventLoop::current()->now_ns();
}

size_t ScheduleTicks::left_alone() {
  const int64_t now_ns = EventLoop::current()->now_ns();
  std::erase_if(left_alone_, [now_ns](const auto& entry) {
    return entry.second.until_ns + std::chrono::nanoseconds(kUnknownZoneKept).count() < now_ns;
  });
  return left_alone_.size();
}

void ScheduleTicks::leave_alone(const StoredSchedule& stored, const Status& why) {
  LeftAlone& entry = left_alone_[stored.schedule.name()];
  if (entry.version != stored.version) {
    spdlog::error("the schedule '{}' cannot go on here: {}", stored.schedule.name(),
                  from_absl(why.message()));
  }
  entry.version = stored.version;
  entry.until_ns = EventLoop::current()->after_ns(kUnknownZone);
}

// To the tick that comes next by the clock as it is now.
void ScheduleTicks::bring_back(v1::Schedule& schedule, int64_t now_ms) {
  if (schedule.has_interval() && ms_of(schedule.create_time()) > now_ms) {
    *schedule.mutable_create_time() = time_of(now_ms);
  }
  const StatusOr<Timetable> timetable = timetable_of(schedule);
  const std::optional<int64_t> next_ms = timetable.ok() ? timetable->next(now_ms) : std::nullopt;
  if (!next_ms) return;
  const google::protobuf::Timestamp before = schedule.next_time();
  *schedule.mutable_next_time() = time_of(*next_ms);
  spdlog::warn("the clock was wrong: the next tick of the schedule '{}' is at {}, not at {}",
               schedule.name(), TimeUtil::ToString(schedule.next_time()),
               TimeUtil::ToString(before));
}

Task<Status> ScheduleTicks::put(StoredSchedule& stored, std::optional<int64_t> wake_ms) {
  Task<StatusOr<uint64_t>> call = store_.put_schedule(stored.schedule, stored.version, wake_ms);
  const StatusOr<uint64_t> version = co_await call;
  if (version.ok()) stored.version = *version;
  co_return version.status();
}

Task<StatusOr<bool>> ScheduleTicks::lives(std::string job_id) {
  if (job_id.empty()) co_return false;
  Task<StatusOr<v1::Job>> call = store_.get(std::move(job_id), false);
  const StatusOr<v1::Job> job = co_await call;
  if (job.ok()) co_return !is_finished(state_of(*job));
  if (job.status().code() == StatusCode::kUnavailable) co_return job.status();
  co_return false;  // gone, or it can never be read again
}

Task<Status> ScheduleTicks::decide(StoredSchedule& stored, int64_t now_ms) {
  v1::Schedule& schedule = stored.schedule;
  const StatusOr<Timetable> timetable = timetable_of(schedule);
  if (!timetable.ok()) {
    // Nothing is written: a machine that knows the zone may be at it.
    leave_alone(stored, timetable.status());
    co_return absl::OkStatus();
  }
  const DueTicks due =
      decide_ticks(*timetable, ms_of(schedule.next_time()), now_ms, catch_up_of(schedule));
  uint64_t skipped = due.skipped;
  if (due.fire_ms) {
    Task<StatusOr<bool>> look = lives(schedule.last_job_id());
    const StatusOr<bool> previous = co_await look;
    if (!previous.ok()) co_return previous.status();
    TickAction action = decide_overlap(overlap_of(schedule), *previous);
    // Else the first of the ticks that are made up for would have the others left out.
    const bool missed =
        now_ms - *due.fire_ms >= kTickGraceMs || (due.next_ms && *due.next_ms <= now_ms);
    if (action == TickAction::kSkip && missed && catch_up_of(schedule) == CatchUp::kAll) {
      action = TickAction::kWait;
    }
    if (action == TickAction::kSkip) {
      ++skipped;
    } else {
      set_pending(schedule, action, make_job_id(now_ms, random_), *due.fire_ms, now_ms);
    }
  }
  schedule.set_skipped(schedule.skipped() + skipped);
  if (due.next_ms) {
    *schedule.mutable_next_time() = time_of(*due.next_ms);
  } else {
    schedule.clear_next_time();
  }
  Task<Status> call = put(stored, next_look_ms(schedule, now_ms));
  const Status status = co_await call;
  if (status.ok()) stats_.skipped += skipped;
  co_return status;
}

Task<Status> ScheduleTicks::look_at(StoredSchedule stored, int64_t now_ms) {
  v1::Schedule& schedule = stored.schedule;
  if (!schedule.has_pending()) {
    std::optional<int64_t> next_ms = next_look_ms(schedule, now_ms);
    if (!next_ms || *next_ms > now_ms) {
      if (is_astray(schedule, now_ms)) {
        bring_back(schedule, now_ms);
        next_ms = next_look_ms(schedule, now_ms);
      }
      Task<Status> call = put(stored, next_ms);
      co_return co_await call;
    }
    Task<Status> call = decide(stored, now_ms);
    const Status decided = co_await call;
    if (!decided.ok() || !schedule.has_pending()) co_return decided;
  } else if (!schedule.pending().waits_for().empty()) {
    Task<StatusOr<bool>> look = lives(schedule.pending().waits_for());
    const StatusOr<bool> previous = co_await look;
    if (!previous.ok()) co_return previous.status();
    if (!*previous) schedule.mutable_pending()->clear_waits_for();
    Task<Status> call = put(stored, next_look_ms(schedule, now_ms));
    const Status status = co_await call;
    if (!status.ok()) co_return status;
  }
  Task<StatusOr<StoredSchedule>> call = carry_out(std::move(stored), now_ms);
  const StatusOr<StoredSchedule> done = co_await call;
  co_return done.status();
}

Task<StatusOr<StoredSchedule>> ScheduleTicks::trigger(StoredSchedule stored, std::string job_id,
                                                      int64_t now_ms) {
  v1::Schedule& schedule = stored.schedule;
  if (schedule.has_pending()) {
    const std::string& waits_for = schedule.pending().waits_for();
    const std::string why = waits_for.empty() ? "is on its way: try again in a moment"
                                              : "waits for job " + waits_for + " to end";
    co_return make_status(StatusCode::kFailedPrecondition,
                          "a tick of the schedule '" + schedule.name() + "' " + why);
  }
  Task<StatusOr<bool>> look = lives(schedule.last_job_id());
  const StatusOr<bool> previous = co_await look;
  if (!previous.ok()) co_return previous.status();
  const TickAction action = decide_overlap(overlap_of(schedule), *previous);
  if (action == TickAction::kSkip) {
    co_return make_status(StatusCode::kFailedPrecondition,
                          "job " + schedule.last_job_id() + " of the schedule '" + schedule.name() +
                              "' has not ended: wait for it or cancel it, or use another overlap");
  }
  if (job_id.empty()) job_id = make_job_id(now_ms, random_);
  set_pending(schedule, action, std::move(job_id), now_ms, now_ms);
  schedule.mutable_pending()->set_triggered(true);
  Task<Status> call = put(stored, next_look_ms(schedule, now_ms));
  const Status status = co_await call;
  if (!status.ok()) co_return status;
  co_return stored;
}

Task<StatusOr<StoredSchedule>> ScheduleTicks::carry_out(StoredSchedule stored, int64_t now_ms) {
  v1::Schedule& schedule = stored.schedule;
  const v1::PendingTick pending = schedule.pending();
  if (!pending.waits_for().empty()) co_return stored;
  Status refused = absl::OkStatus();
  bool existing = false;
  if (!pending.cancels().empty()) {
    Task<StatusOr<v1::CancelResponse>> call = store_.cancel(
        pending.cancels(), "the next tick of its schedule '" + schedule.name() + "' has come");
    const StatusOr<v1::CancelResponse> cancelled = co_await call;
    if (is_temporary(cancelled.status())) refused = cancelled.status();
  }
  if (refused.ok()) {
    std::vector<v1::JobSpec> specs;
    specs.push_back(pending_job(schedule));
    Task<std::vector<StatusOr<Submitted>>> call = store_.submit(std::move(specs));
    const std::vector<StatusOr<Submitted>> answers = co_await call;
    refused = answers.front().status();
    existing = refused.ok() && answers.front()->existing;
  }
  std::optional<int64_t> wake_ms;
  if (is_temporary(refused)) {
    schedule.mutable_pending()->set_error(std::string(from_absl(refused.message())));
    wake_ms = now_ms + pause_ms(pending, now_ms, kTryMsMin, kTryMsMax);
  } else {
    schedule.clear_pending();
    wake_ms = next_look_ms(schedule, now_ms);
    if (refused.ok()) {
      schedule.set_fired(schedule.fired() + 1);
      schedule.set_last_job_id(pending.job_id());
      *schedule.mutable_last_time() = pending.time();
      schedule.clear_last_error();
    } else {
      schedule.set_skipped(schedule.skipped() + 1);
      schedule.set_last_error(std::string(from_absl(refused.message())));
      spdlog::error("a tick of the schedule '{}' is left out: {}", schedule.name(),
                    from_absl(refused.message()));
    }
  }
  if (refused.ok() && !existing) {
    ++stats_.fired;
    if (!pending.triggered()) {
      stats_.lateness.add_ns(std::max<int64_t>(0, now_ms - ms_of(pending.time())) * kNanosPerMs);
    }
  }
  Task<Status> call = put(stored, wake_ms);
  const Status status = co_await call;
  if (!refused.ok()) co_return refused;
  if (!status.ok()) co_return status;
  co_return stored;
}

}  // namespace weft
