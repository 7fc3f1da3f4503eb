// The streaming methods of JobService: Watch and Attach.
#include <weft/base/id.h>
#include <weft/base/limits.h>
#include <weft/runtime/task_group.h>

#include "daemon/rpc/job_service.h"

namespace weft {
namespace {

// Counts a reader for as long as it lives.
class ReaderCount {
 public:
  explicit ReaderCount(size_t& readers) : readers_(readers) { ++readers_; }
  ~ReaderCount() { --readers_; }
  ReaderCount(const ReaderCount&) = delete;
  ReaderCount& operator=(const ReaderCount&) = delete;

 private:
  size_t& readers_;
};

}  // namespace

// Events from the job to the client, until there are no more.
template <typename C>
Task<Status> JobService::copy_events(C& call, Subscription& subscription) {
  for (;;) {
    auto event = co_await subscription.next();
    if (!event.ok()) co_return event.status();
    if (!event->has_value()) co_return absl::OkStatus();
    ++events_sent_;
    const bool there = co_await call.write(*std::move(*event));
    if (!there) co_return make_status(StatusCode::kCancelled, "the client is gone");
  }
}

Task<void> JobService::watch(WatchCall& call) {
  const v1::WatchRequest& request = call.request();
  if (const Status status = check_job_id("id", request.id()); !status.ok()) {
    call.finish(status);
    co_return;
  }
  WatchOptions options;
  options.job_id = request.id();
  options.from_sequence = request.from_sequence();
  options.all_attempts = request.all_attempts();
  const auto subscription = co_await hub_.open(std::move(options));
  if (!subscription.ok()) {
    call.finish(subscription.status());
    co_return;
  }
  const ReaderCount reader(readers_);
  const Status end = co_await copy_events(call, **subscription);
  call.finish(end);
}

Task<void> JobService::attach(AttachCall& call) {
  auto first = co_await call.read();
  if (!first || !first->has_open()) {
    call.finish(field_error("request", "the first message of an attach must be `open`"));
    co_return;
  }
  v1::AttachRequest::Open open = std::move(*first->mutable_open());
  Status status = check_job_id("open.id", open.id());
  if (status.ok()) status = check_send("value", "", "open.sender", open.sender());
  if (!status.ok()) {
    call.finish(status);
    co_return;
  }
  if (open.sender().empty()) open.set_sender(make_incarnation(random_));
  WatchOptions options;
  options.job_id = open.id();
  options.from_sequence = open.from_sequence();
  options.all_attempts = open.all_attempts();
  options.attached = true;
  options.credit = open.credit();
  const auto subscription = co_await hub_.open(std::move(options));
  if (!subscription.ok()) {
    call.finish(subscription.status());
    co_return;
  }
  const ReaderCount reader(readers_);
  Status end;
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(&JobService::pump_events, this, &call, subscription->get(), &group, &end);
    group.start(&JobService::steer, this, &call, subscription->get(), &open, &group, &end);
    co_return;
  };
  co_await with_group(body);
  call.finish(end);
}

// Ends the attach: with the job's last event, or an error.
Task<void> JobService::pump_events(AttachCall* call, Subscription* subscription, TaskGroup* group,
                                   Status* end) {
  *end = co_await copy_events(*call, *subscription);
  group->cancel(CancelReason::kSiblingFailed);
}

// Ends the attach only with an error of the client: a half-close leaves the events flowing, with
// the credit given so far.
Task<void> JobService::steer(AttachCall* call, Subscription* subscription,
                             const v1::AttachRequest::Open* open, TaskGroup* group, Status* end) {
  for (;;) {
    auto request = co_await call->read();
    if (!request) co_return;
    Status status = co_await steer_once(*std::move(request), *subscription, *open);
    if (status.ok()) continue;
    *end = std::move(status);
    group->cancel(CancelReason::kSiblingFailed);
    co_return;
  }
}

Task<Status> JobService::steer_once(v1::AttachRequest request, Subscription& subscription,
                                    const v1::AttachRequest::Open& open) {
  switch (request.request_case()) {
    case v1::AttachRequest::kCredit:
      subscription.set_credit(request.credit());
      co_return absl::OkStatus();
    case v1::AttachRequest::kSend: {
      v1::AttachRequest::Send& send = *request.mutable_send();
      const Status status = check_send("send.value", send.value(), "open.sender", open.sender());
      if (!status.ok()) co_return status;
      const auto number = co_await store_.send(open.id(), open.sender(), send.number(),
                                               std::move(*send.mutable_value()));
      // The job has ended under the consumer's hands: the stream is about to say so itself.
      if (number.status().code() == StatusCode::kFailedPrecondition) co_return absl::OkStatus();
      co_return number.status();
    }
    case v1::AttachRequest::kCancel: {
      const Status status = check_reason("cancel.reason", request.cancel().reason());
      if (!status.ok()) co_return status;
      const auto answer = co_await store_.cancel(open.id(), request.cancel().reason());
      co_return answer.status();
    }
    case v1::AttachRequest::kOpen:
      co_return field_error("request", "this attach is open already: open another call instead");
    case v1::AttachRequest::REQUEST_NOT_SET:
      co_return field_error("request", "an attach takes open, credit, send or cancel");
  }
  co_return absl::OkStatus();
}

}  // namespace weft
