// Method: turns the calls of one gRPC method into tasks on the loop.
#pragma once

#include <exception>
#include <functional>
#include <string>
#include <utility>

#include "daemon/rpc/call.h"

namespace weft {

// The handler's hold on its call. Going away ends the call, so that no client waits for ever.
template <typename C>
class CallHandle {
 public:
  explicit CallHandle(C& call) : call_(&call) {}
  CallHandle(CallHandle&& other) noexcept : call_(std::exchange(other.call_, nullptr)) {}
  CallHandle& operator=(CallHandle&&) = delete;
  ~CallHandle() {
    if (call_ == nullptr) return;
    call_->finish(shutting_down_error());
    call_->drop_reference();
  }
  C& operator*() { return *call_; }
  C* operator->() { return call_; }

 private:
  C* call_;
};

// Lifetime: outlives its calls.
template <typename C>
class Method final : public MethodBase {
 public:
  // Asks gRPC for one call: service.RequestX(&call.context(), …, queue, queue, tag).
  using Accept = std::function<void(C& call, grpc::ServerCompletionQueue* queue, void* tag)>;
  // Answers one call, which outlives the task. Cancellation: the call is then finished for it.
  using Handler = std::function<Task<void>(C& call)>;

  // `name` is that of the service and of the method: "weft.v1.JobService/Submit".
  Method(CallDomain& domain, std::string name, Accept accept, Handler handler)
      : MethodBase(domain, std::move(name)),
        accept_(std::move(accept)),
        handler_(std::move(handler)) {
    for (size_t i = 0; i < limits::kAcceptorsPerMethod; ++i) post_acceptor();
  }

  void post_acceptor() override {
    C* call = new C(*this, domain_);  // deletes itself at its last reference
    call->prepare();
    domain_.count_acceptor();
    accept_(*call, domain_.queue(), call->arrive_tag_.get());
  }

  void start(Call& call) override {
    domain_.group()
        .start(&Method::serve, this, CallHandle<C>(static_cast<C&>(call)))
        .set_name(task_name());
  }

 private:
  static Task<void> serve(Method* method, CallHandle<C> call) {
    CancelScope scope;
    const ScopeOfCall binding(*call, scope);
    try {
      const bool ended = co_await scope.run(method->handler_(*call));
      if (!ended) call->finish(cancelled_error(scope.own_reason()));
    } catch (const std::exception& failure) {  // one request's trouble is nobody else's
      call->finish(failed_error(failure));
    }
  }

  Accept accept_;
  Handler handler_;
};

}  // namespace weft
