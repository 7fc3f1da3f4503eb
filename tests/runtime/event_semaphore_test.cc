// Event and Semaphore: who goes on, and in which order.
#include <algorithm>
#include <vector>

#include <weft/runtime/combinators.h>
#include <weft/runtime/event.h>
#include <weft/runtime/semaphore.h>
#include <weft/runtime/task_group.h>

#include "tests/support/coro_test.h"

namespace weft {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Task<void> wait_for(Event* event, int* woken) {
  co_await event->wait();
  ++*woken;
}

CORO_TEST(Event, SetLetsAllGoOnUntilReset) {
  Event event;
  int woken = 0;
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int i = 0; i < 10; ++i) group.start(wait_for, &event, &woken);
    co_await sleep_for(milliseconds(1));
    EXPECT_EQ(woken, 0);
    event.set();
    co_await sleep_for(milliseconds(1));
    EXPECT_EQ(woken, 10);
    co_await event.wait();
    event.reset();
    group.start(wait_for, &event, &woken);
    co_await sleep_for(milliseconds(1));
    EXPECT_EQ(woken, 10);
    event.notify_all();
    EXPECT_FALSE(event.is_set());
  };
  co_await with_group(body);
  EXPECT_EQ(woken, 11);
}

CORO_TEST(Event, CancelledWaitLeavesTheOthers) {
  Event event;
  int woken = 0;
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(wait_for, &event, &woken);
    const auto result = co_await with_timeout(seconds(1), wait_for(&event, &woken));
    EXPECT_FALSE(result.has_value());
    event.set();
  };
  co_await with_group(body);
  EXPECT_EQ(woken, 1);
}

Task<void> use(Semaphore* semaphore, size_t count, milliseconds nap, int* inside, int* most) {
  auto permit = co_await semaphore->acquire(count);
  *inside += static_cast<int>(count);
  *most = std::max(*most, *inside);
  co_await sleep_for(nap);
  *inside -= static_cast<int>(count);
}

CORO_TEST_SEEDED(Semaphore, NeverMoreThanItsPermits, 5) {
  Semaphore semaphore(3);
  int inside = 0, most = 0;
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (size_t i = 0; i < 30; ++i) {
      group.start(use, &semaphore, 1 + i % 3, milliseconds(1 + i % 4), &inside, &most);
    }
    co_return;
  };
  co_await with_group(body);
  EXPECT_EQ(most, 3);
  EXPECT_EQ(semaphore.free(), 3u);
}

CORO_TEST(Semaphore, LargeRequestIsNotOvertaken) {
  Semaphore semaphore(2);
  std::vector<int> order;
  auto take = [](Semaphore* from, size_t count, int id, std::vector<int>* out) -> Task<void> {
    auto permit = co_await from->acquire(count);
    out->push_back(id);
    co_await sleep_for(milliseconds(10));
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(take, &semaphore, 1, 0, &order);
    co_await sleep_for(milliseconds(1));
    group.start(take, &semaphore, 2, 1, &order);
    co_await sleep_for(milliseconds(1));
    group.start(take, &semaphore, 1, 2, &order);
    co_return;
  };
  co_await with_group(body);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
}

CORO_TEST(Semaphore, CancelledLargeRequestLetsThoseBehindItGo) {
  Semaphore semaphore(2);
  int inside = 0, most = 0;
  bool small_ran = false;
  auto small = [](Semaphore* from, bool* ran) -> Task<void> {
    auto permit = co_await from->acquire(1);
    *ran = true;
  };
  CancelScope scope;
  auto large = [&]() -> Task<void> {
    co_await scope.run(use(&semaphore, 2, milliseconds(1), &inside, &most));
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    auto held = co_await semaphore.acquire(1);
    group.start(large);
    co_await sleep_for(milliseconds(1));
    group.start(small, &semaphore, &small_ran);
    co_await sleep_for(milliseconds(1));
    EXPECT_FALSE(small_ran);
    scope.cancel(CancelReason::kUserRequest);
    co_await sleep_for(milliseconds(1));
    EXPECT_TRUE(small_ran);
  };
  co_await with_group(body);
}

}  // namespace
}  // namespace weft
