// Mutex and the wait graph: fair, and a deadlock is refused by name instead of hung.
#include <string>
#include <vector>

#include <weft/runtime/combinators.h>
#include <weft/runtime/mutex.h>
#include <weft/runtime/task_group.h>

#include "tests/support/coro_test.h"

namespace weft {
namespace {

using ::std::chrono::milliseconds;
using ::std::chrono::seconds;

CORO_TEST_SEEDED(Mutex, KeepsOthersOutAcrossAwaits, 5) {
  Mutex mutex;
  int inside = 0, runs = 0;
  auto work = [](Mutex* guard, int* in, int* count) -> Task<void> {
    auto lock = co_await guard->lock();
    EXPECT_EQ(++*in, 1);
    co_await sleep_for(milliseconds(1));
    --*in;
    ++*count;
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int i = 0; i < 20; ++i) group.start(work, &mutex, &inside, &runs);
    co_return;
  };
  co_await with_group(body);
  EXPECT_EQ(runs, 20);
}

CORO_TEST(Mutex, ServesInTheOrderAsked) {
  Mutex mutex;
  std::vector<int> order;
  auto work = [](Mutex* guard, int id, std::vector<int>* out) -> Task<void> {
    auto lock = co_await guard->lock();
    out->push_back(id);
    co_await yield_now();
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int i = 0; i < 10; ++i) group.start(work, &mutex, i, &order);
    co_return;
  };
  co_await with_group(body);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

CORO_TEST(Mutex, CancelledWaiterIsSkipped) {
  Mutex mutex;
  auto take = [](Mutex* guard) -> Task<void> { auto lock = co_await guard->lock(); };
  auto hold = [](Mutex* guard) -> Task<void> {
    auto lock = co_await guard->lock();
    co_await sleep_for(seconds(2));
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(hold, &mutex);
    co_await sleep_for(milliseconds(1));
    const auto timed = co_await with_timeout(seconds(1), take(&mutex));
    EXPECT_FALSE(timed.has_value());
    co_await take(&mutex);
  };
  co_await with_group(body);
}

Task<void> lock_both(std::string name, Mutex* first, Mutex* second, std::string* deadlock) {
  set_task_name(std::move(name));
  auto outer = co_await first->lock();
  co_await sleep_for(milliseconds(1));
  try {
    auto inner = co_await second->lock();
  } catch (const DeadlockError& error) {
    *deadlock = error.what();
  }
}

// Row of the design: coroutines need no locks against races, but can still deadlock.
CORO_TEST_SEEDED(DeadlockLockLock, IsRefusedNamingTheCycle, 10) {
  Mutex a("a"), b("b");
  std::string of_left, of_right;
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(lock_both, std::string("left"), &a, &b, &of_left);
    group.start(lock_both, std::string("right"), &b, &a, &of_right);
    co_return;
  };
  co_await with_group(body);
  EXPECT_NE(of_left.empty(), of_right.empty()) << "one gives way, the other goes on";
  const std::string& message = of_left.empty() ? of_right : of_left;
  for (const char* part : {"deadlock", "'left'", "'right'", "mutex 'a'", "mutex 'b'"}) {
    EXPECT_NE(message.find(part), std::string::npos) << part << " missing in: " << message;
  }
}

CORO_TEST(DeadlockLockLock, CycleOfManyIsRefused) {
  constexpr size_t kTasks = 20;
  std::vector<std::unique_ptr<Mutex>> mutexes;
  std::vector<std::string> deadlocks(kTasks);
  for (size_t i = 0; i < kTasks; ++i) {
    mutexes.push_back(std::make_unique<Mutex>("m" + std::to_string(i)));
  }
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (size_t i = 0; i < kTasks; ++i) {
      group.start(lock_both, "t" + std::to_string(i), mutexes[i].get(),
                  mutexes[(i + 1) % kTasks].get(), &deadlocks[i]);
    }
    co_return;
  };
  co_await with_group(body);
  size_t refused = 0;
  for (const std::string& deadlock : deadlocks) refused += !deadlock.empty();
  EXPECT_EQ(refused, 1u);
}

CORO_TEST(DeadlockLockLock, LockingTwiceIsRefused) {
  Mutex mutex("m");
  set_task_name("twice");
  std::string deadlock;
  auto lock = co_await mutex.lock();
  try {
    auto again = co_await mutex.lock();
  } catch (const DeadlockError& error) {
    deadlock = error.what();
  }
  EXPECT_NE(deadlock.find("'twice' waits for mutex 'm' of 'twice'"), std::string::npos) << deadlock;
}

Task<void> lock_once(std::string name, Mutex* mutex, int* refused) {
  set_task_name(std::move(name));
  try {
    auto lock = co_await mutex->lock();
  } catch (const DeadlockError&) {
    ++*refused;
  }
}

// Row of the design: a task that waits for its child, which waits for what the task holds.
CORO_TEST_SEEDED(DeadlockLockJoin, ChildThatAsksAfterTheJoinIsRefused, 5) {
  Mutex mutex("m");
  int refused = 0;
  auto late = [](Mutex* wanted, int* count) -> Task<void> {
    co_await sleep_for(seconds(1));
    co_await lock_once("child", wanted, count);
  };
  auto lock = co_await mutex.lock();
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(late, &mutex, &refused);
    co_return;
  };
  co_await with_group(body);
  EXPECT_EQ(refused, 1);
}

CORO_TEST_SEEDED(DeadlockLockJoin, ChildrenThatAskedBeforeTheJoinAreRefused, 5) {
  Mutex mutex("m");
  int refused = 0;
  auto lock = co_await mutex.lock();
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int i = 0; i < 3; ++i) group.start(lock_once, std::string("child"), &mutex, &refused);
    co_await sleep_for(milliseconds(1));
  };
  co_await with_group(body);
  EXPECT_EQ(refused, 3);
}

CORO_TEST(DeadlockLockJoin, GrandchildInAScopeIsRefused) {
  Mutex mutex("m");
  int refused = 0;
  auto lock = co_await mutex.lock();
  auto child = [&]() -> Task<void> {
    auto inner = [&](TaskGroup& group) -> Task<void> {
      group.start(lock_once, std::string("grandchild"), &mutex, &refused);
      co_return;
    };
    co_await with_timeout(seconds(10), with_group(inner));
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(child);
    co_await sleep_for(milliseconds(1));
  };
  co_await with_group(body);
  EXPECT_EQ(refused, 1);
  EXPECT_LT(EventLoop::current()->now_ns(), 1'000'000'000);
}

CORO_TEST(DeadlockLockJoin, WaitThatAnotherTaskWillEndIsNotRefused) {
  Mutex mutex("m");
  int refused = 0;
  auto hold = [](Mutex* guard) -> Task<void> {
    auto lock = co_await guard->lock();
    co_await sleep_for(seconds(1));
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(hold, &mutex);
    co_await sleep_for(milliseconds(1));
    group.start(lock_once, std::string("child"), &mutex, &refused);
    co_await sleep_for(milliseconds(1));
  };
  co_await with_group(body);
  EXPECT_EQ(refused, 0);
}

}  // namespace
}  // namespace weft
