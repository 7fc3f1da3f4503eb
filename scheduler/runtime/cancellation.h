// Cancellation: how a tree of tasks is told to stop, and the two types every awaitable is built
// from.
//
// A TaskContext is one logical task: the chain of coroutines that run as one. A Waiter is what a
// parked context waits for. A CancelScope groups contexts and inner scopes, so that all of them can
// be cancelled at once. The contract, which every awaitable keeps:
//   - cancel() and completions never run a coroutine: they put contexts on the ready queue, so a
//     race inside one turn of the loop is only an order.
//   - A context is made ready exactly once per wait. Completion wins over a later cancel: the value
//     is kept, and the next await throws (cancellation is a level, not an edge).
//   - `co_await` throws Cancelled at once when the scope is already cancelled, also on fast paths.
#pragma once

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <weft/base/intrusive_list.h>
#include <weft/runtime/timer_heap.h>

namespace weft {

class EventLoop;
class CancelScope;
class Waiter;
template <typename T>
class Task;

enum class CancelReason : uint8_t {
  kNone,
  kUserRequest,    // somebody asked
  kDeadline,       // time is up
  kLeaseLost,      // the job belongs to another worker now
  kShutdown,       // the process stops
  kConsumerGone,   // nobody reads the result any more
  kSiblingFailed,  // another task of the group failed
};
std::string_view to_string(CancelReason reason);

// Thrown by co_await in a cancelled scope. Neither an error nor a std::exception: `catch (const
// std::exception&)` lets it pass, and only scopes, groups and job_run catch it.
class Cancelled {
 public:
  explicit Cancelled(CancelReason reason) : reason_(reason) {}
  CancelReason reason() const { return reason_; }

 private:
  CancelReason reason_;
};

// What a task is called, for people.
class TaskName {
 public:
  // Writes at most `size` bytes and returns how many. Async-signal-safe: a task that holds the loop
  // is named from a signal handler.
  virtual size_t write(char* out, size_t size) const noexcept = 0;
  // The task ended or has another name now.
  virtual void release() noexcept {}

 protected:
  ~TaskName() = default;
};

// One logical task. Lives in the frame of its outermost coroutine. Thread: the loop's.
class TaskContext : public ListNode<TaskContext> {
 public:
  enum class State : uint8_t { kNew, kReady, kRunning, kParked };

  State state() const { return state_; }
  CancelScope* scope() const { return scope_; }
  Waiter* waiter() const { return waiter_; }
  // Empty: it has none. At most kNameBytes.
  std::string name() const;
  const TaskName* name_writer() const { return name_; }
  void set_name(std::string name);
  // Does not copy: `name` (null: none) outlives the task, or the next set_name().
  void set_name(TaskName* name) {
    TaskName* old = name_;
    name_ = name;
    if (old != nullptr) old->release();
  }
  // For how long it has been parked at `now_ns` of its loop, give or take 17 ms. REQUIRES: kParked.
  int64_t parked_ns(int64_t now_ns) const {
    return static_cast<int64_t>(ticks(now_ns) - parked_ticks_) << kTickShift;
  }

  static constexpr size_t kNameBytes = 256;

 protected:
  TaskContext() = default;
  ~TaskContext() {
    if (name_ != nullptr) name_->release();
  }

 private:
  friend class EventLoop;
  friend class CancelScope;
  friend class Waiter;
  friend class ScopeEntry;
  friend struct GeneratorScopes;
  template <typename F, typename... Args>
  friend class RootTask;
  friend void start_root(TaskContext& context, std::coroutine_handle<> handle, CancelScope& scope);

  // 32 bits in the padding behind the state cost a parked job nothing, and last for two years.
  static constexpr int kTickShift = 24;
  static uint32_t ticks(int64_t now_ns) { return static_cast<uint32_t>(now_ns >> kTickShift); }

  std::coroutine_handle<> handle_;
  Waiter* waiter_ = nullptr;
  CancelScope* scope_ = nullptr;
  State state_ = State::kNew;
  uint32_t parked_ticks_;     // set by park()
  TaskName* name_ = nullptr;  // last: most contexts have none, and a resume does not look at it
};

// The task itself when it has a name, else the next one around it that has; null: none has.
// Async-signal-safe.
const TaskContext* named_task(const TaskContext& context) noexcept;

// Called with each context that a parked one waits for.
class BlockerVisitor {
 public:
  virtual void visit(TaskContext& context, Waiter& through) = 0;

 protected:
  ~BlockerVisitor() = default;
};

// Base of every awaiter that parks. Lifetime: the awaiter lives in the parked coroutine's frame, so
// a source that holds a pointer to it must drop that pointer in cancel() or before complete().
class Waiter {
 public:
  Waiter() = default;
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  // Called only while parked. True: detached, the source will never touch this waiter again and the
  // caller makes the context ready. False: the source will still complete it exactly once.
  virtual bool cancel() noexcept = 0;
  // Names the contexts this wait cannot end without. Only waits on tasks and mutexes have any.
  virtual void visit_blockers(BlockerVisitor&) {}
  // What is waited for, in words.
  virtual std::string_view what() const = 0;

  TaskContext* context() const { return context_; }

 protected:
  ~Waiter() = default;
  // True when the current scope is cancelled: do not park, resume() will throw.
  bool refused() noexcept;
  void park(std::coroutine_handle<> handle) noexcept;
  // Throws Cancelled when the wait was cancelled or refused.
  void check() const {
    if (reason_ != CancelReason::kNone) throw Cancelled(reason_);
  }
  // The source unlinks the waiter first, then calls this.
  void complete() noexcept;

 private:
  friend class CancelScope;
  TaskContext* context_ = nullptr;
  CancelReason reason_ = CancelReason::kNone;
};

// Tasks and inner scopes that are cancelled together.
// Thread: the loop's. Lifetime: outlives everything that runs in it; stays where it was made.
class CancelScope : public ListNode<CancelScope>, private Timer {
 public:
  enum class Kind { kNormal, kShielded };

  // A shielded scope is not cancelled by the scopes around it, only by its own cancel() or
  // deadline.
  explicit CancelScope(Kind kind = Kind::kNormal) : shielded_(kind == Kind::kShielded) {}
  ~CancelScope();
  CancelScope(const CancelScope&) = delete;
  CancelScope& operator=(const CancelScope&) = delete;

  // Cancels what runs in this scope, now and later. The first reason stays.
  void cancel(CancelReason reason);
  // Cancels with kDeadline after `delay`, counted from now. A later call replaces an earlier one.
  void set_deadline_after(std::chrono::nanoseconds delay);

  // Whether cancel() or the deadline hit this very scope.
  bool cancel_called() const { return own_reason_ != CancelReason::kNone; }
  CancelReason own_reason() const { return own_reason_; }
  // Whether tasks in it are cancelled, by itself or by a scope around it.
  bool cancelled() const { return effective_ != CancelReason::kNone; }
  CancelReason reason() const { return effective_; }
  // The task that entered it last; the others in it are that one's children. Null: nobody did.
  TaskContext* owner() const { return owner_; }
  const CancelScope* parent() const { return parent_; }

  // Runs `task` in this scope. True: it finished. False: this scope was cancelled and the task has
  // unwound. Throws what the task threw, and Cancelled when a scope around it was cancelled.
  Task<bool> run(Task<void> task);

  // Calls visit(context) for each context in this scope and the scopes inside it.
  template <typename Visit>
  void for_each_task(Visit& visit) {
    tasks_.for_each(visit);
    inner_.for_each([&](CancelScope& scope) { scope.for_each_task(visit); });
  }

  // For runtime parts that start contexts in a scope, or enter it without run().
  void attach_to(CancelScope* parent);
  void detach();

 private:
  friend class Waiter;
  friend class ScopeEntry;
  friend class TaskTree;
  friend struct GeneratorScopes;
  friend void start_root(TaskContext& context, std::coroutine_handle<> handle, CancelScope& scope);
  template <typename F, typename... Args>
  friend class RootTask;
  void deliver(CancelReason reason);
  void fire() override;

  // These three first: they fit behind the timer's 32 bits.
  CancelReason own_reason_ = CancelReason::kNone;
  CancelReason effective_ = CancelReason::kNone;
  bool shielded_;
  CancelScope* parent_ = nullptr;
  TaskContext* owner_ = nullptr;
  IntrusiveList<TaskContext, TaskContext> tasks_;
  IntrusiveList<CancelScope, CancelScope> inner_;
};

// Enters a scope for the current context until destroyed.
class ScopeEntry {
 public:
  explicit ScopeEntry(CancelScope& scope);
  // Enters `scope` as if from `around`, a scope outside of the current one: cancellations of those
  // in between do not reach it. No co_yield meanwhile.
  ScopeEntry(CancelScope& scope, CancelScope& around);
  ~ScopeEntry();
  ScopeEntry(const ScopeEntry&) = delete;
  ScopeEntry& operator=(const ScopeEntry&) = delete;

 private:
  CancelScope& scope_;
  CancelScope* back_ =
      nullptr;  // where the context returns to, when that is not the scope's parent
};

// For generators: takes the scopes that a generator's body entered off the context while it is
// suspended at a co_yield, and puts them back when it goes on.
struct GeneratorScopes {
  CancelScope* outermost = nullptr;  // first scope the body entered
  CancelScope* innermost = nullptr;  // the one it yielded in
  CancelScope* base = nullptr;       // the consumer's scope while the body runs

  void enter(TaskContext& context) {
    base = context.scope_;
    if (innermost != nullptr) put_back(context);
  }
  void leave(TaskContext& context) {
    if (context.scope_ != base) take_off(context);
  }

 private:
  void put_back(TaskContext& context);
  void take_off(TaskContext& context);
};

}  // namespace weft
