// Every change names the version it was made from; one that comes too late is made anew.
#include "daemon/rpc/schedule_service.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <utility>

#include <weft/base/id.h>
#include <weft/base/limits.h>
#include <weft/store/check_schedule.h>

namespace weft {
namespace {

using google::protobuf::util::TimeUtil;

// Of one change: who else changes the schedule does so now and then.
constexpr int kChangeTries = 10;

Status in_schedule(const Status& status) {
  const std::string field = field_of(status);
  return field.empty() ? status : field_error("schedule." + field, from_absl(status.message()));
}

// Its next tick counts from `now_ms`; none while it is paused.
Status set_next_time(v1::Schedule& schedule, int64_t now_ms) {
  schedule.clear_next_time();
  if (schedule.paused()) return absl::OkStatus();
  const StatusOr<Timetable> timetable = timetable_of(schedule);
  if (!timetable.ok()) return timetable.status();
  if (const auto next_ms = timetable->next(now_ms)) {
    *schedule.mutable_next_time() = TimeUtil::MillisecondsToTimestamp(*next_ms);
  }
  return absl::OkStatus();
}

}  // namespace

template <typename Call, typename Request, typename Serve>
void ScheduleService::add(CallDomain& domain, const char* method, Request request, Serve serve) {
  methods_.push_back(std::make_unique<Method<Call>>(
      domain, name() + "/" + method,
      [this, request](Call& call, grpc::ServerCompletionQueue* queue, void* tag) {
        (service_.*request)(&call.context(), &call.request(), call.responder(), queue, queue, tag);
      },
      serve));
}

void ScheduleService::listen(CallDomain& domain) {
  using Async = v1::ScheduleService::AsyncService;
  add<CreateCall>(domain, "Create", &Async::RequestCreate,
                  [this](CreateCall& call) { return change(call, &ScheduleService::create); });
  add<GetCall>(domain, "Get", &Async::RequestGet, [this](GetCall& call) { return get(call); });
  add<ListCall>(domain, "List", &Async::RequestList, [this](ListCall& call) { return list(call); });
  add<PauseCall>(domain, "Pause", &Async::RequestPause,
                 [this](PauseCall& call) { return change(call, &ScheduleService::pause); });
  add<ResumeCall>(domain, "Resume", &Async::RequestResume,
                  [this](ResumeCall& call) { return change(call, &ScheduleService::resume); });
  add<TriggerCall>(domain, "Trigger", &Async::RequestTrigger,
                   [this](TriggerCall& call) { return change(call, &ScheduleService::trigger); });
  add<DeleteCall>(domain, "Delete", &Async::RequestDelete,
                  [this](DeleteCall& call) { return change(call, &ScheduleService::remove); });
}

template <typename Call, typename Request, typename Response>
Task<void> ScheduleService::change(Call& call,
                                   Task<StatusOr<Response>> (ScheduleService::*verb)(Request)) {
  for (int tries = 1;; ++tries) {
    Task<StatusOr<Response>> work = (this->*verb)(call.request());
    StatusOr<Response> answer = co_await work;
    if (answer.status().code() == StatusCode::kAborted && tries < kChangeTries) continue;
    runner_.wake();
    call.finish(std::move(answer));
    co_return;
  }
}

Task<StatusOr<int64_t>> ScheduleService::now_ms() {
  Task<StatusOr<DueSchedules>> call = store_.due_schedules(0);
  const StatusOr<DueSchedules> due = co_await call;
  if (!due.ok()) co_return due.status();
  co_return due->now_ms;
}

Task<StatusOr<v1::Schedule>> ScheduleService::put(v1::Schedule schedule, uint64_t version,
                                                  int64_t now) {
  const std::optional<int64_t> wake_ms = next_look_ms(schedule, now);
  Task<StatusOr<uint64_t>> call = store_.put_schedule(schedule, version, wake_ms);
  const StatusOr<uint64_t> stored = co_await call;
  if (!stored.ok()) co_return stored.status();
  co_return schedule;
}

Task<StatusOr<v1::CreateScheduleResponse>> ScheduleService::create(
    v1::CreateScheduleRequest request) {
  v1::Schedule& schedule = *request.mutable_schedule();
  Status checked = check_schedule(schedule, EventLoop::current()->wall_ns());
  if (!checked.ok()) co_return in_schedule(checked);
  checked = check_type_(schedule.job().type());
  if (!checked.ok()) co_return field_error("schedule.job.type", from_absl(checked.message()));
  Task<StatusOr<int64_t>> ask = now_ms();
  const StatusOr<int64_t> now = co_await ask;
  if (!now.ok()) co_return now.status();
  v1::CreateScheduleResponse response;
  Task<StatusOr<StoredSchedule>> look = store_.get_schedule(schedule.name());
  StatusOr<StoredSchedule> there = co_await look;
  if (there.ok()) {
    if (same_schedule(there->schedule, schedule)) {
      response.set_existing(true);
      *response.mutable_schedule() = std::move(there->schedule);
      co_return response;
    }
    if (!request.replace()) {
      co_return make_status(StatusCode::kAlreadyExists,
                            "there is another schedule '" + schedule.name() +
                                "': delete it first, use another name, or ask for it to be "
                                "replaced (--replace)");
    }
    // What is on its way was promised, as it was.
    if (there->schedule.has_pending()) {
      *schedule.mutable_pending() = there->schedule.pending();
      if (!schedule.pending().has_job()) {
        *schedule.mutable_pending()->mutable_job() = there->schedule.job();
      }
    }
    schedule.set_last_job_id(there->schedule.last_job_id());  // for the overlap policy
  } else if (there.status().code() != StatusCode::kNotFound) {
    co_return there.status();
  }
  *schedule.mutable_create_time() = TimeUtil::MillisecondsToTimestamp(*now);
  checked = set_next_time(schedule, *now);
  if (!checked.ok()) co_return in_schedule(checked);
  Task<StatusOr<v1::Schedule>> store = put(schedule, there.ok() ? there->version : 0, *now);
  StatusOr<v1::Schedule> stored = co_await store;
  if (!stored.ok()) co_return stored.status();
  *response.mutable_schedule() = *std::move(stored);
  co_return response;
}

Task<void> ScheduleService::get(GetCall& call) {
  const std::string& name = call.request().name();
  if (const Status checked = check_schedule_name("name", name); !checked.ok()) {
    call.finish(checked);
    co_return;
  }
  Task<StatusOr<StoredSchedule>> look = store_.get_schedule(name);
  StatusOr<StoredSchedule> stored = co_await look;
  if (stored.ok()) {
    call.finish(std::move(stored->schedule));
  } else {
    call.finish(stored.status());
  }
}

Task<void> ScheduleService::list(ListCall& call) {
  const int asked = call.request().page_size();
  const std::string& token = call.request().page_token();
  if (asked < 0 || asked > limits::kPageSizeMax) {
    call.finish(field_error("page_size", "page_size is " + std::to_string(asked) + ": use 1 to " +
                                             std::to_string(limits::kPageSizeMax) + ", or 0 for " +
                                             std::to_string(limits::kPageSize)));
    co_return;
  }
  if (!token.empty() && !check_schedule_name("page_token", token).ok()) {
    call.finish(field_error("page_token",
                            "this page_token was not given for a list of schedules: leave it "
                            "empty to begin with the first"));
    co_return;
  }
  size_t left = static_cast<size_t>(asked == 0 ? limits::kPageSize : asked);
  v1::ListSchedulesResponse response;
  std::string after = token;
  size_t bytes = 0;
  // Read in batches, for the store reads payloads too.
  while (left > 0) {
    const size_t batch = std::min(left, limits::kScheduleBatch);
    Task<StatusOr<std::vector<StoredSchedule>>> read = store_.list_schedules(after, batch);
    StatusOr<std::vector<StoredSchedule>> some = co_await read;
    if (!some.ok()) {
      call.finish(some.status());
      co_return;
    }
    bool full = false;
    for (StoredSchedule& stored : *some) {
      stored.schedule.mutable_job()->clear_payload();
      if (stored.schedule.pending().has_job()) {
        stored.schedule.mutable_pending()->mutable_job()->clear_payload();
      }
      bytes += stored.schedule.ByteSizeLong();
      full = bytes > limits::kListBytes && response.schedules_size() > 0;
      if (full) break;
      after = stored.schedule.name();
      *response.add_schedules() = std::move(stored.schedule);
    }
    left -= batch;
    if (full || (left == 0 && some->size() == batch)) response.set_next_page_token(after);
    if (full || some->size() < batch) break;
  }
  if (const Status room = call.hold(response.ByteSizeLong()); !room.ok()) {
    call.finish(room);
    co_return;
  }
  call.finish(std::move(response));
}

Task<StatusOr<v1::Schedule>> ScheduleService::pause(v1::PauseScheduleRequest request) {
  const Status checked = check_schedule_name("name", request.name());
  if (!checked.ok()) co_return checked;
  Task<StatusOr<StoredSchedule>> look = store_.get_schedule(request.name());
  StatusOr<StoredSchedule> stored = co_await look;
  if (!stored.ok()) co_return stored.status();
  if (stored->schedule.paused()) co_return std::move(stored->schedule);
  Task<StatusOr<int64_t>> ask = now_ms();
  const StatusOr<int64_t> now = co_await ask;
  if (!now.ok()) co_return now.status();
  stored->schedule.set_paused(true);
  stored->schedule.clear_next_time();
  Task<StatusOr<v1::Schedule>> store = put(std::move(stored->schedule), stored->version, *now);
  co_return co_await store;
}

Task<StatusOr<v1::Schedule>> ScheduleService::resume(v1::ResumeScheduleRequest request) {
  Status checked = check_schedule_name("name", request.name());
  if (!checked.ok()) co_return checked;
  Task<StatusOr<StoredSchedule>> look = store_.get_schedule(request.name());
  StatusOr<StoredSchedule> stored = co_await look;
  if (!stored.ok()) co_return stored.status();
  if (!stored->schedule.paused()) co_return std::move(stored->schedule);
  Task<StatusOr<int64_t>> ask = now_ms();
  const StatusOr<int64_t> now = co_await ask;
  if (!now.ok()) co_return now.status();
  stored->schedule.set_paused(false);
  checked = set_next_time(stored->schedule, *now);
  if (!checked.ok()) co_return checked;
  Task<StatusOr<v1::Schedule>> store = put(std::move(stored->schedule), stored->version, *now);
  co_return co_await store;
}

// A repetition finds the job on its way, or stored; one with another id is another job.
Task<StatusOr<bool>> ScheduleService::was_triggered(const v1::Schedule& schedule,
                                                    std::string job_id) {
  if (job_id.empty()) co_return false;
  if (schedule.pending().job_id() == job_id || schedule.last_job_id() == job_id) co_return true;
  Task<StatusOr<v1::Job>> look = store_.get(job_id, false);
  const StatusOr<v1::Job> job = co_await look;
  if (job.status().code() == StatusCode::kNotFound) co_return false;
  if (!job.ok()) co_return job.status();
  if (is_job_of(job->spec(), schedule.name())) co_return true;
  co_return field_error("job_id", "job_id '" + job_id + "' belongs to another job: use a new one");
}

Task<StatusOr<v1::TriggerScheduleResponse>> ScheduleService::trigger(
    v1::TriggerScheduleRequest request) {
  Status checked = check_schedule_name("name", request.name());
  if (checked.ok() && !request.job_id().empty()) checked = check_job_id("job_id", request.job_id());
  if (!checked.ok()) co_return checked;
  Task<StatusOr<StoredSchedule>> look = store_.get_schedule(request.name());
  StatusOr<StoredSchedule> stored = co_await look;
  if (!stored.ok()) co_return stored.status();
  Task<StatusOr<int64_t>> ask = now_ms();
  const StatusOr<int64_t> now = co_await ask;
  if (!now.ok()) co_return now.status();
  v1::TriggerScheduleResponse response;
  Task<StatusOr<bool>> before = was_triggered(stored->schedule, request.job_id());
  const StatusOr<bool> repeated = co_await before;
  if (!repeated.ok()) co_return repeated.status();
  if (*repeated) {
    response.set_job_id(request.job_id());
    response.set_pending(stored->schedule.pending().job_id() == request.job_id());
    co_return response;
  }
  Task<StatusOr<StoredSchedule>> name_it =
      runner_.ticks().trigger(*std::move(stored), request.job_id(), *now);
  stored = co_await name_it;
  if (!stored.ok()) co_return stored.status();
  response.set_job_id(stored->schedule.pending().job_id());
  Task<StatusOr<StoredSchedule>> carry = runner_.ticks().carry_out(*std::move(stored), *now);
  const StatusOr<StoredSchedule> carried = co_await carry;
  switch (carried.status().code()) {
    case StatusCode::kOk:
      response.set_pending(carried->schedule.has_pending());
      co_return response;
    case StatusCode::kAborted:
    case StatusCode::kNotFound:
      // It was submitted before somebody else changed or deleted the schedule.
      co_return response;
    case StatusCode::kResourceExhausted:
    case StatusCode::kUnavailable:
      // The job is named, and whoever finds it pending goes on with it.
      response.set_pending(true);
      co_return response;
    default:
      co_return carried.status();
  }
}

Task<StatusOr<v1::DeleteScheduleResponse>> ScheduleService::remove(
    v1::DeleteScheduleRequest request) {
  const Status checked = check_schedule_name("name", request.name());
  if (!checked.ok()) co_return checked;
  Task<StatusOr<StoredSchedule>> look = store_.get_schedule(request.name());
  StatusOr<StoredSchedule> stored = co_await look;
  if (stored.ok() && stored->schedule.has_pending()) {
    Task<StatusOr<int64_t>> ask = now_ms();
    const StatusOr<int64_t> now = co_await ask;
    if (!now.ok()) co_return now.status();
    Task<StatusOr<StoredSchedule>> carry = runner_.ticks().carry_out(*std::move(stored), *now);
    stored = co_await carry;
    const StatusCode code = stored.status().code();
    if (code == StatusCode::kAborted || code == StatusCode::kUnavailable) {
      co_return stored.status();
    }
    if (!stored.ok()) {
      // Its queue is full, or it was given up: that is what the schedule says by now.
      Task<StatusOr<StoredSchedule>> again = store_.get_schedule(request.name());
      stored = co_await again;
    }
  }
  const bool unreadable = stored.status().code() == StatusCode::kDataLoss;
  if (!stored.ok() && !unreadable) co_return stored.status();
  Task<Status> call = store_.remove_schedule(request.name(), unreadable ? 0 : stored->version);
  const Status removed = co_await call;
  if (!removed.ok()) co_return removed;
  co_return v1::DeleteScheduleResponse();
}

}  // namespace weft
