// Task<T>: a lazy coroutine that is awaited once. The native async/await of Weft.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include <weft/base/check.h>
#include <weft/runtime/frame_allocator.h>

namespace weft {

template <typename T>
class Task;

namespace internal {

inline void resume_next(std::coroutine_handle<> next) noexcept;  // defined in event_loop.h
// Throws DeadlockError: the running task waits for itself, or for what another task waits for.
[[noreturn]] void refuse_second_await(const char* what);

struct TaskPromiseBase : FrameAllocated {
  std::coroutine_handle<> continuation;
  std::exception_ptr error;

  std::suspend_always initial_suspend() noexcept { return {}; }
  struct Final {
    bool await_ready() noexcept { return false; }
    template <typename Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) noexcept {
      resume_next(handle.promise().continuation);
    }
    void await_resume() noexcept {}
  };
  Final final_suspend() noexcept { return {}; }
  void unhandled_exception() noexcept { error = std::current_exception(); }
};

template <typename T>
struct TaskPromise : TaskPromiseBase {
  std::optional<T> value;
  Task<T> get_return_object();
  template <typename U>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
  T take() {
    if (error) std::rethrow_exception(std::move(error));
    return std::move(*value);
  }
};

template <>
struct TaskPromise<void> : TaskPromiseBase {
  Task<void> get_return_object();
  void return_void() {}
  void take() {
    if (error) std::rethrow_exception(std::move(error));
  }
};

}  // namespace internal

// A coroutine that starts when it is awaited and gives its result, or throws, there.
// Thread: the loop's. Lifetime: reference parameters must outlive the await; a task that is never
// awaited never runs. Cancellation: awaiting throws Cancelled at its first wait in a cancelled
// scope. Errors: awaiting it a second time, as a task that awaits itself does, throws
// DeadlockError.
template <typename T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = internal::TaskPromise<T>;

  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      if (handle_) handle_.destroy();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  ~Task() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> awaiting) {
    WEFT_DCHECK(handle_, "a task that was moved away is not awaited");
    if (handle_.promise().continuation) [[unlikely]]
      internal::refuse_second_await("a task");
    handle_.promise().continuation = awaiting;
    internal::resume_next(handle_);
  }
  T await_resume() { return handle_.promise().take(); }

 private:
  friend promise_type;
  explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

namespace internal {

template <typename T>
Task<T> TaskPromise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<TaskPromise<T>>::from_promise(*this));
}
inline Task<void> TaskPromise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<TaskPromise<void>>::from_promise(*this));
}

}  // namespace internal
}  // namespace weft

// A task needs the loop to be resumed by; included last because the loop's own header uses Task.
#include <weft/runtime/event_loop.h>  // IWYU pragma: keep
