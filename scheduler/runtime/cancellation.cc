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

namespace {

class CopiedName final : public TaskName {
 public:
  explicit CopiedName(std::string text) : text_(std::move(text)) {}
  size_t write(char* out, size_t size) const noexcept override { return text_.copy(out, size); }
  void release() noexcept override { delete this; }

 private:
  const std::string text_;
};

}  // namespace

std::string TaskContext::name() const {
  char text[kNameBytes];
  return std::string(text, name_ == nullptr ? 0 : name_->write(text, sizeof(text)));
}

void TaskContext::set_name(std::string name) { set_name(new CopiedName(std::move(name))); }

const TaskContext* named_task(const TaskContext& context) noexcept {
  if (context.name_writer() != nullptr) return &context;
  for (const CancelScope* scope = context.scope(); scope != nullptr; scope = scope->parent()) {
    const TaskContext* owner = scope->owner();
    if (owner != nullptr && owner->name_writer() != nullptr) return owner;
  }
  return nullptr;
}

CancelScope::~CancelScope() {
  WEFT_CHECK(tasks_.empty() && inner_.empty(), "a scope outlives everything that runs in it");
  if (armed()) EventLoop::current()->disarm(*this);
}

void CancelScope::cancel(CancelReason reason) {
  WEFT_DCHECK(EventLoop::current() != nullptr, "a scope is cancelled on the loop thread");
  WEFT_DCHECK(reason != CancelReason::kNone, "a cancellation has a reason");
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
  loop->arm(*this, loop->after_ns(delay));
}

void CancelScope::fire() { cancel(CancelReason::kDeadline); }

void CancelScope::attach_to(CancelScope* parent) {
  parent_ = parent;
  if (parent == nullptr) return;
  parent->inner_.push_back(*this);
  if (parent->cancelled() && !shielded_) deliver(parent->effective_);
}

void CancelScope::detach() {
  if (armed()) EventLoop::current()->disarm(*this);
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

ScopeEntry::ScopeEntry(CancelScope& scope) : scope_(scope) {
  TaskContext& context = *EventLoop::current()->context();
  scope_.attach_to(context.scope_);
  scope_.owner_ = &context;
  context.scope_ = &scope_;
  scope_.tasks_.push_back(context);
}

ScopeEntry::ScopeEntry(CancelScope& scope, CancelScope& around)
    : scope_(scope), back_(EventLoop::current()->context()->scope_) {
  scope_.attach_to(&around);
  TaskContext& context = *EventLoop::current()->context();
  scope_.owner_ = &context;
  context.scope_ = &scope_;
  scope_.tasks_.push_back(context);
}

ScopeEntry::~ScopeEntry() {
  // Asked now, not remembered: a generator may have been moved to another task since, and one that
  // is dropped at a co_yield has left its scopes already.
  TaskContext* context = EventLoop::current()->context();
  if (context != nullptr && context->scope_ == &scope_) {
    context->scope_ = back_ != nullptr ? back_ : scope_.parent_;
    context->scope_->tasks_.push_back(*context);
  }
  scope_.owner_ = nullptr;
  scope_.detach();
}

void GeneratorScopes::put_back(TaskContext& context) {
  outermost->attach_to(base);
  // The generator may be another task's now.
  for (CancelScope* scope = innermost; scope != base; scope = scope->parent_) {
    scope->owner_ = &context;
  }
  context.scope_ = innermost;
  innermost->tasks_.push_back(context);
  outermost = innermost = nullptr;
}

void GeneratorScopes::take_off(TaskContext& context) {
  innermost = context.scope_;
  for (outermost = innermost; outermost->parent_ != base; outermost = outermost->parent_) {
    WEFT_CHECK(outermost->parent_ != nullptr,
               "a generator yields inside the scope it was called in");
  }
  outermost->unlink();
  outermost->parent_ = nullptr;
  context.scope_ = base;
  base->tasks_.push_back(context);
}

}  // namespace weft
