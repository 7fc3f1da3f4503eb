// Blocking calls with retries.
#include <optional>
#include <utility>

#include <weft/client/blocking_call.h>
#include <weft/client/call_retry.h>
#include <weft/client/client.h>
#include <weft/client/client_core.h>
#include <weft/client/event_reader.h>
#include <weft/client/job_spec.h>
#include <weft/client/text.h>

namespace weft {
Client::Client(ClientOptions options) : core_(std::make_shared<ClientCore>(std::move(options))) {}
Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

StatusOr<v1::SubmitResponse> Client::submit(v1::JobSpec spec) {
  WEFT_RETURN_IF_ERROR(complete_spec(*core_, "spec", &spec));
  v1::SubmitRequest request;
  *request.mutable_spec() = std::move(spec);
  v1::SubmitResponse response;
  WEFT_RETURN_IF_ERROR(
      blocking_call(*core_, *core_->stub, &v1::JobService::Stub::Submit, request, &response));
  return response;
}

StatusOr<v1::Job> Client::get(const std::string& job_id) {
  WEFT_RETURN_IF_ERROR(check_text("id", job_id));
  v1::GetRequest request;
  request.set_id(job_id);
  v1::Job job;
  WEFT_RETURN_IF_ERROR(
      blocking_call(*core_, *core_->stub, &v1::JobService::Stub::Get, request, &job));
  return job;
}

StatusOr<uint64_t> Client::send(const std::string& job_id, std::string value) {
  WEFT_RETURN_IF_ERROR(check_text("id", job_id));
  std::lock_guard lock(core_->send_mutex);
  v1::SendRequest request;
  request.set_id(job_id);
  request.set_value(std::move(value));
  request.set_sender(core_->sender);
  request.set_number(++core_->sends);
  v1::SendResponse response;
  WEFT_RETURN_IF_ERROR(
      blocking_call(*core_, *core_->stub, &v1::JobService::Stub::Send, request, &response));
  return response.number();
}

StatusOr<v1::CancelResponse> Client::cancel(const std::string& job_id, const std::string& reason) {
  WEFT_RETURN_IF_ERROR(check_text("id", job_id));
  WEFT_RETURN_IF_ERROR(check_text("reason", reason));
  v1::CancelRequest request;
  request.set_id(job_id);
  request.set_reason(reason);
  v1::CancelResponse response;
  WEFT_RETURN_IF_ERROR(
      blocking_call(*core_, *core_->stub, &v1::JobService::Stub::Cancel, request, &response));
  return response;
}

StatusOr<v1::SubmitBatchResponse> Client::submit_batch(std::vector<v1::JobSpec> specs) {
  v1::SubmitBatchRequest request;
  for (v1::JobSpec& spec : specs) *request.add_specs() = std::move(spec);
  WEFT_RETURN_IF_ERROR(complete_batch(*core_, &request));
  v1::SubmitBatchResponse response;
  WEFT_RETURN_IF_ERROR(
      blocking_call(*core_, *core_->stub, &v1::JobService::Stub::SubmitBatch, request, &response));
  return response;
}

StatusOr<v1::ListJobsResponse> Client::list(const v1::ListJobsRequest& request) {
  WEFT_RETURN_IF_ERROR(check_list(request));
  v1::ListJobsResponse response;
  WEFT_RETURN_IF_ERROR(
      blocking_call(*core_, *core_->stub, &v1::JobService::Stub::List, request, &response));
  return response;
}

StatusOr<v1::Job> Client::retry(const std::string& job_id) {
  WEFT_RETURN_IF_ERROR(check_text("id", job_id));
  v1::RetryRequest request;
  request.set_id(job_id);
  v1::Job job;
  bool maybe_done = false;
  const Status status =
      blocking_call(*core_, *core_->stub, &v1::JobService::Stub::Retry, request, &job, &maybe_done);
  if (status.ok()) return job;
  if (!maybe_done || status.code() != StatusCode::kFailedPrecondition) return status;
  // It is not dead any more: an earlier try has queued it, unless it has ended since.
  StatusOr<v1::Job> now = get(job_id);
  const bool runs_again =
      now.ok() && (now->state() == v1::JOB_STATE_QUEUED || now->state() == v1::JOB_STATE_RUNNING ||
                   now->state() == v1::JOB_STATE_SCHEDULED);
  if (!runs_again) return status;
  return now;
}

Status Client::remove(const std::string& job_id) {
  WEFT_RETURN_IF_ERROR(check_text("id", job_id));
  v1::DeleteRequest request;
  request.set_id(job_id);
  v1::DeleteResponse response;
  bool maybe_done = false;
  const Status status = blocking_call(*core_, *core_->stub, &v1::JobService::Stub::Delete, request,
                                      &response, &maybe_done);
  if (maybe_done && status.code() == StatusCode::kNotFound) return absl::OkStatus();
  return status;
}

StatusOr<v1::ChangeJobsProgress> Client::change_jobs(v1::ChangeJobsRequest request,
                                                     const OnChanges& on_progress) {
  WEFT_RETURN_IF_ERROR(check_filter(request.filter()));
  WEFT_RETURN_IF_ERROR(check_text("reason", request.reason()));
  WEFT_RETURN_IF_ERROR(check_text("snapshot", request.snapshot()));
  v1::ChangeJobsProgress before;  // of the tries before this one
  std::optional<CallRetry> retry(std::in_place, core_->options, core_->random());
  for (;;) {
    grpc::ClientContext context;  // without a deadline: a million jobs take their time
    if (!core_->begin_call(&context)) return stopped_status();
    const auto reader = core_->stub->ChangeJobs(&context, request);
    v1::ChangeJobsProgress progress;
    v1::ChangeJobsProgress all = before;
    bool got_on = false;
    while (reader->Read(&progress)) {
      all = progress;
      if (!request.count_only()) {
        all.set_matched(before.changed() + progress.matched());
        all.set_changed(before.changed() + progress.changed());
      }
      request.set_snapshot(progress.snapshot());
      got_on = true;
      if (on_progress) on_progress(all);
    }
    const grpc::Status answer = reader->Finish();
    core_->end_call(&context);
    if (answer.ok()) return all;
    if (core_->stopped()) return stopped_status();
    if (got_on) retry.emplace(core_->options, core_->random());  // it has all its time again
    before = std::move(all);
    Status status;
    const auto pause = retry->after(answer, &status);
    if (!pause) return status;
    core_->wait_to_reconnect(*pause);
  }
}

StatusOr<v1::ListWorkersResponse> Client::workers() {
  v1::ListWorkersResponse response;
  WEFT_RETURN_IF_ERROR(blocking_call(*core_, *core_->worker_stub, &v1::WorkerService::Stub::List,
                                     v1::ListWorkersRequest(), &response));
  return response;
}

StatusOr<std::string> Client::dump(const std::string& worker_name) {
  WEFT_RETURN_IF_ERROR(check_text("name", worker_name));
  v1::DumpWorkerRequest request;
  request.set_name(worker_name);
  v1::DumpWorkerResponse response;
  WEFT_RETURN_IF_ERROR(blocking_call(*core_, *core_->worker_stub, &v1::WorkerService::Stub::Dump,
                                     request, &response));
  return std::move(*response.mutable_text());
}

void Client::stop() { core_->stop(); }

ResultStream Client::watch(ResultStream::Options options) {
  return ResultStream(open_watch(core_, std::move(options)));
}

Attachment Client::attach(Attachment::Options options) {
  return open_attachment(core_, std::move(options));
}

SubmitStream Client::submit_stream(SubmitStream::OnAnswer on_answer) {
  return open_submit_stream(core_, std::move(on_answer));
}

JobList Client::jobs(v1::ListJobsRequest request) { return JobList(*this, std::move(request)); }

}  // namespace weft
