// The rows of runtime_bench with Asio's coroutines, in the same run: the yardstick.
#include <benchmark/benchmark.h>

#include <asio.hpp>
#include <chrono>
#include <cstdint>

namespace {

template <typename Make>
void on_context(benchmark::State& state, Make make) {
  asio::io_context context(1);  // a hint that one thread runs it: no locks
  asio::co_spawn(context, make(state), asio::detached);
  context.run();
}

[[gnu::noinline]] asio::awaitable<int> one() { co_return 1; }

asio::awaitable<void> task_await(benchmark::State& state) {
  int64_t sum = 0;
  for (auto _ : state) sum += co_await one();
  benchmark::DoNotOptimize(sum);
}

asio::awaitable<void> child(int64_t* left) {
  --*left;
  co_return;
}

// Starts `range` children at a time and waits until all have ended.
asio::awaitable<void> spawn(benchmark::State& state) {
  const int64_t children = state.range(0);
  auto executor = co_await asio::this_coro::executor;
  while (state.KeepRunningBatch(children)) {
    int64_t left = children;
    for (int64_t i = 0; i < children; ++i) {
      asio::co_spawn(executor, child(&left), asio::detached);
    }
    while (left > 0) co_await asio::post(asio::use_awaitable);
  }
}

asio::awaitable<void> yielder(const bool* stop) {
  while (!*stop) co_await asio::post(asio::use_awaitable);
}

asio::awaitable<void> switching(benchmark::State& state) {
  bool stop = false;
  auto executor = co_await asio::this_coro::executor;
  for (int i = 0; i < 999; ++i) asio::co_spawn(executor, yielder(&stop), asio::detached);
  while (state.KeepRunningBatch(1000)) co_await asio::post(asio::use_awaitable);
  stop = true;
  co_await asio::post(asio::use_awaitable);  // the others see it before it goes away
}

asio::awaitable<void> sleep_50us() {
  asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::microseconds(50));
  co_await timer.async_wait(asio::use_awaitable);
}

asio::awaitable<void> sleeper(const bool* stop, int64_t* left) {
  while (!*stop) co_await sleep_50us();
  --*left;
}

asio::awaitable<void> sleep_due(benchmark::State& state) {
  bool stop = false;
  int64_t left = 999;
  auto executor = co_await asio::this_coro::executor;
  for (int i = 0; i < 999; ++i) asio::co_spawn(executor, sleeper(&stop, &left), asio::detached);
  while (state.KeepRunningBatch(1000)) co_await sleep_50us();
  stop = true;
  while (left > 0) co_await sleep_50us();
}

void asio_task_await(benchmark::State& state) { on_context(state, task_await); }
void asio_spawn_and_complete(benchmark::State& state) { on_context(state, spawn); }
void asio_switch_among_1000(benchmark::State& state) { on_context(state, switching); }
void asio_sleep_50us_among_1000(benchmark::State& state) { on_context(state, sleep_due); }
BENCHMARK(asio_task_await);
BENCHMARK(asio_spawn_and_complete)->Arg(16)->Arg(128)->Arg(1000);
BENCHMARK(asio_switch_among_1000);
BENCHMARK(asio_sleep_50us_among_1000);

}  // namespace
