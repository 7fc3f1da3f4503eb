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
#include <weft/worker/plain_run.h>

namespace weft {

// The shapes of a handler; Y, S, T and P are each std::string (bytes), nlohmann::json or a protobuf
// message, T also void. Coroutines on the loop:
//   Stream<Y> count(Job job) { … std::optional<S> sent = co_yield chunk; … }   chunks, lazily
//   Task<T> fetch(Job job) { … co_return result; }                             one result
// A Stream<Y, std::monostate> leaves all that is sent to job.receive().
// Plain functions and generators, for CPU work: they run on the executor, and may run on several
// threads at once. They cannot wait for jobs or for the executor.
//   T resize(PlainJob job) { … return result; }      or T resize(const P& payload)
//   Generator<Y> lines(PlainJob job) { … co_yield chunk; … }   a slice at a time, as the stream has
//                                                              room; it takes no sends
// Lifetime: a handler takes its Job by value. A lambda must not capture what may end before the
// job.
template <typename Y, typename S = std::string>
using Stream = AsyncGenerator<Y, S>;

// Runs a job's body to its end: chunks and result go to the job.
class Handler {
 public:
  using Body = std::function<Task<void>(Job)>;
  explicit Handler(Body body, size_t concurrency = 0)
      : body_(std::move(body)), concurrency_(concurrency) {}
  // How many run at once unless its registration says otherwise. 0: no limit.
  size_t concurrency() const { return concurrency_; }
  Task<void> run(Job job) const { return body_(std::move(job)); }

 private:
  Body body_;
  size_t concurrency_;
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

// The argument of a callable with one signature; void: it has none or several.
template <typename F>
struct SignatureOf {
  using Argument = void;
};
template <typename F>
  requires requires(F function) { std::function{std::move(function)}; }
struct SignatureOf<F> {
  template <typename R, typename A>
  static std::type_identity<std::remove_cvref_t<A>> argument(const std::function<R(A)>&);
  static std::type_identity<void> argument(...);
  using Argument = typename decltype(argument(std::function{std::declval<F>()}))::type;
};

template <typename T>
concept Encodable = requires { sizeof(Codec<T>); };
template <typename T>
concept Result = std::is_void_v<T> || Encodable<T>;

template <typename T>
struct GeneratorOf {
  static constexpr bool kIs = false;
};
template <typename Y>
struct GeneratorOf<Generator<Y>> {
  static constexpr bool kIs = true;
  using Value = Y;
};

template <typename F, typename A>
Handler make_plain_handler(F function) {
  static_assert(std::is_same_v<A, PlainJob> || Encodable<A>,
                "a handler takes a weft::Job by value (a coroutine), a weft::PlainJob, or its "
                "payload as const std::string&, const nlohmann::json& or a protobuf message");
  static_assert(std::is_invocable_v<const F&, const A&>,
                "a plain handler takes its argument by value or const reference, and is const: it "
                "may run on several threads at once");
  using R = std::invoke_result_t<const F&, const A&>;
  if constexpr (GeneratorOf<R>::kIs) {
    using Body = GeneratorBody<F, A, typename GeneratorOf<R>::Value>;
    return Handler([function = std::move(function)](Job job) -> Task<void> {
      return run_plain(std::move(job), std::make_unique<Body>(function));
    });
  } else {
    static_assert(Result<std::remove_cvref_t<R>>,
                  "a plain handler returns void, std::string, nlohmann::json, a protobuf message "
                  "or a weft::Generator of one; Task and Stream are for handlers of a weft::Job");
    using Body = FunctionBody<F, A, std::remove_cvref_t<R>>;
    auto run = [function = std::move(function)](Job job) -> Task<void> {
      return run_plain(std::move(job), std::make_unique<Body>(function));
    };
    return Handler(std::move(run), limits::kPlainHandlers);
  }
}

}  // namespace internal

// Erases a callable of one of the shapes above.
template <typename F>
Handler make_handler(F function) {
  using A = typename internal::SignatureOf<F>::Argument;
  if constexpr (std::is_same_v<A, Job> || (std::is_void_v<A> && std::is_invocable_v<F&, Job>)) {
    static_assert(std::is_invocable_v<const F&, Job>, "a handler takes a weft::Job by value");
    return Handler([function = std::move(function)](Job job) -> Task<void> {
      auto body = function(job);
      return internal::drive(std::move(job), std::move(body));
    });
  } else {
    return internal::make_plain_handler<F, A>(std::move(function));
  }
}

}  // namespace weft
