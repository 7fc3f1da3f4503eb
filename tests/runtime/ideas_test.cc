// One test for each row of "the ideas it must make real" that the runtime answers for.
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <numeric>
#include <ranges>
#include <thread>
#include <vector>

#include <weft/runtime/async_generator.h>
#include <weft/runtime/channel.h>
#include <weft/runtime/combinators.h>
#include <weft/runtime/generator.h>
#include <weft/runtime/socket.h>
#include <weft/runtime/task_group.h>

#include "tests/support/coro_test.h"

namespace weft {
namespace {

using std::chrono::milliseconds;

// Event loop: jobs go on in the order their answers arrive, all on one thread.
TEST(EventLoopIdea, TasksResumeInTheOrderAnswersArrive) {
  constexpr size_t kTasks = 200;
  EventLoop loop;
  std::vector<size_t> answered(kTasks), resumed;
  std::vector<std::thread::id> threads;
  std::iota(answered.begin(), answered.end(), size_t{0});
  Random random(2024);
  for (size_t i = kTasks; i > 1; --i) std::swap(answered[i - 1], answered[random.below(i)]);
  std::vector<int> remote(kTasks);
  size_t begun = 0;
  auto job = [&](size_t id, int fd) -> Task<void> {
    Socket socket(fd);
    ++begun;
    char byte;
    auto count = co_await socket.read(&byte, 1);
    EXPECT_EQ(count.value(), 1u);
    resumed.push_back(id);
    threads.push_back(std::this_thread::get_id());
  };
  auto main = [&]() -> Task<void> {
    auto body = [&](TaskGroup& group) -> Task<void> {
      for (size_t i = 0; i < kTasks; ++i) {
        int fds[2];
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        remote[i] = fds[1];
        group.start(job, i, fds[0]);
      }
      while (begun < kTasks) co_await yield_now();
      // All of them wait now, and the kernel has nothing to tell of any of them: it told of this
      // one, which came last.
      int last[2];
      EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, last), 0);
      Socket here(last[0]), there(last[1]);
      auto listen = [](Socket* socket) -> Task<void> {
        char byte;
        auto count = co_await socket->read(&byte, 1);
        EXPECT_EQ(count.value(), 1u);
      };
      auto say = [](Socket* socket) -> Task<void> {
        const Status written = co_await socket->write_all("!");
        EXPECT_TRUE(written.ok());
      };
      co_await all_of(listen(&here), say(&there));
      for (size_t id : answered) EXPECT_EQ(write(remote[id], "!", 1), 1);
    };
    co_await with_group(body);
  };
  loop.run(main());
  EXPECT_EQ(resumed, answered);
  for (std::thread::id id : threads) EXPECT_EQ(id, std::this_thread::get_id());
  for (int fd : remote) close(fd);
}

// Live-lock: tasks that are always ready starve neither I/O nor timers.
Task<void> until_both_served(bool* io, bool* timer, int64_t* rounds) {
  while (!(*io && *timer) && *rounds < 50'000'000) {
    ++*rounds;
    co_await yield_now();
  }
}

Task<void> expect_io_and_timer(bool* io, bool* timer) {
  int fds[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  Socket here(fds[0]), there(fds[1]);
  co_await yield_now();
  auto answer = [](Socket* socket) -> Task<void> {
    for (int i = 0; i < 100; ++i) co_await yield_now();
    const Status written = co_await socket->write_all("!");
    EXPECT_TRUE(written.ok());
  };
  auto listen = [](Socket* socket, bool* flag) -> Task<void> {
    char byte;
    auto count = co_await socket->read(&byte, 1);
    EXPECT_EQ(count.value(), 1u);
    *flag = true;
  };
  auto tick = [](bool* flag) -> Task<void> {
    co_await sleep_for(milliseconds(1));
    *flag = true;
  };
  co_await all_of(answer(&there), listen(&here, io), tick(timer));
}

TEST(LiveLockIdea, EndlessYieldStarvesNeitherIoNorTimers) {
  EventLoop loop;
  bool io = false, timer = false;
  int64_t rounds = 0;
  auto main = [&]() -> Task<void> {
    co_await all_of(until_both_served(&io, &timer, &rounds), expect_io_and_timer(&io, &timer));
  };
  loop.run(main());
  EXPECT_TRUE(io && timer);
  EXPECT_GT(rounds, 100);
}

TEST(LiveLockIdea, ValueHandedBackAndForthForEverStarvesNobody) {
  EventLoop loop;
  bool io = false, timer = false;
  int64_t hand_overs = 0, neighbour = 0;
  Channel<int> ping(1), pong(1);
  auto player = [&](Channel<int>* from, Channel<int>* to) -> Task<void> {
    while (auto value = co_await from->receive()) {
      ++hand_overs;
      if ((io && timer) || hand_overs > 50'000'000) {
        to->close();
        co_return;
      }
      co_await to->send(*value + 1);
    }
    to->close();
  };
  auto main = [&]() -> Task<void> {
    auto body = [&](TaskGroup& group) -> Task<void> {
      group.start(player, &ping, &pong);
      group.start(player, &pong, &ping);
      ping.try_send(0);
      group.start(until_both_served, &io, &timer, &neighbour);
      co_await expect_io_and_timer(&io, &timer);
    };
    co_await with_group(body);
  };
  loop.run(main());
  EXPECT_TRUE(io && timer);
  EXPECT_GT(hand_overs, 10);
  EXPECT_GT(neighbour, 10);
  EXPECT_LT(hand_overs, 50'000'000);
}

// Coroutine: suspends and resumes where it was, locals intact.
CORO_TEST(CoroutineIdea, SuspendsAndResumesWithItsLocals) {
  std::vector<std::string> trace;
  auto routine = [](std::string name, std::vector<std::string>* out) -> Task<int> {
    int kept = 0;
    for (int i = 0; i < 3; ++i) {
      out->push_back(name + std::to_string(i));
      kept += i;
      co_await yield_now();
    }
    co_return kept;
  };
  auto [a, b] = co_await all_of(routine("a", &trace), routine("b", &trace));
  EXPECT_EQ(a, 3);
  EXPECT_EQ(b, 3);
  EXPECT_EQ(trace, (std::vector<std::string>{"a0", "b0", "a1", "b1", "a2", "b2"}));
}

// Generator coroutine: `a = yield`, and next() gives None.
CORO_TEST(GeneratorCoroutineIdea, EachSendChangesWhatItYieldsNext) {
  auto accumulate = []() -> AsyncGenerator<int, int> {
    int total = 0, nones = 0;
    for (;;) {
      std::optional<int> a = co_yield total * 10 + nones;
      if (a) {
        total += *a;
      } else {
        ++nones;
      }
    }
  };
  AsyncGenerator<int, int> generator = accumulate();
  std::vector<int> seen;
  const auto first = co_await generator.next();
  seen.push_back(*first);
  for (int value : {5, 7, -2}) {
    const auto item = co_await generator.send(value);
    seen.push_back(*item);
  }
  const auto none = co_await generator.next();
  seen.push_back(*none);
  EXPECT_EQ(seen, (std::vector<int>{0, 50, 120, 100, 101}));
  co_await generator.close();
}

// Generator: lazy, small memory.
TEST(GeneratorIdea, BillionValuesReadForTenComputeTen) {
  int64_t computed = 0;
  auto count = [](int64_t* calls) -> Generator<int64_t> {
    for (int64_t i = 1; i <= 1'000'000'000; ++i) {
      ++*calls;
      co_yield i;
    }
  };
  const int64_t frames = live_frames();
  int64_t sum = 0;
  for (int64_t value : count(&computed) | std::views::take(10)) sum += value;
  EXPECT_EQ(sum, 55);
  EXPECT_LE(computed, 11);
  EXPECT_EQ(live_frames(), frames);
}

// No CPU context switches between jobs: the same ping-pong by coroutines and by threads.
int64_t switches_now() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_nvcsw + usage.ru_nivcsw;
}

double coroutine_switches(int hops) {
  EventLoop loop;
  Channel<int> ping(1), pong(1);
  auto player = [](Channel<int>* from, Channel<int>* to, int rounds) -> Task<void> {
    for (int i = 0; i < rounds; ++i) {
      auto value = co_await from->receive();
      co_await to->send(*value + 1);
    }
  };
  auto main = [&]() -> Task<void> {
    ping.try_send(0);
    co_await all_of(player(&ping, &pong, hops / 2), player(&pong, &ping, hops / 2));
  };
  const int64_t before = switches_now();
  loop.run(main());
  return static_cast<double>(switches_now() - before) / hops;
}

double thread_switches(int hops) {
  std::mutex mutex;
  std::condition_variable turn_changed;
  int turn = 0;
  const int64_t before = switches_now();
  auto player = [&](int self) {
    for (int i = 0; i < hops / 2; ++i) {
      std::unique_lock lock(mutex);
      turn_changed.wait(lock, [&] { return turn == self; });
      turn = 1 - self;
      lock.unlock();
      turn_changed.notify_one();
    }
  };
  std::thread a(player, 0), b(player, 1);
  a.join();
  b.join();
  return static_cast<double>(switches_now() - before) / hops;
}

TEST(ContextSwitchIdea, CoroutinesSwitchWithoutTheKernel) {
  const double coroutines = coroutine_switches(200'000);
  const double threads = thread_switches(20'000);
  std::printf("context switches per hand-over: coroutines %.5f, threads %.5f\n", coroutines,
              threads);
  EXPECT_LT(coroutines, threads / 10);
}

}  // namespace
}  // namespace weft
