// What a refused deadlock says: the whole cycle, by name.
#include <memory>
#include <optional>
#include <string>

#include <weft/runtime/async_generator.h>
#include <weft/runtime/mutex.h>
#include <weft/runtime/task_group.h>

#include "tests/support/coro_test.h"

namespace weft {
namespace {

using ::std::chrono::milliseconds;

// What a refused wait says; empty: it was not refused.
Task<void> ask_for_lock(std::string name, Mutex* mutex, std::string* refusal) {
  if (!name.empty()) set_task_name(std::move(name));
  try {
    auto lock = co_await mutex->lock();
  } catch (const DeadlockError& error) {
    *refusal = error.what();
  }
}

CORO_TEST(WaitGraph, NamesACycleOfTwoMutexes) {
  Mutex a("a"), b("b");
  std::string refusal;
  auto holder = [](Mutex* first, Mutex* second) -> Task<void> {
    set_task_name("left");
    auto outer = co_await first->lock();
    co_await sleep_for(milliseconds(1));
    auto inner = co_await second->lock();
  };
  auto closer = [](Mutex* first, Mutex* second, std::string* out) -> Task<void> {
    auto outer = co_await first->lock();
    co_await sleep_for(milliseconds(2));
    co_await ask_for_lock("right", second, out);
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(holder, &a, &b);
    group.start(closer, &b, &a, &refusal);
    co_return;
  };
  co_await with_group(body);
  EXPECT_EQ(refusal,
            "deadlock refused: 'right' waits for mutex 'a' of 'left', which waits for mutex 'b' of "
            "'right'");
}

CORO_TEST(WaitGraph, NamesACycleThroughTheEndsOfNestedGroups) {
  Mutex mutex("m");
  std::string refusal;
  set_task_name("parent");
  auto child = [](Mutex* wanted, std::string* out) -> Task<void> {
    set_task_name("child");
    auto inner = [&](TaskGroup& group) -> Task<void> {
      group.start(&ask_for_lock, std::string("grandchild"), wanted, out);
      co_return;
    };
    co_await with_group(inner);
  };
  auto lock = co_await mutex.lock();
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(child, &mutex, &refusal);
    co_return;
  };
  co_await with_group(body);
  EXPECT_EQ(refusal,
            "deadlock refused: 'grandchild' waits for mutex 'm' of 'parent', which waits for the "
            "end of 'child', which waits for the end of 'grandchild'");
}

CORO_TEST(WaitGraph, NamesAJoinThatClosesACycle) {
  Mutex mutex("m");
  std::string refusal;
  set_task_name("parent");
  auto lock = co_await mutex.lock();
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(&ask_for_lock, std::string("child"), &mutex, &refusal);
    co_await sleep_for(milliseconds(1));
  };
  co_await with_group(body);
  EXPECT_EQ(refusal,
            "deadlock refused: 'parent' waits for the end of 'child', which waits for mutex 'm' of "
            "'parent'");
}

CORO_TEST(WaitGraph, ATaskWithoutANameIsNamedAfterTheOneAroundIt) {
  Mutex mutex("m");
  std::string refusal;
  set_task_name("job 1");
  auto lock = co_await mutex.lock();
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(&ask_for_lock, std::string(), &mutex, &refusal);
    co_return;
  };
  co_await with_group(body);
  EXPECT_EQ(refusal,
            "deadlock refused: a task of 'job 1' waits for mutex 'm' of 'job 1', which waits for "
            "the end of a task of 'job 1'");
}

CORO_TEST(WaitGraph, RefusesATaskThatAwaitsItself) {
  std::optional<Task<void>> task;
  std::string refusal;
  set_task_name("job 1");
  auto body = [](std::optional<Task<void>>* self, std::string* out) -> Task<void> {
    try {
      co_await **self;
    } catch (const DeadlockError& error) {
      *out = error.what();
    }
  };
  task.emplace(body(&task, &refusal));
  co_await *task;
  EXPECT_EQ(refusal,
            "deadlock refused: 'job 1' waits for a task that is awaited already, by itself or by "
            "another task");
}

CORO_TEST(WaitGraph, RefusesATaskThatAwaitsTheOneThatAwaitsIt) {
  std::optional<Task<void>> outer;
  bool refused = false;
  auto inner = [](std::optional<Task<void>>* ancestor) -> Task<void> { co_await **ancestor; };
  auto body = [&]() -> Task<void> {
    try {
      co_await inner(&outer);
    } catch (const DeadlockError&) {
      refused = true;
    }
  };
  outer.emplace(body());
  co_await *outer;
  EXPECT_TRUE(refused);
}

CORO_TEST(WaitGraph, RefusesAGeneratorThatAwaitsItself) {
  std::optional<AsyncGenerator<int>> numbers;
  set_task_name("job 1");
  auto body = [](std::optional<AsyncGenerator<int>>* self) -> AsyncGenerator<int> {
    co_yield 1;
    const std::optional<int> next = co_await (*self)->next();
    co_yield next.value_or(0);
  };
  numbers.emplace(body(&numbers));
  const std::optional<int> first = co_await numbers->next();
  EXPECT_EQ(first, 1);
  std::string refusal;
  try {
    co_await numbers->next();
  } catch (const DeadlockError& error) {
    refusal = error.what();
  }
  EXPECT_EQ(refusal,
            "deadlock refused: 'job 1' waits for a generator's next value that is awaited already, "
            "by itself or by another task");
}

}  // namespace
}  // namespace weft
