// How a group hears of its children's ends, and what its join waits for.
#include <weft/runtime/mutex.h>
#include <weft/runtime/task_group.h>

namespace weft {

void TaskGroup::on_unwound(CancelReason reason) {
  unwound_ = true;
  if (scope_.cancelled()) return;
  thrown_ = reason;
  scope_.cancel(reason);
}

void TaskGroup::on_task_end(std::exception_ptr error, CancelReason cancelled) {
  --running_;
  if (cancelled != CancelReason::kNone) on_unwound(cancelled);
  if (error) {
    if (!error_) error_ = std::move(error);
    scope_.cancel(CancelReason::kSiblingFailed);
  }
  if (running_ == 0 && join_ != nullptr) std::exchange(join_, nullptr)->complete();
}

void TaskGroup::Join::await_suspend(std::coroutine_handle<> handle) {
  park(handle);
  group_.join_ = this;
  if (Mutex::LockWaiter::waiting() == 0) return;
  // A child may wait for a mutex that the joining task holds. The join cannot be given up, so the
  // wait on the mutex is.
  for (;;) {
    const WaitCycle cycle = find_wait_cycle(*context(), *this);
    if (cycle.mutex_wait == nullptr) break;
    static_cast<Mutex::LockWaiter*>(cycle.mutex_wait)->fail(cycle.description);
  }
}

void TaskGroup::Join::visit_blockers(BlockerVisitor& visitor) {
  auto visit = [&](TaskContext& child) {
    if (&child != context()) visitor.visit(child, *this);
  };
  group_.scope_.for_each_task(visit);
}

}  // namespace weft
