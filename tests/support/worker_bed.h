// WorkerBed: a store, a hub, an executor and a worker on the test's loop.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <weft/runtime/combinators.h>
#include <weft/runtime/event.h>
#include <weft/runtime/executor.h>
#include <weft/runtime/sleep.h>
#include <weft/runtime/task_group.h>
#include <weft/store/store.h>
#include <weft/stream/stream_hub.h>
#include <weft/worker/worker_engine.h>

namespace weft::testing {

struct BedOptions {
  std::string store_url = "memory:";
  StreamHubOptions hub = {};
  size_t concurrency = limits::kConcurrency;
  size_t max_resident = limits::kResidentJobs;
  size_t max_resident_bytes = limits::kResidentBytes;
  size_t executor_threads = 1;
  uint32_t max_attempts = 0;          // of submit(type…)'s jobs; 0: the handler's
  std::unique_ptr<Store> store = {};  // instead of store_url
};

class WorkerBed {
 public:
  WorkerBed(BedOptions options, Registry handlers)
      : registry(std::move(handlers)),
        store(options.store ? std::move(options.store) : *open_store(options.store_url)),
        hub(*store, options.hub),
        executor({.threads = options.executor_threads}),
        worker(*store, hub, executor, registry,
               {.name = "test",
                .incarnation = {1, 2},
                .concurrency = options.concurrency,
                .max_resident = options.max_resident,
                .max_resident_bytes = options.max_resident_bytes,
                .random = Random(1)}),
        max_attempts(options.max_attempts) {}

  // Submits and returns the id.
  Task<std::string> submit(std::string type, std::string payload = "",
                           v1::StreamPolicy policy = v1::STREAM_POLICY_RUN) {
    v1::JobSpec spec;
    spec.set_type(type);
    spec.set_queue("default");
    spec.set_payload(payload);
    spec.set_stream_policy(policy);
    if (max_attempts > 0) spec.mutable_retry()->set_max_attempts(max_attempts);
    co_return co_await submit(std::move(spec));
  }
  Task<std::string> submit(v1::JobSpec spec) {
    std::vector<v1::JobSpec> specs;
    specs.push_back(std::move(spec));
    auto answers = co_await store->submit(std::move(specs));
    co_return answers[0]->id;
  }
  Task<v1::Job> get(std::string id) {
    auto job = co_await store->get(id, false);
    co_return *job;
  }
  Task<void> cancel(std::string id, std::string reason) {
    const auto answer = co_await store->cancel(std::move(id), std::move(reason));
    WEFT_CHECK(answer.ok(), "the store cancels");
  }
  Task<void> send(std::string id, std::string value) {
    const auto answer = co_await store->send(std::move(id), "", 0, std::move(value));
    WEFT_CHECK(answer.ok(), "the store takes the send");
  }
  Task<std::unique_ptr<Subscription>> watch(std::string id, uint64_t from = 0) {
    co_return co_await open({.job_id = std::move(id), .from_sequence = from});
  }
  Task<std::unique_ptr<Subscription>> attach(std::string id, uint64_t credit, uint64_t from = 0) {
    co_return co_await open(
        {.job_id = std::move(id), .from_sequence = from, .attached = true, .credit = credit});
  }
  Task<std::unique_ptr<Subscription>> open(WatchOptions options) {
    auto opened = co_await hub.open(std::move(options));
    co_return std::move(*opened);
  }
  // Reads until the job has ended.
  Task<v1::Finished> finished(std::string id) {
    auto reader = co_await watch(std::move(id));
    for (;;) {
      auto event = co_await reader->next();
      if ((*event)->has_finished()) co_return (*event)->finished();
    }
  }

  Registry registry;
  std::unique_ptr<Store> store;
  StreamHub hub;
  Executor executor;
  WorkerEngine worker;
  const uint32_t max_attempts;
};

// What a reader has read.
class Read {
 public:
  std::vector<std::string> chunks;
  std::vector<uint64_t> sequences;
  std::vector<v1::AttemptStarted> attempts;
  std::vector<v1::Progress> progress;
  std::optional<v1::Finished> finished;
  Status error;

  void add(const v1::Event& event) {
    for (int i = 0; i < event.chunks().data_size(); ++i) {
      chunks.push_back(event.chunks().data(i));
      sequences.push_back(event.chunks().first_sequence() + static_cast<uint64_t>(i));
    }
    if (event.has_attempt_started()) attempts.push_back(event.attempt_started());
    if (event.has_progress()) progress.push_back(event.progress());
    if (event.has_finished()) finished = event.finished();
  }
};

// Reads until there are `chunks` of them, or the end, or an error.
inline Task<Read> read(Subscription& reader, size_t chunks = SIZE_MAX) {
  Read read;
  while (read.chunks.size() < chunks) {
    auto event = co_await reader.next();
    if (!event.ok()) {
      read.error = event.status();
      break;
    }
    if (!event->has_value()) break;
    read.add(**event);
  }
  co_return read;
}

// Runs body(bed) beside a running hub and worker; drains and closes afterwards.
inline Task<void> with_bed(BedOptions options, Registry registry,
                           std::function<Task<void>(WorkerBed&)> body) {
  WorkerBed bed(std::move(options), std::move(registry));
  auto outer = [&](TaskGroup& hub_group) -> Task<void> {
    hub_group.start([&bed] { return bed.hub.run(); });
    hub_group.start([&bed] { return bed.worker.promote(); });
    auto inner = [&](TaskGroup& group) -> Task<void> {
      group.start([&bed] { return bed.worker.run(); });
      co_await body(bed);
      bed.worker.drain(std::chrono::nanoseconds(0));
    };
    co_await with_group(inner);
    hub_group.cancel(CancelReason::kShutdown);
  };
  co_await with_group(outer);
  co_await bed.store->close();
}

// A job that ends when the loop has nothing else to do: lets everything settle.
inline Task<void> settle_down() { co_await sleep_for(std::chrono::milliseconds(1)); }

}  // namespace weft::testing
