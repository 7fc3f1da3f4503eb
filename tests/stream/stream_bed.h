// StreamBed: a memory store, a hub, and producers without a worker.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <weft/stream/producer.h>

#include "tests/support/worker_bed.h"

namespace weft::testing {

// One attempt of one job, with its producer.
class Attempt {
 public:
  Attempt(StreamHub& hub, v1::Job taken, Incarnation worker)
      : job(std::move(taken)),
        token(job.spec().id(), job.attempt(), worker),
        producer(std::in_place, hub, job, token, scope) {}
  v1::Job job;
  Token token;
  CancelScope scope;
  std::optional<Producer> producer;
};

class StreamBed : public StoreListener {
 public:
  explicit StreamBed(StreamHubOptions options = {}, std::unique_ptr<Store> other_store = nullptr,
                     Incarnation process = {1, 2})
      : self(process),
        store(other_store ? std::move(other_store) : *open_store("memory:")),
        hub(*store, options) {
    store->set_listener(this);
  }
  void on_work() override {}
  void on_cancel_requested(const std::string&, const std::string&) override {}
  void on_finished(const v1::Job& job) override { hub.on_finished(job); }
  void on_send(const std::string&, uint64_t, const std::string&) override {}
  void on_entries(const std::string& id, const ChunkBlockPtr& block) override {
    hub.on_entries(id, block);
  }
  void on_stored(const std::string& id, uint64_t last) override { hub.on_stored(id, last); }
  void on_progress(const std::string& id, const v1::Progress& progress) override {
    hub.on_progress(id, progress);
  }
  void on_retried(const v1::Job& job) override { hub.on_retried(job); }
  void on_removed(const std::string& id) override { hub.on_removed(id); }
  void on_readers(const RemoteReaders& readers) override { hub.on_readers(readers); }
  void on_readers_detached(const std::string& id, uint64_t first) override {
    hub.on_readers_detached(id, first);
  }
  void on_resync() override { hub.on_resync(); }

  Task<std::string> submit(v1::StreamPolicy policy = v1::STREAM_POLICY_RUN) {
    v1::JobSpec spec;
    spec.set_type("any");
    spec.set_queue("default");
    spec.set_stream_policy(policy);
    std::vector<v1::JobSpec> specs(1, spec);
    auto answers = co_await store->submit(std::move(specs));
    co_return answers[0]->id;
  }
  // Takes the next job and opens its stream.
  Task<std::unique_ptr<Attempt>> take() {
    TakeRequest request{self, "test", 1};
    auto taken = co_await store->settle_and_take({}, std::move(request));
    auto attempt = std::make_unique<Attempt>(hub, std::move(taken->jobs.at(0)), self);
    for (const RemoteReaders& readers : taken->readers) hub.on_readers(readers);
    co_return attempt;
  }
  Task<std::unique_ptr<Attempt>> start(v1::StreamPolicy policy = v1::STREAM_POLICY_RUN) {
    co_await submit(policy);
    co_return co_await take();
  }
  // Stores everything and ends the job.
  Task<void> finish(Attempt& attempt) {
    const Status stored = co_await attempt.producer->flush();
    WEFT_CHECK(stored.ok(), "the stream is stored");
    const uint64_t last = attempt.producer->last_sequence();
    attempt.producer.reset();
    std::vector<Settlement> end;
    end.emplace_back(attempt.token, v1::JOB_STATE_SUCCEEDED, v1::Outcome(), last);
    auto answer = co_await store->settle_and_take(std::move(end), TakeRequest());
    WEFT_CHECK(answer.ok() && answer->settled[0].ok(), "the job is settled");
  }
  Task<void> hand_back(Attempt& attempt) {
    const Status stored = co_await attempt.producer->flush();
    WEFT_CHECK(stored.ok(), "the stream is stored");
    attempt.producer.reset();
    std::vector<Token> tokens(1, attempt.token);
    co_await store->release(std::move(tokens));
  }
  Task<StatusOr<std::unique_ptr<Subscription>>> try_open(WatchOptions options) {
    co_return co_await hub.open(std::move(options));
  }
  Task<std::unique_ptr<Subscription>> watch(std::string id, uint64_t from = 0, bool all = false) {
    auto opened =
        co_await hub.open({.job_id = std::move(id), .from_sequence = from, .all_attempts = all});
    co_return std::move(*opened);
  }
  Task<std::unique_ptr<Subscription>> attach(std::string id, uint64_t credit, uint64_t from = 0) {
    auto opened = co_await hub.open(
        {.job_id = std::move(id), .from_sequence = from, .attached = true, .credit = credit});
    co_return std::move(*opened);
  }

  const Incarnation self;
  std::unique_ptr<Store> store;
  StreamHub hub;
};

// Pushes numbered chunks while there is room, up to `last`. Stops at once when it would wait.
inline void push_numbers(Producer& producer, uint64_t last, size_t bytes = 0) {
  while (producer.last_sequence() < last && !producer.must_wait()) {
    std::string chunk = std::to_string(producer.last_sequence() + 1);
    if (chunk.size() < bytes) chunk.append(bytes - chunk.size(), '.');
    const Status pushed = producer.push(chunk);
    WEFT_CHECK(pushed.ok(), "a small chunk is taken");
  }
}

// The same, waiting for room as a job does.
inline Task<void> produce(Producer* producer, uint64_t last, size_t bytes = 0) {
  while (producer->last_sequence() < last) {
    co_await producer->wait_for_room();
    std::string chunk = std::to_string(producer->last_sequence() + 1);
    if (chunk.size() < bytes) chunk.append(bytes - chunk.size(), '.');
    const Status pushed = producer->push(chunk);
    WEFT_CHECK(pushed.ok(), "a small chunk is taken");
  }
}

// Runs body(bed, group) beside a running hub.
inline Task<void> with_hub(StreamHubOptions options,
                           std::function<Task<void>(StreamBed&, TaskGroup&)> body,
                           std::unique_ptr<Store> store = nullptr) {
  StreamBed bed(options, std::move(store));
  auto outer = [&](TaskGroup& hub_group) -> Task<void> {
    hub_group.start([&bed] { return bed.hub.run(); });
    auto inner = [&](TaskGroup& group) -> Task<void> { co_await body(bed, group); };
    co_await with_group(inner);
    hub_group.cancel(CancelReason::kShutdown);
  };
  co_await with_group(outer);
  co_await bed.store->close();
}

}  // namespace weft::testing
