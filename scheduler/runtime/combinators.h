// all_of, any_of, with_timeout, shielded: tasks made of tasks.
#pragma once

#include <chrono>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <weft/runtime/task_group.h>

namespace weft {

namespace internal {

// void results become std::monostate, so that results always have a place.
template <typename T>
using ResultOf = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <typename T>
Task<void> store_result(Task<T> task, std::optional<ResultOf<T>>* out) {
  if constexpr (std::is_void_v<T>) {
    co_await task;
    out->emplace();
  } else {
    out->emplace(co_await task);
  }
}

[[noreturn]] inline void throw_cancelled() {
  const CancelReason reason = EventLoop::current()->context()->scope()->reason();
  throw Cancelled(reason == CancelReason::kNone ? CancelReason::kSiblingFailed : reason);
}

}  // namespace internal

// Runs all tasks beside each other; their results in the order given. The first error cancels the
// rest and is thrown.
template <typename... Ts>
Task<std::tuple<internal::ResultOf<Ts>...>> all_of(Task<Ts>... tasks) {
  std::tuple<std::optional<internal::ResultOf<Ts>>...> results;
  auto body = [&](TaskGroup& group) -> Task<void> {
    [&]<size_t... I>(std::index_sequence<I...>) {
      (group.start(internal::store_result<Ts>, std::move(tasks), &std::get<I>(results)), ...);
    }(std::index_sequence_for<Ts...>());
    co_return;
  };
  co_await with_group(body);
  const bool complete =
      std::apply([](auto&... result) { return (result.has_value() && ...); }, results);
  if (!complete) internal::throw_cancelled();
  co_return std::apply(
      [](auto&... result) { return std::tuple<internal::ResultOf<Ts>...>(std::move(*result)...); },
      results);
}

template <typename T>
Task<std::vector<internal::ResultOf<T>>> all_of(std::vector<Task<T>> tasks) {
  std::vector<std::optional<internal::ResultOf<T>>> results(tasks.size());
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (size_t i = 0; i < tasks.size(); ++i) {
      group.start(internal::store_result<T>, std::move(tasks[i]), &results[i]);
    }
    co_return;
  };
  co_await with_group(body);
  std::vector<internal::ResultOf<T>> values;
  values.reserve(results.size());
  for (auto& result : results) {
    if (!result) internal::throw_cancelled();
    values.push_back(std::move(*result));
  }
  co_return values;
}

// The result of one task among several, and which it was.
template <typename T>
struct AnyResult {
  AnyResult(size_t which, T result) : index(which), value(std::move(result)) {}
  size_t index;
  T value;
};

// Runs all tasks beside each other until the first one finishes, then cancels and joins the others.
// An error that comes before any result is thrown. `tasks` must not be empty.
template <typename T>
Task<AnyResult<internal::ResultOf<T>>> any_of(std::vector<Task<T>> tasks) {
  WEFT_CHECK(!tasks.empty(), "any_of needs a task");
  using Result = AnyResult<internal::ResultOf<T>>;
  std::optional<Result> first;
  auto body = [&](TaskGroup& group) -> Task<void> {
    auto race = [](Task<T> task, size_t index, std::optional<Result>* winner,
                   TaskGroup* racers) -> Task<void> {
      std::optional<internal::ResultOf<T>> value;
      try {
        co_await internal::store_result<T>(std::move(task), &value);
      } catch (const Cancelled&) {
        throw;
      } catch (...) {
        if (!winner->has_value()) throw;  // else the race is over, and nobody asked this one
      }
      if (winner->has_value()) co_return;
      winner->emplace(index, std::move(*value));
      racers->cancel(CancelReason::kSiblingFailed);
    };
    for (size_t i = 0; i < tasks.size(); ++i) {
      group.start(race, std::move(tasks[i]), i, &first, &group);
    }
    co_return;
  };
  co_await with_group(body);
  if (!first) internal::throw_cancelled();
  co_return std::move(*first);
}

// The task's result, or nothing when `limit` passed first (the task has then been cancelled with
// kDeadline and has unwound).
template <typename T>
Task<std::optional<internal::ResultOf<T>>> with_timeout(std::chrono::nanoseconds limit,
                                                        Task<T> task) {
  std::optional<internal::ResultOf<T>> result;
  CancelScope scope;
  scope.set_deadline_after(limit);
  const bool finished = co_await scope.run(internal::store_result<T>(std::move(task), &result));
  if (!finished) result.reset();
  co_return result;
}

// Runs cleanup that a cancellation around it does not reach, for at most `limit`. False: it took
// longer and was cancelled.
inline Task<bool> shielded(std::chrono::nanoseconds limit, Task<void> cleanup) {
  CancelScope scope(CancelScope::Kind::kShielded);
  scope.set_deadline_after(limit);
  co_return co_await scope.run(std::move(cleanup));
}

}  // namespace weft
