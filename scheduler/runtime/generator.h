// Generator<T>: a lazy sequence without awaits. An iterable in `for`, a view for std::ranges.
#pragma once

#include <coroutine>
#include <exception>
#include <iterator>
#include <memory>
#include <ranges>
#include <utility>

#include <weft/runtime/frame_allocator.h>

namespace weft {

// Computes a value only when it is asked for; one pass. Throws, where the next value is asked for,
// what its body threw. Thread: any, one at a time. Lifetime: a value lives until the next is asked
// for.
template <typename T>
class [[nodiscard]] Generator : public std::ranges::view_interface<Generator<T>> {
 public:
  struct promise_type : FrameAllocated {
    const T* value = nullptr;
    std::exception_ptr error;

    Generator get_return_object() {
      return Generator(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    std::suspend_always yield_value(const T& item) noexcept {
      value = std::addressof(item);
      return {};
    }
    void return_void() {}
    void unhandled_exception() noexcept { error = std::current_exception(); }
    // A plain generator cannot wait: AsyncGenerator can.
    template <typename U>
    std::suspend_never await_transform(U&&) = delete;
  };

  class Iterator {
   public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    const T& operator*() const { return *handle_.promise().value; }
    Iterator& operator++() {
      advance(handle_);
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& it, std::default_sentinel_t) {
      return it.handle_.done();
    }

   private:
    friend class Generator;
    explicit Iterator(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
    std::coroutine_handle<promise_type> handle_;
  };

  Generator(Generator&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Generator& operator=(Generator&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Generator() {
    if (handle_) handle_.destroy();
  }

  // Starts the one pass: may be called once.
  Iterator begin() {
    advance(handle_);
    return Iterator(handle_);
  }
  std::default_sentinel_t end() const { return {}; }

 private:
  explicit Generator(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  static void advance(std::coroutine_handle<promise_type> handle) {
    handle.resume();
    if (handle.promise().error) std::rethrow_exception(std::move(handle.promise().error));
  }
  std::coroutine_handle<promise_type> handle_;
};

}  // namespace weft
