// The streaming methods of JobService: Watch and Attach.
#include <algorithm>
#include <chrono>
#include <utility>

#include <weft/base/id.h>
#include <weft/base/limits.h>
#include <weft/runtime/channel.h>
#include <weft/runtime/mutex.h>
#include <weft/runtime/sleep.h>
#include <weft/runtime/task_group.h>

#include "daemon/rpc/job_service.h"

namespace weft {
namespace {

// Lists a reader until it has had everything.
class ReaderEntry {
 public:
  using Readers = std::unordered_set<const Subscription*>;
  ReaderEntry(Readers& readers, const Subscription* reader) : readers_(readers), reader_(reader) {
    readers_.insert(reader_);
  }
  ~ReaderEntry() { readers_.erase(reader_); }
  ReaderEntry(const ReaderEntry&) = delete;
  ReaderEntry& operator=(const ReaderEntry&) = delete;

 private:
  Readers& readers_;
  const Subscription* reader_;
};

}  // namespace

// What the tasks of one attach share.
struct JobService::Attachment {
  Attachment(AttachCall& attach_call, Subscription& reader, v1::AttachRequest::Open first,
             size_t& all_held)
      : call(attach_call), subscription(reader), open(std::move(first)), all_held_bytes(all_held) {}
  ~Attachment() { all_held_bytes -= held_bytes; }
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;

  void hold(size_t bytes) {
    held_bytes += bytes;
    all_held_bytes += bytes;
  }
  void let_go(size_t bytes) {
    held_bytes -= bytes;
    all_held_bytes -= bytes;
  }

  // The first one with a reason ends all.
  void finish(Status status) {
    end = std::move(status);
    group->cancel(CancelReason::kSiblingFailed);
  }

  AttachCall& call;
  Subscription& subscription;
  const v1::AttachRequest::Open open;
  TaskGroup* group = nullptr;
  Status end;
  // Sends that wait for their job; as many as a client has unacknowledged, so that credit and
  // cancel pass them.
  Channel<v1::AttachRequest::Send> sends{limits::kUnconsumedSends};
  size_t held_bytes = 0;   // of the sends that wait
  size_t& all_held_bytes;  // of all attaches
  Mutex writing{"attach events"};
  bool finished = false;  // the last event is written or about to be
};

// Events from the job to the client, until there are no more.
template <typename Write>
Task<Status> JobService::copy_events(Subscription& subscription, Write write) {
  for (;;) {
    auto event = co_await subscription.next();
    if (!event.ok()) co_return event.status();
    if (!event->has_value()) co_return absl::OkStatus();
    const bool there = co_await write(*std::move(*event));
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
  const ReaderEntry reader(readers_, subscription->get());
  const auto write = [&call](v1::Event event) { return call.write(std::move(event)); };
  const Status end = co_await copy_events(**subscription, write);
  call.finish(end);
}

Task<void> JobService::attach(AttachCall& call) {
  auto first = co_await call.read();
  if (!call.read_refused().ok()) {
    call.finish(call.read_refused());
    co_return;
  }
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
  const ReaderEntry reader(readers_, subscription->get());
  Attachment attachment(call, **subscription, std::move(open), held_send_bytes_);
  auto body = [&](TaskGroup& group) -> Task<void> {
    attachment.group = &group;
    group.start(&JobService::pump_events, this, &attachment);
    group.start(&JobService::steer, this, &attachment);
    group.start(&JobService::store_sends, this, &attachment);
    co_return;
  };
  co_await with_group(body);
  call.finish(attachment.end);
}

// Ends the attach: with the job's last event, or an error.
Task<void> JobService::pump_events(Attachment* attachment) {
  const auto write = [attachment](v1::Event event) -> Task<bool> {
    return write_event(attachment, std::move(event));
  };
  attachment->finish(co_await copy_events(attachment->subscription, write));
}

// One at a time, so that nothing comes after the last event.
Task<bool> JobService::write_event(Attachment* attachment, v1::Event event) {
  const auto lock = co_await attachment->writing.lock();
  if (attachment->finished) co_return true;
  attachment->finished = event.has_finished();
  co_return co_await attachment->call.write(std::move(event));
}

// Ends the attach only with an error of the client or a request there is no room for: a half-close
// leaves the events flowing, with the credit given so far.
Task<void> JobService::steer(Attachment* attachment) {
  for (;;) {
    auto request = co_await attachment->call.read();
    if (!request) break;
    Status status = co_await steer_once(*std::move(request), attachment);
    if (status.ok()) continue;
    attachment->finish(std::move(status));
    co_return;
  }
  if (!attachment->call.read_refused().ok()) attachment->finish(attachment->call.read_refused());
  attachment->sends.close();
}

Task<Status> JobService::steer_once(v1::AttachRequest request, Attachment* attachment) {
  switch (request.request_case()) {
    case v1::AttachRequest::kCredit:
      attachment->subscription.set_credit(request.credit());
      co_return absl::OkStatus();
    case v1::AttachRequest::kSend: {
      v1::AttachRequest::Send& send = *request.mutable_send();
      const Status status =
          check_send("send.value", send.value(), "open.sender", attachment->open.sender());
      if (!status.ok()) co_return status;
      // Not reading on is the flow control of a client that has sent too much, and of all clients
      // when they hold too much together; then credit waits with the sends before it.
      while (held_send_bytes_ > limits::kHeldSendBytes && attachment->held_bytes > 0) {
        co_await sleep_for(std::chrono::milliseconds(limits::kSendRetryMs));
      }
      attachment->hold(send.value().size());
      co_await attachment->sends.send(std::move(send));
      co_return absl::OkStatus();
    }
    case v1::AttachRequest::kCancel: {
      const Status status = check_reason("cancel.reason", request.cancel().reason());
      if (!status.ok()) co_return status;
      const auto answer = co_await store_.cancel(attachment->open.id(), request.cancel().reason());
      co_return answer.status();
    }
    case v1::AttachRequest::kOpen:
      co_return field_error("request", "this attach is open already: open another call instead");
    case v1::AttachRequest::REQUEST_NOT_SET:
      co_return field_error("request", "an attach takes open, credit, send or cancel");
  }
  co_return absl::OkStatus();
}

// In their order, each once there is room for it in its job, and each acknowledged.
Task<void> JobService::store_sends(Attachment* attachment) {
  for (;;) {
    const auto send = co_await attachment->sends.receive();
    if (!send) co_return;
    const Status status = co_await store_send(attachment, &*send);
    attachment->let_go(send->value().size());
    if (!status.ok()) {
      // The job has ended under the consumer's hands: the stream is about to say so itself.
      if (status.code() != StatusCode::kFailedPrecondition) attachment->finish(status);
      co_return;
    }
    if (send->number() == 0) continue;
    v1::Event accepted;
    accepted.mutable_sends_accepted()->set_number(send->number());
    const bool there = co_await write_event(attachment, std::move(accepted));
    if (!there) co_return;
  }
}

Task<Status> JobService::store_send(Attachment* attachment, const v1::AttachRequest::Send* send) {
  for (int64_t delay_ms = limits::kSendRetryMs;;) {
    const auto number = co_await store_.send(attachment->open.id(), attachment->open.sender(),
                                             send->number(), send->value());
    if (number.status().code() != StatusCode::kResourceExhausted) co_return number.status();
    co_await sleep_for(std::chrono::milliseconds(delay_ms));
    delay_ms = std::min(2 * delay_ms, limits::kSendRetryMsMax);
  }
}

}  // namespace weft
