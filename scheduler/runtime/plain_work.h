// PlainWork: marks a pool thread while it runs a function that must not wait for the loop.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace weft {

// While one exists, what would wait for a loop, the executor or a job refuses on this thread: it
// would wait for the very thread it holds.
// Lifetime: on the stack, one at a time; `handler` outlives it.
class PlainWork {
 public:
  explicit PlainWork(std::string_view handler) { handler_ = handler; }
  ~PlainWork() { handler_ = {}; }
  PlainWork(const PlainWork&) = delete;
  PlainWork& operator=(const PlainWork&) = delete;

  // Errors: throws std::logic_error with the handler's name while one exists on this thread.
  static void refuse(std::string_view what) {
    if (handler_.empty()) [[likely]] {
      return;
    }
    throw std::logic_error("handler '" + std::string(handler_) +
                           "' is a plain function on the executor and cannot use " +
                           std::string(what) + ": make it a coroutine that takes a weft::Job");
  }

 private:
  inline static constinit thread_local std::string_view handler_;
};

}  // namespace weft
