// Scopes: linking, entering, and delivering a cancellation to what is parked in them.
#include <weft/runtime/cancellation.h>

#include <weft/runtime/event_loop.h>

namespace weft {

std::string_view to_string(CancelReason reason) {
  switch (reason) {
    case CancelReason::kNone:
      return "none";
    case CancelReason::kUserRequest:
      return "user request";
    case CancelReason::kDeadline:
      return "deadline";
    case CancelReason::kLeaseLost:
      return "lease lost";
    case CancelReason::kShutdown:
      return "shutdown";
    case CancelReason::kConsumerGone:
      return "consumer gone";
    case CancelReason::kSiblingFailed:
      return "sibling failed";
  }
  return "unknown";
}

CancelScope::~CancelScope() {
  WEFT_CHECK(tasks_.empty() && inner_.empty(), "a scope outlives everything that runs in it");
}

void CancelScope::cancel(CancelReason reason) {
  if (cancel_called()) return;
  own_reason_ = reason;
  deliver(reason);
}

void CancelScope::deliver(CancelReason reason) {
  if (cancelled()) return;
  effective_ = reason;
  tasks_.for_each([&](TaskContext& context) {
    // A ready context has its answer already; it sees the cancellation at its next await.
    if (context.state_ != TaskContext::State::kParked) return;
    Waiter* waiter = context.waiter_;
    if (waiter->cancel()) {
      waiter->reason_ = reason;
      EventLoop::current()->make_ready(context);
    }
  });
  inner_.for_each([&](CancelScope& scope) {
    if (!scope.shielded_) scope.deliver(reason);
  });
}

void CancelScope::set_deadline_after(std::chrono::nanoseconds delay) {
  EventLoop* loop = EventLoop::current();
  loop->disarm(*this);
  loop->arm(*this, loop->exact_now_ns() + delay.count());
}

void CancelScope::fire() { cancel(CancelReason::kDeadline); }

void CancelScope::attach_to(CancelScope* parent) {
  parent_ = parent;
  if (parent == nullptr) return;
  parent->inner_.push_back(*this);
  if (parent->cancelled() && !shielded_) deliver(parent->effective_);
}

void CancelScope::detach() {
  EventLoop::current()->disarm(*this);
  unlink();
  parent_ = nullptr;
}

Task<bool> CancelScope::run(Task<void> task) {
  std::optional<Cancelled> unwound;
  {
    ScopeEntry entry(*this);
    try {
      co_await task;
    } catch (const Cancelled& cancelled) {
      unwound = cancelled;
    }
  }
  if (unwound) {
    const CancelScope* outer = EventLoop::current()->context()->scope();
    if (outer->cancelled() && !shielded_) throw Cancelled(outer->reason());
    if (!cancel_called()) throw *unwound;
  }
  co_return !unwound;
}

ScopeEntry::ScopeEntry(CancelScope& scope)
    : scope_(scope), context_(*EventLoop::current()->context()), outer_(context_.scope_) {
  scope_.attach_to(outer_);
  context_.scope_ = &scope_;
  scope_.tasks_.push_back(context_);
}

ScopeEntry::~ScopeEntry() {
  context_.scope_ = outer_;
  outer_->tasks_.push_back(context_);
  scope_.detach();
}

void GeneratorScopes::enter(TaskContext& context) {
  base = context.scope_;
  if (innermost == nullptr) return;
  outermost->attach_to(base);
  context.scope_ = innermost;
  innermost->tasks_.push_back(context);
}

void GeneratorScopes::leave(TaskContext& context) {
  outermost = innermost = nullptr;
  if (context.scope_ == base) return;
  innermost = context.scope_;
  for (outermost = innermost; outermost->parent_ != base; outermost = outermost->parent_) {
    WEFT_CHECK(outermost->parent_ != nullptr, "a generator yields inside the scope it was called in");
  }
  outermost->unlink();
  outermost->parent_ = nullptr;
  context.scope_ = base;
  base->tasks_.push_back(context);
}

}  // namespace weft
