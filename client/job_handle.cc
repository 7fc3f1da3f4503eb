// What can be asked of one job.
#include <weft/client/async_call.h>
#include <weft/client/async_event_reader.h>
#include <weft/client/job_handle.h>
#include <weft/client/text.h>

namespace weft {
namespace {

using Stub = v1::JobService::Stub;

AsyncResultStream open_watch(const std::shared_ptr<AsyncCore>& core, const std::string& id,
                             uint64_t from_sequence) {
  auto open = [core = core.get(), id](Semaphore::Permit permit, uint64_t from,
                                      StreamProgress::Deadline deadline) {
    v1::WatchRequest request;
    request.set_id(id);
    request.set_from_sequence(from);
    return new AsyncWatchCall(*core, std::move(permit), request, deadline);
  };
  return AsyncResultStream(
      std::make_unique<AsyncEventReader>(core, id, from_sequence, /*deadline_ms=*/0, open));
}

Task<StatusOr<v1::Job>> get_job(std::shared_ptr<AsyncCore> core, std::string id) {
  Status status = check_text("id", id);
  if (!status.ok()) co_return status;
  v1::GetRequest request;
  request.set_id(std::move(id));
  co_return co_await call_async(core, core->client().stub.get(), &Stub::PrepareAsyncGet,
                                std::move(request));
}

bool is_final(v1::JobState state) {
  return state == v1::JOB_STATE_SUCCEEDED || state == v1::JOB_STATE_DEAD ||
         state == v1::JOB_STATE_CANCELLED || state == v1::JOB_STATE_EXPIRED;
}

Task<StatusOr<v1::Finished>> wait_for_end(std::shared_ptr<AsyncCore> core, std::string id) {
  // Only what comes after the chunks there are: they are not wanted.
  StatusOr<v1::Job> job = co_await get_job(core, id);
  if (!job.ok()) co_return job.status();
  if (is_final(job->state())) {
    v1::Finished finished;
    finished.set_state(job->state());
    *finished.mutable_outcome() = std::move(*job->mutable_outcome());
    finished.set_last_sequence(job->last_sequence());
    co_return finished;
  }
  AsyncResultStream stream = open_watch(core, id, job->last_sequence() + 1);
  for (;;) {
    StatusOr<std::optional<v1::Event>> event = co_await stream.next_event();
    if (!event.ok()) co_return event.status();
    if (!event->has_value() || !(*event)->has_finished()) continue;
    v1::Finished finished = std::move(*(*event)->mutable_finished());
    StatusOr<std::optional<v1::Event>> end = co_await stream.next_event();
    co_return finished;
  }
}

Task<StatusOr<std::string>> read_result(std::shared_ptr<AsyncCore> core, std::string id) {
  StatusOr<v1::Finished> finished = co_await wait_for_end(core, id);
  if (!finished.ok()) co_return finished.status();
  v1::Outcome& outcome = *finished->mutable_outcome();
  const std::string why = outcome.error_message().empty() ? "" : ": " + outcome.error_message();
  switch (finished->state()) {
    case v1::JOB_STATE_SUCCEEDED:
      co_return std::move(*outcome.mutable_result());
    case v1::JOB_STATE_CANCELLED:
      co_return make_status(StatusCode::kCancelled, "job " + id + " was cancelled" + why);
    case v1::JOB_STATE_EXPIRED:
      co_return make_status(StatusCode::kDeadlineExceeded, "job " + id + " expired" + why);
    default:
      co_return make_status(StatusCode::kAborted,
                            "job " + id + " is dead (" + outcome.error_code() + ")" + why);
  }
}

Task<StatusOr<v1::CancelResponse>> cancel_job(std::shared_ptr<AsyncCore> core, std::string id,
                                              std::string reason) {
  Status status = check_text("id", id);
  if (status.ok()) status = check_text("reason", reason);
  if (!status.ok()) co_return status;
  v1::CancelRequest request;
  request.set_id(std::move(id));
  request.set_reason(std::move(reason));
  co_return co_await call_async(core, core->client().stub.get(), &Stub::PrepareAsyncCancel,
                                std::move(request));
}

Task<StatusOr<uint64_t>> send_value(std::shared_ptr<AsyncCore> core, std::string id,
                                    std::string value) {
  Status status = check_text("id", id);
  if (!status.ok()) co_return status;
  const Semaphore::Permit turn = co_await core->send_turn.acquire();
  v1::SendRequest request;
  request.set_id(std::move(id));
  request.set_value(std::move(value));
  request.set_sender(core->client().sender);
  request.set_number(++core->client().sends);
  StatusOr<v1::SendResponse> response = co_await call_async(
      core, core->client().stub.get(), &Stub::PrepareAsyncSend, std::move(request));
  if (!response.ok()) co_return response.status();
  co_return response->number();
}

}  // namespace

Task<StatusOr<v1::Job>> JobHandle::get() const { return get_job(core_, id_); }
AsyncResultStream JobHandle::watch(uint64_t from_sequence) const {
  return open_watch(core_, id_, from_sequence);
}
Task<AsyncResultStream> JobHandle::open(uint64_t from_sequence) const {
  co_return watch(from_sequence);
}
AsyncAttachment JobHandle::attach(Attachment::Options options) const {
  options.job_id = id_;
  return open_attachment(core_, std::move(options));
}
Task<StatusOr<v1::Finished>> JobHandle::wait() const { return wait_for_end(core_, id_); }
Task<StatusOr<std::string>> JobHandle::result_bytes() const { return read_result(core_, id_); }
Task<StatusOr<v1::CancelResponse>> JobHandle::cancel(std::string reason) const {
  return cancel_job(core_, id_, std::move(reason));
}
Task<StatusOr<uint64_t>> JobHandle::send(std::string value) const {
  return send_value(core_, id_, std::move(value));
}

}  // namespace weft
