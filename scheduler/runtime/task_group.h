// TaskGroup: starts tasks that run beside each other and never outlive the block that started them.
#pragma once

#include <exception>
#include <functional>
#include <utility>

#include <weft/runtime/event_loop.h>
#include <weft/runtime/wait_graph.h>

namespace weft {

// Made by with_group() only. The first child that throws cancels the others (kSiblingFailed).
// Thread: the loop's. Lifetime: children end before with_group() returns; there are no detached
// tasks. Limits: none of its own; whoever starts children in answer to outside input bounds them.
class TaskGroup final : private TaskObserver {
 public:
  TaskGroup() = default;
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  // Starts function(args…), which returns a Task<void>. Function and arguments are copied into the
  // task, so nothing it uses can go away first; pass std::ref knowingly.
  template <typename F, typename... Args>
  TaskContext& start(F function, Args... args) {
    TaskContext& child =
        RootTask<F, Args...>::start(scope_, *this, std::move(function), std::move(args)...);
    ++running_;
    return child;
  }

  // Cancels every child, and the block.
  void cancel(CancelReason reason) { scope_.cancel(reason); }
  CancelScope& scope() { return scope_; }
  size_t running() const { return running_; }

 private:
  template <typename F>
  friend Task<void> with_group(F body);
  friend class TaskTree;

  class Join final : public Waiter {
   public:
    explicit Join(TaskGroup& group) : group_(group) {}
    bool await_ready() const noexcept { return group_.running_ == 0; }
    void await_suspend(std::coroutine_handle<> handle);
    void await_resume() const noexcept {}
    bool cancel() noexcept override { return false; }  // children always join
    void visit_blockers(BlockerVisitor& visitor) override;
    std::string_view what() const override { return "the end"; }

   private:
    friend class TaskGroup;
    friend class TaskTree;
    using Waiter::complete;
    TaskGroup& group_;
  };

  void on_task_end(std::exception_ptr error, CancelReason cancelled) override;
  // A Cancelled that unwound the block or a child: from outside, or thrown with no scope cancelled.
  void on_unwound(CancelReason reason);

  CancelScope scope_;
  size_t running_ = 0;
  bool unwound_ = false;
  CancelReason thrown_ = CancelReason::kNone;  // by hand, with no scope cancelled
  std::exception_ptr error_;
  Join* join_ = nullptr;
};

// co_await with_group([&](TaskGroup& group) -> Task<void> { group.start(…); … }): runs the block,
// then waits for every child. Throws the first error of block or children; Cancelled when a scope
// around it was cancelled and cut the block or a child short. Cancelling the group itself is a
// normal end. Lifetime: the block's own variables are gone while the children are joined: what
// children refer to lives outside the block.
template <typename F>
Task<void> with_group(F body) {
  TaskGroup group;
  {
    ScopeEntry entry(group.scope_);
    try {
      co_await body(group);
    } catch (const Cancelled& cancelled) {
      group.on_unwound(cancelled.reason());
    } catch (...) {
      if (!group.error_) group.error_ = std::current_exception();
      group.scope_.cancel(CancelReason::kSiblingFailed);
    }
    TaskGroup::Join join(group);
    co_await join;
  }
  if (group.error_) std::rethrow_exception(std::move(group.error_));
  const CancelScope* outer = EventLoop::current()->context()->scope();
  if (group.unwound_ && outer->cancelled()) throw Cancelled(outer->reason());
  if (group.thrown_ != CancelReason::kNone) throw Cancelled(group.thrown_);
}

}  // namespace weft
