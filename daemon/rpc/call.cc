// The life of a call, on both threads.
#include "daemon/rpc/call.h"

#include <chrono>

namespace weft {

Call::~Call() {
  if (arrived_) domain_.count_end(counted_bytes_);
}

void Call::pump() {
  if (writing_ || finish_sent_) return;
  if (!dead_ && issue_write()) return;
  if (!finish_asked_) return;
  // Also when the client is gone: the operation then fails, harmlessly, and frees gRPC's part
  // early.
  finish_sent_ = true;
  add_reference();
  issue_finish(final_status_);
}

void Call::ask_finish(grpc::Status status) {
  std::lock_guard lock(mutex_);
  if (finish_asked_) return;
  finish_asked_ = true;
  final_status_ = std::move(status);
  pump();
}

void Call::on_arrive(bool ok) {
  if (!ok) {  // the server shuts down: no call came, so there is no done completion either
    delete this;
    return;
  }
  arrived_ = true;
  counted_bytes_ = request_bytes();
  const Status room = domain_.count_arrival(counted_bytes_);
  if (domain_.accepting()) method_.post_acceptor();
  if (room.ok()) {
    domain_.loop().post(arrive_mail_);  // the arrive reference becomes the handler's
    return;
  }
  ask_finish(to_grpc(room));
  drop_reference();
}

void Call::on_done(bool) {
  const bool cancelled = context_.IsCancelled();  // may be asked only from here on
  bool tell;
  {
    std::lock_guard lock(mutex_);
    if (cancelled) {
      dead_ = true;
      drop_output();
    }
    tell = !finish_asked_;
  }
  if (tell) {
    domain_.loop().post(gone_mail_);  // the done reference goes with the mail
  } else {
    drop_reference();
  }
}

void Call::on_finish(bool) { drop_reference(); }

void Call::deliver_arrival() { method_.start(*this); }

void Call::deliver_gone() {
  gone_ = true;
  if (scope_ != nullptr) {
    const bool late = context_.deadline() <= std::chrono::system_clock::now();
    scope_->cancel(late ? CancelReason::kDeadline : CancelReason::kConsumerGone);
  }
  on_gone();
  drop_reference();
}

ScopeOfCall::ScopeOfCall(Call& call, CancelScope& scope) : call_(call) {
  call_.scope_ = &scope;
  call_.domain_.add(call_);
  if (call_.gone_) scope.cancel(CancelReason::kConsumerGone);
  if (call_.is_stream() && call_.domain_.streams_cancelled()) scope.cancel(CancelReason::kShutdown);
}

ScopeOfCall::~ScopeOfCall() {
  call_.scope_ = nullptr;
  call_.unlink();
}

Status CallDomain::count_arrival(size_t request_bytes) {
  arrived_.fetch_add(1, std::memory_order_relaxed);
  const bool calls_fit = live_.fetch_add(1, std::memory_order_acq_rel) < max_calls_;
  const size_t before = request_bytes_.fetch_add(request_bytes, std::memory_order_relaxed);
  if (calls_fit && before + request_bytes <= max_request_bytes_) return absl::OkStatus();
  refused_.fetch_add(1, std::memory_order_relaxed);
  return retry_error(
      StatusCode::kResourceExhausted,
      calls_fit ? "the server holds as many bytes of requests as it takes: try again in a second"
                : "the server has as many calls as it takes: try again in a second",
      1000);
}

void CallDomain::count_end(size_t request_bytes) {
  request_bytes_.fetch_sub(request_bytes, std::memory_order_relaxed);
  // Sequentially consistent with wait_until_empty(): either it sees zero or this sees that it
  // waits.
  if (live_.fetch_sub(1) == 1 && !accepting_.load() && !empty_posted_.exchange(true)) {
    loop_.post(empty_mail_);
  }
}

void CallDomain::deliver_empty() {
  empty_posted_.store(false);
  empty_.set();
}

void CallDomain::add(Call& call) { calls_.push_back(call); }

void CallDomain::cancel_streams() {
  streams_cancelled_ = true;
  calls_.for_each([](Call& call) {
    if (call.is_stream() && call.scope_ != nullptr) call.scope_->cancel(CancelReason::kShutdown);
  });
}

Task<void> CallDomain::wait_until_empty() {
  while (live() > 0) {
    empty_.reset();
    co_await empty_.wait();
  }
}

Task<void> CallDomain::wait_for_mail() {
  while (empty_posted_.load()) {
    empty_.reset();
    co_await empty_.wait();
  }
}

}  // namespace weft
