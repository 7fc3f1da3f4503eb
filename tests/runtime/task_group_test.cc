// TaskGroup: children never outlive the block, and the first error ends all of them.
#include <memory>
#include <stdexcept>
#include <vector>

#include <weft/runtime/channel.h>
#include <weft/runtime/event.h>
#include <weft/runtime/task_group.h>

#include "tests/support/coro_test.h"

namespace weft {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Task<void> nap_and_count(milliseconds nap, int* done) {
  co_await sleep_for(nap);
  ++*done;
}
Task<void> fail_after(milliseconds nap) {
  co_await sleep_for(nap);
  throw std::runtime_error("child failed");
}

CORO_TEST_SEEDED(TaskGroup, WaitsForEveryChild, 5) {
  int done = 0;
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int i = 0; i < 100; ++i) group.start(nap_and_count, milliseconds(i % 7), &done);
    EXPECT_EQ(group.running(), 100u);
    co_return;
  };
  co_await with_group(body);
  EXPECT_EQ(done, 100);
}

CORO_TEST(TaskGroup, ChildrenRunBesideEachOther) {
  int done = 0;
  const int64_t start_ns = EventLoop::current()->now_ns();
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int i = 0; i < 10; ++i) group.start(nap_and_count, milliseconds(100), &done);
    co_return;
  };
  co_await with_group(body);
  EXPECT_EQ(EventLoop::current()->now_ns() - start_ns, 100'000'000);
}

CORO_TEST_SEEDED(TaskGroup, FirstErrorCancelsTheRestAndIsThrown, 5) {
  int done = 0;
  std::string caught;
  const int64_t start_ns = EventLoop::current()->now_ns();
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(nap_and_count, milliseconds(1), &done);
    group.start(fail_after, milliseconds(5));
    group.start(fail_after, milliseconds(5000));
    group.start(nap_and_count, milliseconds(9000), &done);
    co_await sleep_for(std::chrono::hours(1));
  };
  try {
    co_await with_group(body);
  } catch (const std::runtime_error& error) {
    caught = error.what();
  }
  EXPECT_EQ(caught, "child failed");
  EXPECT_EQ(done, 1);
  EXPECT_EQ(EventLoop::current()->now_ns() - start_ns, 5'000'000);
}

CORO_TEST(TaskGroup, ErrorOfTheBlockCancelsTheChildren) {
  int done = 0;
  bool caught = false;
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(nap_and_count, milliseconds(1000), &done);
    co_await sleep_for(milliseconds(1));
    throw std::runtime_error("block failed");
  };
  try {
    co_await with_group(body);
  } catch (const std::runtime_error&) {
    caught = true;
  }
  EXPECT_TRUE(caught);
  EXPECT_EQ(done, 0);
}

CORO_TEST(TaskGroup, CancelBeforeTheStartNeverRunsTheBody) {
  bool ran = false;
  auto mark = [](bool* flag) -> Task<void> {
    *flag = true;
    co_return;
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(mark, &ran);
    group.cancel(CancelReason::kUserRequest);
    co_return;
  };
  co_await with_group(body);
  EXPECT_FALSE(ran);
}

CORO_TEST(TaskGroup, StartInACancelledGroupNeverRunsTheBody) {
  bool ran = false;
  auto mark = [](bool* flag) -> Task<void> {
    *flag = true;
    co_return;
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.cancel(CancelReason::kUserRequest);
    group.start(mark, &ran);
    co_return;
  };
  co_await with_group(body);
  EXPECT_FALSE(ran);
}

CORO_TEST(TaskGroup, CancellingItIsANormalEnd) {
  int done = 0;
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(nap_and_count, milliseconds(1000), &done);
    group.cancel(CancelReason::kUserRequest);
    co_await sleep_for(seconds(1));
    ADD_FAILURE() << "the block is cancelled too";
  };
  co_await with_group(body);
  EXPECT_EQ(done, 0);
  co_await sleep_for(milliseconds(1));
}

CORO_TEST(TaskGroup, ChildrenMayStartChildren) {
  int done = 0;
  struct Tree {
    static Task<void> grow(TaskGroup* group, int depth, int* count) {
      ++*count;
      if (depth == 0) co_return;
      group->start(&Tree::grow, group, depth - 1, count);
      group->start(&Tree::grow, group, depth - 1, count);
    }
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(&Tree::grow, &group, 8, &done);
    co_return;
  };
  co_await with_group(body);
  EXPECT_EQ(done, 511);
}

CORO_TEST(TaskGroup, ArgumentsAndCapturesLiveInTheChild) {
  auto held = std::make_shared<int>(41);
  int seen = 0;
  auto body = [&](TaskGroup& group) -> Task<void> {
    {
      auto child = [copy = std::make_shared<int>(1),
                    &seen](std::unique_ptr<int> own) -> Task<void> {
        co_await sleep_for(milliseconds(1));
        seen = *copy + *own;
      };
      group.start(std::move(child), std::make_unique<int>(41));
    }
    co_return;
  };
  co_await with_group(body);
  EXPECT_EQ(seen, 42);
}

CORO_TEST(TaskGroup, CancelFromOutsideReachesChildrenAndIsThrown) {
  int done = 0;
  bool returned = false;
  auto inner = [&]() -> Task<void> {
    auto body = [&](TaskGroup& group) -> Task<void> {
      group.start(nap_and_count, milliseconds(5000), &done);
      co_return;
    };
    co_await with_group(body);
    returned = true;
  };
  CancelScope scope;
  scope.set_deadline_after(milliseconds(10));
  const bool finished = co_await scope.run(inner());
  EXPECT_FALSE(finished);
  EXPECT_FALSE(returned) << "a group with a child cut short must not look finished";
  EXPECT_EQ(done, 0);
}

CORO_TEST(TaskGroup, CancelFromOutsideAfterTheLastChildEndedIsNotThrownByIt) {
  int done = 0;
  bool returned = false;
  CancelScope scope;
  auto inner = [&]() -> Task<void> {
    auto body = [&](TaskGroup& group) -> Task<void> {
      group.start(nap_and_count, milliseconds(1), &done);
      co_await sleep_for(milliseconds(2));
      scope.cancel(CancelReason::kUserRequest);
    };
    co_await with_group(body);
    returned = true;
  };
  const bool finished = co_await scope.run(inner());
  EXPECT_TRUE(finished);
  EXPECT_TRUE(returned);
}

CORO_TEST(TaskGroup, CancelledThrownByHandEndsTheGroup) {
  std::optional<CancelReason> reason;
  int done = 0;
  auto leave = []() -> Task<void> {
    throw Cancelled(CancelReason::kConsumerGone);
    co_return;
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(leave);
    group.start(nap_and_count, milliseconds(5000), &done);
    co_return;
  };
  try {
    co_await with_group(body);
  } catch (const Cancelled& cancelled) {
    reason = cancelled.reason();
  }
  EXPECT_EQ(reason, CancelReason::kConsumerGone);
  EXPECT_EQ(done, 0);
}

CORO_TEST(TaskGroup, JoinWaitsForChildrenThatCleanUp) {
  bool cleaned = false;
  auto child = [](bool* flag) -> Task<void> {
    bool cancelled = false;
    try {
      co_await sleep_for(std::chrono::hours(1));
    } catch (const Cancelled&) {
      cancelled = true;
    }
    CancelScope shield(CancelScope::Kind::kShielded);
    auto cleanup = [](bool* target) -> Task<void> {
      co_await sleep_for(seconds(3));
      *target = true;
    };
    co_await shield.run(cleanup(flag));
    EXPECT_TRUE(cancelled);
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(child, &cleaned);
    co_await sleep_for(milliseconds(1));
    group.cancel(CancelReason::kUserRequest);
  };
  co_await with_group(body);
  EXPECT_TRUE(cleaned);
}

CORO_TEST(TaskGroup, HundredThousandChildren) {
  int done = 0;
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int i = 0; i < 100'000; ++i) group.start(nap_and_count, milliseconds(1), &done);
    co_return;
  };
  co_await with_group(body);
  EXPECT_EQ(done, 100'000);
}

}  // namespace
}  // namespace weft
