// The life of a call, on both threads.
#include "daemon/rpc/call.h"

#include <chrono>

namespace weft {
namespace {

constexpr int kRetryMs = 1000;

}  // namespace

Call::~Call() {
  if (arrived_) domain_.count_end(held_bytes_.load(std::memory_order_relaxed));
}

Status Call::hold(size_t bytes) {
  held_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  return domain_.hold(bytes);
}

void Call::let_go(size_t bytes) {
  held_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  domain_.let_go(bytes);
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
  const grpc::StatusCode code = final_status_.error_code();
  // Whatever the handler said last, a client that is gone did not hear it.
  method_.count_finished(dead_ && code != grpc::DEADLINE_EXCEEDED ? grpc::CANCELLED : code);
  pump();
}

void Call::on_arrive(bool ok) {
  if (!ok) {  // the server shuts down: no call came, so there is no done completion either
    CallDomain& domain = domain_;
    delete this;
    domain.count_answered();
    return;
  }
  arrived_ = true;
  held_bytes_ = request_bytes();
  const Status room = domain_.count_arrival(held_bytes_);
  if (domain_.accepting()) method_.post_acceptor();
  domain_.count_answered();
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
  Status room = hold(request_bytes);
  if (!calls_fit) {
    room = retry_error(StatusCode::kResourceExhausted,
                       "the server has as many calls as it takes: try again in a second", kRetryMs);
  }
  if (!room.ok()) refused_.fetch_add(1, std::memory_order_relaxed);
  return room;
}

Status CallDomain::hold(size_t bytes) {
  const size_t before = held_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  if (before + bytes <= max_bytes_) return absl::OkStatus();
  return retry_error(
      StatusCode::kResourceExhausted,
      "the server holds as many bytes of requests and answers as it takes: try again in a second",
      kRetryMs);
}

void CallDomain::count_end(size_t bytes) {
  let_go(bytes);
  if (live_.fetch_sub(1) == 1) tell_waiter();
}

void CallDomain::count_answered() {
  if (acceptors_.fetch_sub(1) == 1) tell_waiter();
}

// Sequentially consistent with the waits: either they see zero or this sees that they wait.
void CallDomain::tell_waiter() {
  if (!accepting_.load() && !empty_posted_.exchange(true)) loop_.post(empty_mail_);
}

std::vector<FinishedCalls> CallDomain::finished() const {
  std::vector<FinishedCalls> list;
  for (const MethodBase* method : methods_) method->list_finished(list);
  return list;
}

MethodBase::MethodBase(CallDomain& domain, std::string name)
    : domain_(domain), name_(std::move(name)) {
  domain_.add_method(*this);
}

MethodBase::CallName::CallName(const std::string& method)
    : text_("rpc " + method.substr(method.rfind('/') + 1)) {}

size_t MethodBase::CallName::write(char* out, size_t size) const noexcept {
  return text_.copy(out, size);
}

MethodBase::~MethodBase() { domain_.remove_method(*this); }

void MethodBase::count_finished(grpc::StatusCode code) {
  const auto index = static_cast<size_t>(code);
  if (index < kCodes) finished_[index].fetch_add(1, std::memory_order_relaxed);
}

void MethodBase::list_finished(std::vector<FinishedCalls>& list) const {
  for (size_t i = 0; i < kCodes; ++i) {
    const uint64_t count = finished_[i].load(std::memory_order_relaxed);
    if (count > 0) list.push_back({name_, static_cast<grpc::StatusCode>(i), count});
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

Task<void> CallDomain::wait_until_closed() {
  while (acceptors_.load() > 0 || live() > 0) {
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
