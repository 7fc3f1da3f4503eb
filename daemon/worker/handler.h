// Handler: the coroutine that runs a job, erased to one type whatever its shape is.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include <weft/proto/codec.h>
#include <weft/runtime/async_generator.h>
#include <weft/runtime/combinators.h>
#include <weft/runtime/task.h>
#include <weft/worker/job.h>

namespace weft {

// The two shapes of a handler; Y, S and T are each std::string (bytes), nlohmann::json or a
// protobuf message, T also void.
//   Stream<Y> count(Job job) { … std::optional<S> sent = co_yield chunk; … }   chunks, lazily
//   Task<T> fetch(Job job) { … co_return result; }                             one result
// A Stream<Y, std::monostate> leaves all that is sent to job.receive().
// Lifetime: a handler takes its Job by value. A lambda must not capture what may end before the
// job.
template <typename Y, typename S = std::string>
using Stream = AsyncGenerator<Y, S>;

// Runs a job's body to its end: chunks and result go to the job.
class Handler {
 public:
  using Body = std::function<Task<void>(Job)>;
  explicit Handler(Body body) : body_(std::move(body)) {}
  Task<void> run(Job job) const { return body_(std::move(job)); }

 private:
  Body body_;
};

namespace internal {

inline constexpr std::chrono::seconds kCloseTime(
    5);  // for what a cancelled stream awaits at its end

// A send that cannot be read as S is dropped with a log line: it must not end the job.
template <typename S>
std::optional<S> next_send(JobContext& context) {
  while (std::optional<std::string> bytes = take_send(context)) {
    if constexpr (std::is_same_v<S, std::string>) {
      return bytes;
    } else {
      try {
        return Codec<S>::decode(*bytes);
      } catch (const std::exception& error) {
        log_bad_send(context, error.what());
      }
    }
  }
  return std::nullopt;
}

// The window comes first: nothing is computed that was not asked for.
template <typename Y, typename S>
Task<void> drive_steps(JobContext& context, Stream<Y, S>& stream) {
  if (!has_room(context)) co_await wait_for_room(context);
  // The first co_yield has not been reached, so nothing can be given to it yet.
  std::optional<Y> item = co_await stream.next();
  while (item) {
    if constexpr (std::is_same_v<Y, std::string>) {
      push_chunk(context, *item);
    } else {
      push_chunk(context, Codec<Y>::encode(*item));
    }
    item.reset();
    if (!has_room(context)) co_await wait_for_room(context);
    std::optional<S> sent;
    if constexpr (!std::is_same_v<S, std::monostate>) {
      if (has_sends(context)) sent = next_send<S>(context);
    }
    if (sent) {
      item = co_await stream.send(std::move(*sent));
    } else {
      item = co_await stream.next();
    }
  }
}

template <typename Y, typename S>
Task<void> drive(Job job, Stream<Y, S> stream) {
  std::exception_ptr error;
  try {
    co_await drive_steps(context_of(job), stream);
  } catch (...) {
    error = std::current_exception();
  }
  // The body may hold scopes or tasks across its co_yield: it is ended, not dropped.
  if (!stream.done()) co_await shielded(kCloseTime, stream.close());
  if (error) std::rethrow_exception(error);
}

template <typename T>
Task<void> drive(Job job, Task<T> task) {
  if constexpr (std::is_void_v<T>) {
    co_await task;
  } else {
    T result = co_await task;
    job.set_result(Codec<T>::encode(result));
  }
}

}  // namespace internal

// Erases a callable that takes a Job and returns a Stream<Y>, Stream<Y, S> or Task<T>.
template <typename F>
Handler make_handler(F function) {
  static_assert(std::is_invocable_v<const F&, Job>, "a handler takes a weft::Job by value");
  return Handler([function = std::move(function)](Job job) -> Task<void> {
    auto body = function(job);
    return internal::drive(std::move(job), std::move(body));
  });
}

}  // namespace weft
