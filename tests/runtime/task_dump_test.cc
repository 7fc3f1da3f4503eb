// A dump: every task with its name, its wait and for how long, below the task that waits for it.
#include <algorithm>
#include <string>

#include <weft/base/limits.h>
#include <weft/runtime/combinators.h>
#include <weft/runtime/event.h>
#include <weft/runtime/mutex.h>
#include <weft/runtime/task_dump.h>
#include <weft/runtime/task_group.h>

#include "tests/support/coro_test.h"

namespace weft {
namespace {

using ::std::chrono::milliseconds;
using ::std::chrono::seconds;

std::string dump(size_t max_bytes = limits::kDumpBytes) {
  return dump_tasks(*EventLoop::current(), max_bytes);
}

Task<void> named_wait(std::string name, Event* event) {
  if (!name.empty()) set_task_name(std::move(name));
  co_await event->wait();
}

CORO_TEST(TaskDump, ShowsWaitsAndTimesAsATree) {
  Event end;
  Mutex mutex("m");
  set_task_name("main");
  auto holder = [](Mutex* guard, Event* until) -> Task<void> {
    set_task_name("holder");
    auto lock = co_await guard->lock();
    auto body = [&](TaskGroup& group) -> Task<void> {
      group.start(&named_wait, std::string("left"), until);
      group.start(&named_wait, std::string(), until);
      co_return;
    };
    co_await with_timeout(seconds(100), with_group(body));
  };
  auto waiter = [](Mutex* guard) -> Task<void> {
    set_task_name("waiter");
    auto lock = co_await guard->lock();
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(holder, &mutex, &end);
    co_await sleep_for(milliseconds(2080));
    group.start(waiter, &mutex);
    co_await sleep_for(milliseconds(1150));
    EXPECT_EQ(dump(),
              "'main': running\n"
              "  'waiter': waits for mutex 'm' of 'holder', 1.1 s\n"
              "  'holder': waits for the end of 2 tasks, 3.2 s\n"
              "    'left': waits for an event, 3.2 s\n"
              "    a task: waits for an event, 3.2 s\n");
    end.set();
    co_await yield_now();
  };
  co_await with_group(body);
}

CORO_TEST(TaskDump, ShowsWhatIsReadyAndWhatIsCancelled) {
  Event never;
  auto stubborn = [](Event* event) -> Task<void> {
    set_task_name("stubborn");
    CancelScope shield(CancelScope::Kind::kShielded);
    shield.set_deadline_after(seconds(2));
    co_await shield.run(named_wait("", event));
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    TaskContext& fresh = group.start(&named_wait, std::string(), &never);
    fresh.set_name("fresh");
    TaskContext& child = group.start(stubborn, &never);
    child.set_name("stubborn");
    EXPECT_NE(dump().find("  'fresh': ready\n"), std::string::npos) << dump();
    co_await sleep_for(milliseconds(1050));
    group.cancel(CancelReason::kUserRequest);
    EXPECT_NE(dump().find("a task: running (cancelled: user request)\n"), std::string::npos)
        << dump();
    EXPECT_NE(dump().find("  'fresh': ready (cancelled: user request)\n"), std::string::npos)
        << dump();
    EXPECT_NE(dump().find("  'stubborn': waits for an event, 1.0 s\n"), std::string::npos)
        << dump() << "the shield keeps the cancellation out";
  };
  co_await with_group(body);
}

CORO_TEST(TaskDump, IsCutAtItsBytesAndCountsTheRest) {
  Event end;
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int i = 0; i < 99; ++i) group.start(&named_wait, std::string("child"), &end);
    co_await sleep_for(seconds(1));
    const std::string whole = dump();
    EXPECT_EQ(std::count(whole.begin(), whole.end(), '\n'), 100);
    const std::string cut = dump(1000);
    EXPECT_LE(cut.size(), 1000u);
    const auto lines = std::count(cut.begin(), cut.end(), '\n');
    EXPECT_NE(cut.find("\n… and " + std::to_string(101 - lines) + " more tasks\n"),
              std::string::npos)
        << cut;
    end.set();
  };
  co_await with_group(body);
}

CORO_TEST(TaskDump, IsCutAtItsTasks) {
  Event end;
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (size_t i = 0; i < limits::kDumpTasks; ++i) {
      group.start(&named_wait, std::string(), &end);
    }
    co_await sleep_for(seconds(1));
    const std::string text = dump();
    EXPECT_EQ(static_cast<size_t>(std::count(text.begin(), text.end(), '\n')),
              limits::kDumpTasks + 1);
    EXPECT_NE(text.find("\n… and 1 more task\n"), std::string::npos);
    end.set();
  };
  co_await with_group(body);
}

Task<void> nest(size_t depth, Event* until) {
  if (depth == 0) {
    co_await until->wait();
    co_return;
  }
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(&nest, depth - 1, until);
    co_return;
  };
  co_await with_group(body);
}

CORO_TEST(TaskDump, IsCutAtItsDepth) {
  Event end;
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(&nest, limits::kDumpDepth + 10, &end);
    co_await sleep_for(seconds(1));
    const std::string text = dump();
    EXPECT_EQ(static_cast<size_t>(std::count(text.begin(), text.end(), '\n')),
              limits::kDumpDepth + 2);
    EXPECT_NE(text.find("\n… and 11 more tasks\n"), std::string::npos) << text;
    end.set();
  };
  co_await with_group(body);
}

}  // namespace
}  // namespace weft
