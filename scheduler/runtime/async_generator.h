// AsyncGenerator<Y, S>: a lazy sequence whose body may await, and that takes values back:
// `std::optional<S> value = co_yield item;`.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include <weft/runtime/channel.h>
#include <weft/runtime/event_loop.h>

namespace weft {

// Where a body that is being closed leaves its co_yield. Not a std::exception; do not catch it.
class GeneratorClosed {};

// Y: what it yields. S: what can be sent into it (default: nothing).
// The body runs only while next(), send() or close() is awaited, in the awaiting task.
// Thread: the loop's. Cancellation: that of the awaiting task; co_await and co_yield throw
// Cancelled inside the body, which unwinds it. Lifetime: close it before the end of the task that
// uses it when its body holds tasks or scopes across a co_yield; else dropping it destroys the
// suspended body.
template <typename Y, typename S = std::monostate>
class [[nodiscard]] AsyncGenerator {
  static_assert(kSafeAcrossAwait<Y> && kSafeAcrossAwait<S>, "give Y and S constructors");

 public:
  using value_type = Y;
  using send_type = S;

  struct promise_type : FrameAllocated {
    std::optional<Y> item;
    std::optional<S> sent;
    std::coroutine_handle<> consumer;
    std::exception_ptr error;
    GeneratorScopes scopes;
    bool closing = false;
    bool running = false;

    AsyncGenerator get_return_object() {
      return AsyncGenerator(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_always initial_suspend() noexcept { return {}; }
    struct ToConsumer {
      bool await_ready() noexcept { return false; }
      void await_suspend(std::coroutine_handle<promise_type> handle) noexcept {
        promise_type& promise = handle.promise();
        EventLoop* loop = EventLoop::current();
        promise.running = false;
        promise.scopes.leave(*loop->context());
        loop->resume_next(promise.consumer);
      }
      void await_resume() noexcept {}
    };
    struct Yield : ToConsumer {
      explicit Yield(promise_type& owner) : promise(owner) {}
      std::optional<S> await_resume() {
        if (promise.closing) throw GeneratorClosed();
        check_cancelled();
        return std::exchange(promise.sent, std::nullopt);
      }
      promise_type& promise;
    };
    ToConsumer final_suspend() noexcept { return {}; }
    Yield yield_value(Y value) {
      item.emplace(std::move(value));
      return Yield(*this);
    }
    void return_void() {}
    void unhandled_exception() noexcept {
      try {
        throw;
      } catch (const GeneratorClosed&) {
        if (!closing) error = std::current_exception();
      } catch (...) {
        error = std::current_exception();
      }
    }
  };

  // Awaiting it runs the body to its next co_yield or its end.
  class [[nodiscard]] Step {
   public:
    explicit Step(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
    bool await_ready() const {
      if (!handle_ || handle_.done()) return true;
      if (!handle_.promise().consumer) check_cancelled();  // a body not started never starts
      return false;
    }
    void await_suspend(std::coroutine_handle<> consumer) {
      promise_type& promise = handle_.promise();
      if (promise.running) [[unlikely]]
        internal::refuse_second_await("a generator's next value");
      promise.running = true;
      EventLoop* loop = EventLoop::current();
      promise.consumer = consumer;
      promise.item.reset();
      promise.scopes.enter(*loop->context());
      loop->resume_next(handle_);
    }
    std::optional<Y> await_resume() {
      if (!handle_) return std::nullopt;
      promise_type& promise = handle_.promise();
      if (promise.error) std::rethrow_exception(std::exchange(promise.error, nullptr));
      return std::exchange(promise.item, std::nullopt);
    }

   private:
    std::coroutine_handle<promise_type> handle_;
  };

  AsyncGenerator(AsyncGenerator&& other) noexcept
      : handle_(std::exchange(other.handle_, nullptr)) {}
  AsyncGenerator& operator=(AsyncGenerator&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~AsyncGenerator() {
    if (handle_) handle_.destroy();
  }

  // co_await generator.next(): the next value, or nothing at the end. The co_yield gives nothing.
  Step next() { return Step(handle_); }
  // co_await generator.send(value): the co_yield the body stands at gives `value`; returns the next
  // yielded value. Before the first co_yield there is nowhere to give it: it waits for the first
  // one.
  Step send(S value) {
    if (handle_) handle_.promise().sent.emplace(std::move(value));
    return Step(handle_);
  }
  // co_await generator.close(): ends the body where it stands: destructors run, nothing is yielded
  // any more. Throws what the body throws while it ends.
  Task<void> close() {
    while (handle_ && !handle_.done()) {
      if (!started()) {
        std::exchange(handle_, nullptr).destroy();
        co_return;
      }
      handle_.promise().closing = true;
      Step step(handle_);
      co_await step;
    }
  }
  bool done() const { return !handle_ || handle_.done(); }

 private:
  static void check_cancelled() {
    const CancelScope* scope = EventLoop::current()->context()->scope();
    if (scope->cancelled()) throw Cancelled(scope->reason());
  }
  explicit AsyncGenerator(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  bool started() const { return static_cast<bool>(handle_.promise().consumer); }
  std::coroutine_handle<promise_type> handle_;
};

}  // namespace weft
