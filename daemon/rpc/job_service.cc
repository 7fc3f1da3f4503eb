// How calls reach JobService, and the unary methods on a running job.
#include "daemon/rpc/job_service.h"

#include <algorithm>
#include <utility>

#include <weft/base/id.h>
#include <weft/base/limits.h>
#include <weft/runtime/sleep.h>

namespace weft {

// One method: gRPC's way to ask for a call, and ours to answer it.
#define WEFT_METHOD(CallType, Name, handler)                                                     \
  methods_.push_back(std::make_unique<Method<CallType>>(                                         \
      domain, name() + "/" #Name,                                                                \
      [this](CallType& call, grpc::ServerCompletionQueue* queue, void* tag) {                    \
        service_.Request##Name(&call.context(), &call.request(), call.responder(), queue, queue, \
                               tag);                                                             \
      },                                                                                         \
      [this](CallType& call) { return handler(call); }))
#define WEFT_BIDI_METHOD(CallType, Name, handler)                                     \
  methods_.push_back(std::make_unique<Method<CallType>>(                              \
      domain, name() + "/" #Name,                                                     \
      [this](CallType& call, grpc::ServerCompletionQueue* queue, void* tag) {         \
        service_.Request##Name(&call.context(), call.responder(), queue, queue, tag); \
      },                                                                              \
      [this](CallType& call) { return handler(call); }))

void JobService::listen(CallDomain& domain) {
  WEFT_METHOD(SubmitCall, Submit, submit);
  WEFT_METHOD(SubmitBatchCall, SubmitBatch, submit_batch);
  WEFT_BIDI_METHOD(SubmitStreamCall, SubmitStream, submit_stream);
  WEFT_METHOD(GetCall, Get, get);
  WEFT_METHOD(ListCall, List, list);
  WEFT_METHOD(RetryCall, Retry, retry);
  WEFT_METHOD(DeleteCall, Delete, remove);
  WEFT_METHOD(ChangeJobsCall, ChangeJobs, change_jobs);
  WEFT_METHOD(WatchCall, Watch, watch);
  WEFT_BIDI_METHOD(AttachCall, Attach, attach);
  WEFT_METHOD(SendCall, Send, send);
  WEFT_METHOD(CancelCall, Cancel, cancel);
}
#undef WEFT_BIDI_METHOD
#undef WEFT_METHOD

Task<void> JobService::get(GetCall& call) {
  if (const Status status = check_job_id("id", call.request().id()); !status.ok()) {
    call.finish(status);
    co_return;
  }
  auto job = co_await store_.get(call.request().id(), /*with_payload=*/true);
  // A client that asks for much and reads nothing of it is refused, not served from all our memory.
  const Status room = job.ok() ? call.hold(job->ByteSizeLong()) : absl::OkStatus();
  if (!room.ok()) {
    call.finish(room);
  } else {
    call.finish(std::move(job));
  }
}

Task<void> JobService::send(SendCall& call) {
  v1::SendRequest& request = call.request();
  Status status = check_job_id("id", request.id());
  if (status.ok()) status = check_send("value", request.value(), "sender", request.sender());
  if (!status.ok()) {
    call.finish(status);
    co_return;
  }
  const auto number = co_await store_.send(request.id(), request.sender(), request.number(),
                                           std::move(*request.mutable_value()));
  if (!number.ok()) {
    call.finish(number.status());
    co_return;
  }
  v1::SendResponse response;
  response.set_number(*number);
  call.finish(std::move(response));
}

Task<void> JobService::cancel(CancelCall& call) {
  Status status = check_job_id("id", call.request().id());
  if (status.ok()) status = check_reason("reason", call.request().reason());
  if (!status.ok()) {
    call.finish(status);
    co_return;
  }
  auto answer = co_await store_.cancel(call.request().id(), call.request().reason());
  call.finish(std::move(answer));
}

Status JobService::check_send(std::string_view field, const std::string& value,
                              std::string_view sender_field, const std::string& sender) {
  if (value.size() > limits::kSendBytes) {
    return field_error(field, "a send holds at most " + std::to_string(limits::kSendBytes) +
                                  " bytes: split the value or pass a reference to it");
  }
  if (sender.size() > limits::kSenderBytes) {
    return field_error(sender_field, "a sender's name has at most " +
                                         std::to_string(limits::kSenderBytes) + " bytes");
  }
  return absl::OkStatus();
}

Status JobService::check_reason(std::string_view field, const std::string& reason) {
  if (reason.size() <= limits::kReasonBytes) return absl::OkStatus();
  return field_error(
      field, "a reason has at most " + std::to_string(limits::kReasonBytes) + " bytes: shorten it");
}

Task<void> JobService::wait_until_quiet() {
  const auto owed = [](const Subscription* reader) { return reader->job_ended(); };
  for (int64_t waited_ms = 0; waited_ms < limits::kQuietMsMax; waited_ms += limits::kQuietMs) {
    if (std::none_of(readers_.begin(), readers_.end(), owed)) co_return;
    co_await sleep_for(std::chrono::milliseconds(limits::kQuietMs));
  }
}

}  // namespace weft
