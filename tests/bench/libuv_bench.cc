// The rows of runtime_bench that libuv has an answer to, in the same run: it has callbacks and no
// coroutines, so a switch is one idle callback and a sleep one timer started again.
#include <benchmark/benchmark.h>
#include <uv.h>

#include <vector>

namespace {

struct Run {
  benchmark::State* state;
  uv_loop_t loop;
  bool stop = false;
};

void close_all(Run& run) {
  auto close = [](uv_handle_t* handle, void*) {
    if (uv_is_closing(handle) == 0) uv_close(handle, nullptr);
  };
  uv_walk(&run.loop, close, nullptr);
  uv_run(&run.loop, UV_RUN_DEFAULT);
  uv_loop_close(&run.loop);
}

// 1000 idle callbacks; one of them counts the rounds.
void libuv_switch_among_1000(benchmark::State& state) {
  Run run{&state, {}};
  uv_loop_init(&run.loop);
  run.loop.data = &run;
  std::vector<uv_idle_t> idles(1000);
  for (size_t i = 0; i < idles.size(); ++i) {
    uv_idle_init(&run.loop, &idles[i]);
    uv_idle_start(
        &idles[i], i != 0 ? [](uv_idle_t*) {} : [](uv_idle_t* idle) {
          Run* all = static_cast<Run*>(idle->loop->data);
          if (!all->state->KeepRunningBatch(1000)) uv_stop(idle->loop);
        });
  }
  uv_run(&run.loop, UV_RUN_DEFAULT);
  close_all(run);
}
BENCHMARK(libuv_switch_among_1000);

// 1000 timers of a millisecond (libuv's smallest) that start again whenever they fire.
void libuv_sleep_1ms_among_1000(benchmark::State& state) {
  Run run{&state, {}};
  uv_loop_init(&run.loop);
  run.loop.data = &run;
  std::vector<uv_timer_t> timers(1000);
  for (size_t i = 0; i < timers.size(); ++i) {
    uv_timer_init(&run.loop, &timers[i]);
    uv_timer_start(&timers[i], i != 0 ? [](uv_timer_t*) {} : [](uv_timer_t* timer) {
      Run* all = static_cast<Run*>(timer->loop->data);
      if (!all->state->KeepRunningBatch(1000)) uv_stop(timer->loop);
    }, 1, 1);
  }
  uv_run(&run.loop, UV_RUN_DEFAULT);
  close_all(run);
}
BENCHMARK(libuv_sleep_1ms_among_1000);

}  // namespace
