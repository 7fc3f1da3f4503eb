// Random programs of every awaitable, cancelled at random times, under shuffled ready orders: every
// task ends, nothing leaks, no source is left with a dangling waiter.
#include <sys/socket.h>

#include <memory>
#include <stdexcept>

#include <weft/runtime/async_generator.h>
#include <weft/runtime/channel.h>
#include <weft/runtime/combinators.h>
#include <weft/runtime/event.h>
#include <weft/runtime/executor.h>
#include <weft/runtime/mutex.h>
#include <weft/runtime/semaphore.h>
#include <weft/runtime/socket.h>
#include <weft/runtime/task_group.h>

#include "tests/support/coro_test.h"

namespace weft {
namespace {

using std::chrono::microseconds;

class Program {
 public:
  explicit Program(uint64_t seed)
      : random_(seed),
        executor_({.threads = 2, .queue = 2}),
        channel_(2),
        handover_(0),
        semaphore_(2) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) abort();
    a_ = std::make_unique<Socket>(fds[0]);
    b_ = std::make_unique<Socket>(fds[1]);
  }

  Task<void> run() {
    auto body = [this](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < 12; ++i) group.start(&Program::work, this, 3);
      group.start(&Program::keep_going, this);
      co_await sleep_for(microseconds(200 + pick(2000)));
      group.cancel(CancelReason::kUserRequest);
    };
    co_await with_group(body);
    EXPECT_EQ(alive_, 0);
    EXPECT_EQ(semaphore_.free(), 2u);
    const ExecutorStats stats = executor_.stats();
    EXPECT_EQ(stats.queued + stats.running + stats.callers_waiting, 0u);
    EXPECT_EQ(Mutex::LockWaiter::waiting(), 0u);
  }

 private:
  struct Alive {
    explicit Alive(int* count) : count_(count) { ++*count_; }
    ~Alive() { --*count_; }
    int* count_;
  };

  uint64_t pick(uint64_t bound) { return random_.below(bound); }
  microseconds moment() { return microseconds(pick(100)); }

  // Feeds the sources, so that most waits are completed and only some are cancelled.
  Task<void> keep_going() {
    for (;;) {
      co_await sleep_for(moment());
      switch (pick(6)) {
        case 0:
          channel_.try_send(1);
          break;
        case 1:
          channel_.try_receive();
          break;
        case 2:
          event_.notify_all();
          break;
        case 3:
          handover_.try_send(1);
          break;
        case 4:
          handover_.try_receive();
          break;
        default:
          static_cast<void>(co_await b_->write_all("!"));
      }
    }
  }

  AsyncGenerator<int> numbers(int depth) {
    Alive alive(&alive_);
    CancelScope scope;
    ScopeEntry entry(scope);
    if (pick(2) == 0) scope.set_deadline_after(moment());
    for (int i = 0; i < 5; ++i) {
      if (pick(2) == 0) co_await step(depth - 1);
      co_yield i;
    }
  }

  Task<void> use_generator(int depth) {
    AsyncGenerator<int> source = numbers(depth);
    bool cancelled = false;
    try {
      for (uint64_t i = pick(6); i > 0; --i) {
        const auto value = co_await source.next();
        if (!value) break;
      }
    } catch (const Cancelled&) {
      cancelled = true;
    }
    co_await shielded(microseconds(500), source.close());
    if (cancelled) co_await yield_now();
  }

  Task<void> work(int depth) {
    Alive alive(&alive_);
    for (uint64_t i = 1 + pick(6); i > 0; --i) co_await step(depth);
  }

  Task<void> fail_sometimes(int depth) {
    co_await step(depth);
    if (pick(4) == 0) throw std::runtime_error("random");
  }

  Task<void> group(int depth) {
    auto body = [this, depth](TaskGroup& inner) -> Task<void> {
      for (uint64_t i = pick(4); i > 0; --i) inner.start(&Program::fail_sometimes, this, depth - 1);
      if (pick(3) == 0) inner.cancel(CancelReason::kConsumerGone);
      co_await step(depth - 1);
    };
    try {
      co_await with_group(body);
    } catch (const std::runtime_error&) {
    }
  }

  Task<void> read_socket() {
    // One reader at a time is the socket's contract.
    auto permit = co_await reader_.acquire();
    char byte;
    static_cast<void>(co_await a_->read(&byte, 1));
  }

  Task<void> lock_in_order() {
    auto first = co_await one_.lock();
    co_await sleep_for(moment());
    auto second = co_await two_.lock();
    co_await yield_now();
  }
  Task<void> lock_in_any_order() {
    try {
      if (pick(2) == 0) {
        co_await lock_in_order();
      } else {
        auto second = co_await two_.lock();
        co_await sleep_for(moment());
        auto first = co_await one_.lock();
      }
    } catch (const DeadlockError&) {
    }
  }

  Task<void> step(int depth) {
    Alive alive(&alive_);
    const uint64_t kinds = depth > 0 ? 15 : 11;
    switch (pick(kinds)) {
      case 0:
        co_await yield_now();
        break;
      case 1:
        co_await sleep_for(moment());
        break;
      case 2:
        co_await channel_.send(1);
        break;
      case 3:
        co_await channel_.receive();
        break;
      case 4:
        co_await event_.wait();
        break;
      case 5: {
        auto permit = co_await semaphore_.acquire(1 + pick(2));
        co_await sleep_for(moment());
        break;
      }
      case 6:
        co_await lock_in_any_order();
        break;
      case 7: {
        int local = 0;
        const uint64_t rounds = pick(2000);
        co_await executor_.offload([&local, rounds] {
          for (uint64_t i = 0; i < rounds; ++i) local += static_cast<int>(i);
        });
        break;
      }
      case 8:
        co_await read_socket();
        break;
      case 9:
        co_await handover_.send(1);
        break;
      case 10:
        co_await handover_.receive();
        break;
      case 11:
        co_await with_timeout(moment(), work(depth - 1));
        break;
      case 12:
        co_await group(depth);
        break;
      case 13:
        co_await use_generator(depth);
        break;
      default:
        co_await shielded(moment(), work(depth - 1));
    }
  }

  Random random_;
  Executor executor_;
  Channel<int> channel_;
  Channel<int> handover_;
  Semaphore semaphore_;
  Semaphore reader_{1};
  Event event_;
  Mutex one_{"one"};
  Mutex two_{"two"};
  std::unique_ptr<Socket> a_;
  std::unique_ptr<Socket> b_;
  int alive_ = 0;
};

CORO_TEST_SEEDED(CancellationFuzz, EveryAwaitableUnwindsWhenever, 300) {
  Program program(seed + 1);
  co_await program.run();
}

}  // namespace
}  // namespace weft
