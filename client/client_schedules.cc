// Schedules, with blocking calls.
#include <utility>

#include <weft/client/blocking_call.h>
#include <weft/client/client.h>
#include <weft/client/job_spec.h>
#include <weft/client/text.h>

namespace weft {

using Stub = v1::ScheduleService::Stub;

StatusOr<v1::CreateScheduleResponse> Client::create_schedule(v1::Schedule schedule, bool replace) {
  WEFT_RETURN_IF_ERROR(check_text("schedule.name", schedule.name()));
  WEFT_RETURN_IF_ERROR(check_text("schedule.cron", schedule.cron()));
  WEFT_RETURN_IF_ERROR(check_text("schedule.time_zone", schedule.time_zone()));
  WEFT_RETURN_IF_ERROR(check_spec_texts("schedule.job", schedule.job()));
  v1::CreateScheduleRequest request;
  *request.mutable_schedule() = std::move(schedule);
  request.set_replace(replace);
  v1::CreateScheduleResponse response;
  WEFT_RETURN_IF_ERROR(
      blocking_call(*core_, *core_->schedule_stub, &Stub::Create, request, &response));
  return response;
}

StatusOr<v1::Schedule> Client::get_schedule(const std::string& name) {
  WEFT_RETURN_IF_ERROR(check_text("name", name));
  v1::GetScheduleRequest request;
  request.set_name(name);
  v1::Schedule schedule;
  WEFT_RETURN_IF_ERROR(
      blocking_call(*core_, *core_->schedule_stub, &Stub::Get, request, &schedule));
  return schedule;
}

StatusOr<v1::ListSchedulesResponse> Client::list_schedules(
    const v1::ListSchedulesRequest& request) {
  WEFT_RETURN_IF_ERROR(check_text("page_token", request.page_token()));
  v1::ListSchedulesResponse response;
  WEFT_RETURN_IF_ERROR(
      blocking_call(*core_, *core_->schedule_stub, &Stub::List, request, &response));
  return response;
}

StatusOr<v1::Schedule> Client::pause_schedule(const std::string& name) {
  WEFT_RETURN_IF_ERROR(check_text("name", name));
  v1::PauseScheduleRequest request;
  request.set_name(name);
  v1::Schedule schedule;
  WEFT_RETURN_IF_ERROR(
      blocking_call(*core_, *core_->schedule_stub, &Stub::Pause, request, &schedule));
  return schedule;
}

StatusOr<v1::Schedule> Client::resume_schedule(const std::string& name) {
  WEFT_RETURN_IF_ERROR(check_text("name", name));
  v1::ResumeScheduleRequest request;
  request.set_name(name);
  v1::Schedule schedule;
  WEFT_RETURN_IF_ERROR(
      blocking_call(*core_, *core_->schedule_stub, &Stub::Resume, request, &schedule));
  return schedule;
}

StatusOr<std::string> Client::trigger_schedule(const std::string& name) {
  WEFT_RETURN_IF_ERROR(check_text("name", name));
  v1::TriggerScheduleRequest request;
  request.set_name(name);
  request.set_job_id(core_->new_job_id());  // repeated, it is the same job
  v1::TriggerScheduleResponse response;
  WEFT_RETURN_IF_ERROR(
      blocking_call(*core_, *core_->schedule_stub, &Stub::Trigger, request, &response));
  return std::move(*response.mutable_job_id());
}

Status Client::remove_schedule(const std::string& name) {
  WEFT_RETURN_IF_ERROR(check_text("name", name));
  v1::DeleteScheduleRequest request;
  request.set_name(name);
  v1::DeleteScheduleResponse response;
  bool maybe_done = false;
  const Status status =
      blocking_call(*core_, *core_->schedule_stub, &Stub::Delete, request, &response, &maybe_done);
  if (maybe_done && status.code() == StatusCode::kNotFound) return absl::OkStatus();
  return status;
}

}  // namespace weft
