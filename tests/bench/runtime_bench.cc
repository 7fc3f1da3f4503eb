// How fast the runtime is, row by row of its speed targets. Prints, asserts nothing.
#include <benchmark/benchmark.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <thread>
#include <vector>

#include <weft/runtime/async_generator.h>
#include <weft/runtime/channel.h>
#include <weft/runtime/event.h>
#include <weft/runtime/executor.h>
#include <weft/runtime/generator.h>
#include <weft/runtime/sleep.h>
#include <weft/runtime/task_group.h>

namespace weft {
namespace {

using std::chrono::hours;
using std::chrono::nanoseconds;

// Runs `make(state)` as the main task of a real loop.
template <typename Make>
void on_loop(benchmark::State& state, Make make) {
  EventLoop loop;
  loop.run(make(state));
}

[[gnu::noinline]] Task<int> one() { co_return 1; }

Task<void> task_await(benchmark::State& state) {
  int64_t sum = 0;
  for (auto _ : state) sum += co_await one();
  benchmark::DoNotOptimize(sum);
}
BENCHMARK_CAPTURE(on_loop, task_await, task_await);

Task<void> nothing() { co_return; }

// Starts and joins `range` children at a time; the time is that of one child.
Task<void> spawn(benchmark::State& state) {
  const int64_t children = state.range(0);
  auto body = [children](TaskGroup& group) -> Task<void> {
    for (int64_t i = 0; i < children; ++i) group.start(nothing);
    co_return;
  };
  while (state.KeepRunningBatch(children)) co_await with_group(body);
}
void spawn_and_complete(benchmark::State& state) { on_loop(state, spawn); }
BENCHMARK(spawn_and_complete)->Arg(16)->Arg(128)->Arg(1000);

Task<void> yielder(const bool* stop) {
  while (!*stop) co_await yield_now();
}

Task<void> switching(benchmark::State& state) {
  bool stop = false;
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int i = 0; i < 999; ++i) group.start(yielder, &stop);
    while (state.KeepRunningBatch(1000)) co_await yield_now();
    stop = true;
  };
  co_await with_group(body);
}
BENCHMARK_CAPTURE(on_loop, switch_among_1000, switching);

void generator_value(benchmark::State& state) {
  auto count = []() -> Generator<int64_t> {
    for (int64_t i = 0;; ++i) co_yield i;
  };
  Generator<int64_t> numbers = count();
  auto it = numbers.begin();
  int64_t sum = 0;
  for (auto _ : state) {
    sum += *it;
    ++it;
    benchmark::DoNotOptimize(sum);
  }
}
BENCHMARK(generator_value);

AsyncGenerator<int64_t, int64_t> steered() {
  int64_t step = 1;
  for (int64_t i = 0;; i += step) {
    auto sent = co_yield i;
    if (sent) step = *sent;
  }
}

Task<void> async_next(benchmark::State& state) {
  auto numbers = steered();
  int64_t sum = 0;
  for (auto _ : state) {
    auto value = co_await numbers.next();
    sum += *value;
  }
  benchmark::DoNotOptimize(sum);
  co_await numbers.close();
}
BENCHMARK_CAPTURE(on_loop, async_generator_next, async_next);

Task<void> async_send(benchmark::State& state) {
  auto numbers = steered();
  co_await numbers.next();
  int64_t sum = 0;
  for (auto _ : state) {
    auto value = co_await numbers.send(sum & 3);
    sum += *value;
  }
  benchmark::DoNotOptimize(sum);
  co_await numbers.close();
}
BENCHMARK_CAPTURE(on_loop, async_generator_send, async_send);

Task<void> sleep_zero(benchmark::State& state) {
  for (auto _ : state) co_await sleep_for(nanoseconds(0));
}
BENCHMARK_CAPTURE(on_loop, sleep_zero, sleep_zero);

Task<void> sleeper(const bool* stop) {
  while (!*stop) co_await sleep_for(std::chrono::microseconds(50));
}

// 1000 tasks that sleep again whenever they wake.
Task<void> sleep_due(benchmark::State& state) {
  bool stop = false;
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int i = 0; i < 999; ++i) group.start(sleeper, &stop);
    while (state.KeepRunningBatch(1000)) co_await sleep_for(std::chrono::microseconds(50));
    stop = true;
  };
  co_await with_group(body);
}
BENCHMARK_CAPTURE(on_loop, sleep_50us_among_1000, sleep_due);

Task<void> echo(Channel<int>* from, Channel<int>* to) {
  while (auto value = co_await from->receive()) co_await to->send(*value);
}

Task<void> channel_hop(benchmark::State& state) {
  Channel<int> ping(1), pong(1);
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(echo, &ping, &pong);
    while (state.KeepRunningBatch(2)) {
      co_await ping.send(1);
      co_await pong.receive();
    }
    ping.close();
  };
  co_await with_group(body);
}
BENCHMARK_CAPTURE(on_loop, channel_hop, channel_hop);

int64_t cpu_ns() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000'000'000LL +
         (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000LL;
}

// One caller at a time, and 64 at once; CPU is that of all threads.
Task<void> executor_round_trip(benchmark::State& state) {
  const auto callers = state.range(0);
  Executor executor({.threads = 1});
  bool stop = false;
  int64_t done = 0;
  auto caller = [&]() -> Task<void> {
    while (!stop) {
      co_await executor.offload([] {});
      ++done;
    }
  };
  const int64_t cpu_start_ns = cpu_ns();
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int64_t i = 1; i < callers; ++i) group.start(caller);
    while (state.KeepRunningBatch(callers)) {
      co_await executor.offload([] {});
      ++done;
    }
    stop = true;
  };
  co_await with_group(body);
  state.counters["cpu_ns"] =
      static_cast<double>(cpu_ns() - cpu_start_ns) / static_cast<double>(done);
}
void executor_bench(benchmark::State& state) { on_loop(state, executor_round_trip); }
BENCHMARK(executor_bench)->Arg(1)->Arg(64)->Arg(256)->UseRealTime();

class RingBell final : public Mail {
 public:
  void deliver() override { event->set(); }
  Event* event = nullptr;
  std::atomic<int64_t> posted_ns{0};
};

// Another thread posts into a loop that sleeps; time from its post to the task's resume.
void post_to_resume(benchmark::State& state) {
  std::vector<int64_t> delays;
  EventLoop loop;
  Event event;
  RingBell mail;
  mail.event = &event;
  std::atomic<int> asked{0};
  std::atomic<bool> stop{false};
  std::thread poster([&] {
    for (int seen = 0; !stop.load();) {
      if (asked.load() == seen) {
        std::this_thread::sleep_for(std::chrono::microseconds(20));
        continue;
      }
      ++seen;
      std::this_thread::sleep_for(std::chrono::microseconds(50));  // the loop is asleep by now
      mail.posted_ns.store(RealClock::instance().monotonic_ns());
      loop.post(mail);
    }
  });
  auto main = [&]() -> Task<void> {
    for (auto _ : state) {
      event.reset();
      asked.fetch_add(1);
      co_await event.wait();
      const int64_t delay_ns = RealClock::instance().monotonic_ns() - mail.posted_ns.load();
      delays.push_back(delay_ns);
      state.SetIterationTime(static_cast<double>(delay_ns) * 1e-9);
    }
  };
  loop.run(main());
  stop.store(true);
  poster.join();
  std::sort(delays.begin(), delays.end());
  state.counters["p50_us"] = static_cast<double>(delays[delays.size() / 2]) / 1000;
  state.counters["p99_us"] = static_cast<double>(delays[delays.size() * 99 / 100]) / 1000;
}
BENCHMARK(post_to_resume)->Iterations(5000)->UseManualTime();

int64_t resident_bytes() {
  long total = 0, resident = 0;
  FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr || std::fscanf(file, "%ld %ld", &total, &resident) != 2) return 0;
  std::fclose(file);
  return resident * sysconf(_SC_PAGESIZE);
}

Task<void> sleep_long() { co_await sleep_for(hours(1)); }
Task<void> nested() { co_await sleep_long(); }

// Memory of a parked task: its frames (one, or two deep), its context, its timer.
Task<void> parked(benchmark::State& state) {
  constexpr int kTasks = 1'000'000;
  const bool deep = state.range(0) == 2;
  for (auto _ : state) {
    const int64_t before_bytes = resident_bytes();
    auto body = [&](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < kTasks; ++i) deep ? group.start(nested) : group.start(sleep_long);
      // All have run once when their starts are through the ready queue.
      for (int i = 0; i < kTasks / 1000; ++i) co_await yield_now();
      state.counters["bytes"] =
          static_cast<double>(resident_bytes() - before_bytes) / static_cast<double>(kTasks);
      group.cancel(CancelReason::kUserRequest);
    };
    co_await with_group(body);
  }
}
void parked_bytes(benchmark::State& state) { on_loop(state, parked); }
BENCHMARK(parked_bytes)->Arg(1)->Arg(2)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace weft

BENCHMARK_MAIN();
