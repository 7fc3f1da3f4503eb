// Two processes that share a store: jobs run in one, and are read in the other.
#pragma once

#include <functional>
#include <string>

#include "tests/stream/stream_bed.h"
#include "tests/support/coro_test.h"
#include "tests/support/shared_memory.h"

namespace weft::testing {

class Processes {
 public:
  explicit Processes(StreamHubOptions options = {}, NewsOptions news = {})
      : shared(news),
        worker(options, shared.open({1, 1}), {1, 1}),
        front(options, shared.open({2, 2}), {2, 2}) {}
  SharedMemory shared;
  StreamBed worker;
  StreamBed front;
};

// Runs body(processes, group) beside their hubs.
inline Task<void> with_processes(StreamHubOptions options, NewsOptions news,
                                 std::function<Task<void>(Processes&, TaskGroup&)> body) {
  Processes processes(options, news);
  auto outer = [&](TaskGroup& hubs) -> Task<void> {
    hubs.start([&processes] { return processes.shared.carry(); });
    hubs.start([&processes] { return processes.worker.hub.run(); });
    hubs.start([&processes] { return processes.front.hub.run(); });
    auto inner = [&](TaskGroup& group) -> Task<void> { co_await body(processes, group); };
    co_await with_group(inner);
    hubs.cancel(CancelReason::kShutdown);
  };
  co_await with_group(outer);
}

// As far as the job may write now that all news have arrived.
inline Task<uint64_t> run_as_far_as_it_may(Producer& producer, uint64_t last, size_t bytes = 0) {
  for (int quiet = 0; quiet < 50; ++quiet) {
    const uint64_t before = producer.last_sequence();
    push_numbers(producer, last, bytes);
    if (producer.last_sequence() != before) quiet = 0;
    co_await settle_down();
  }
  co_return producer.last_sequence();
}

// `read` has the chunks `first` to `last`, each once, in order, as push_numbers() wrote them.
inline void expect_numbers(const Read& read, uint64_t first, uint64_t last) {
  ASSERT_EQ(read.chunks.size(), last - first + 1);
  for (uint64_t n = first; n <= last; ++n) {
    ASSERT_EQ(read.sequences[n - first], n);
    ASSERT_EQ(std::stoull(read.chunks[n - first]), n);
  }
}

}  // namespace weft::testing
