// The unary methods of JobService, and how its calls reach it.
#include "daemon/rpc/job_service.h"

#include <algorithm>
#include <utility>

#include <weft/base/id.h>
#include <weft/base/limits.h>
#include <weft/base/suggest.h>
#include <weft/runtime/sleep.h>
#include <weft/store/check_spec.h>

namespace weft {

// One method: gRPC's way to ask for a call, and ours to answer it.
#define WEFT_METHOD(CallType, Request, handler)                                                  \
  methods_.push_back(std::make_unique<Method<CallType>>(                                         \
      domain,                                                                                    \
      [this](CallType& call, grpc::ServerCompletionQueue* queue, void* tag) {                    \
        service_.Request(&call.context(), &call.request(), call.responder(), queue, queue, tag); \
      },                                                                                         \
      [this](CallType& call) { return handler(call); }))

void JobService::listen(CallDomain& domain) {
  WEFT_METHOD(SubmitCall, RequestSubmit, submit);
  WEFT_METHOD(GetCall, RequestGet, get);
  WEFT_METHOD(SendCall, RequestSend, send);
  WEFT_METHOD(CancelCall, RequestCancel, cancel);
  WEFT_METHOD(WatchCall, RequestWatch, watch);
  methods_.push_back(std::make_unique<Method<AttachCall>>(
      domain,
      [this](AttachCall& call, grpc::ServerCompletionQueue* queue, void* tag) {
        service_.RequestAttach(&call.context(), call.responder(), queue, queue, tag);
      },
      [this](AttachCall& call) { return attach(call); }));
}
#undef WEFT_METHOD

Status JobService::check_type(const std::string& type) const {
  if (registry_.find(type) != nullptr) return absl::OkStatus();
  const std::vector<std::string> types = registry_.types();
  std::string message = "this daemon has no handler for job type '" + type + "'";
  if (const std::string close = closest(type, types); !close.empty()) {
    message += ": did you mean '" + close + "'?";
  }
  message += message.back() == '?' ? " It has" : ": it has";
  for (size_t i = 0; i < std::min(types.size(), limits::kTypesListed); ++i) {
    message += (i == 0 ? " " : ", ") + types[i];
  }
  if (types.size() > limits::kTypesListed) message += ", …";
  return field_error("spec.type", message);
}

// Many submissions of one turn become one transaction: the store commits them as a group.
Task<void> JobService::submit(SubmitCall& call) {
  if (draining_) {
    call.finish(shutting_down_error());
    co_return;
  }
  std::vector<v1::JobSpec> specs;
  specs.push_back(std::move(*call.request().mutable_spec()));
  Status checked = check_spec(specs.front());
  if (const std::string field = field_of(checked); !field.empty()) {
    checked = field_error("spec." + field, from_absl(checked.message()));
  }
  if (checked.ok()) checked = check_type(specs.front().type());
  if (!checked.ok()) {
    call.finish(checked);
    co_return;
  }
  const auto answers = co_await store_.submit(std::move(specs));
  const StatusOr<Submitted>& answer = answers.front();
  if (!answer.ok()) {
    call.finish(answer.status());
    co_return;
  }
  v1::SubmitResponse response;
  response.set_id(answer->id);
  response.set_existing(answer->existing);
  call.finish(std::move(response));
}

Task<void> JobService::get(GetCall& call) {
  if (const Status status = check_job_id("id", call.request().id()); !status.ok()) {
    call.finish(status);
    co_return;
  }
  auto job = co_await store_.get(call.request().id(), /*with_payload=*/true);
  call.finish(std::move(job));
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
