// WorkerEngine: takes jobs from the store and runs them with the registered handlers.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include <weft/base/limits.h>
#include <weft/base/random.h>
#include <weft/runtime/executor.h>
#include <weft/runtime/loop_affinity.h>
#include <weft/runtime/task.h>
#include <weft/store/store.h>
#include <weft/stream/stream_hub.h>
#include <weft/worker/registry.h>
#include <weft/worker/worker_metrics.h>

namespace weft {

struct WorkerOptions {
  std::string name;                                    // shown to people
  Incarnation incarnation;                             // of this process start
  size_t concurrency = limits::kConcurrency;           // slots: jobs that run and are not parked
  size_t max_resident = limits::kResidentJobs;         // jobs held at all, parked ones included
  size_t max_resident_bytes = limits::kResidentBytes;  // and their payloads
  Random random = Random::from_system();               // of the jitter of pauses
};

struct WorkerStats {
  uint64_t taken = 0;
  uint64_t succeeded = 0;
  uint64_t dead = 0;
  uint64_t cancelled = 0;
  uint64_t retried = 0;
  uint64_t snoozed = 0;
  uint64_t released = 0;        // handed back at shutdown
  uint64_t lease_lost = 0;      // attempts that ended with nothing to settle
  size_t resident = 0;          // jobs held now
  size_t resident_bytes = 0;    // their payloads
  size_t suspects_running = 0;  // 0 or 1
  size_t stuck = 0;             // cancelled limits::kStuckMs ago and not over yet
  size_t slots_used = 0;
  size_t settlements_pending = 0;
};

// Sets itself as the store's listener, so it is made before the store's first verb.
// Thread: the loop's. Lifetime: made before the store's first verb, destroyed after run() has
// returned and the store is closed; store, hub, executor and registry outlive it.
class WorkerEngine final : public StoreListener {
 public:
  WorkerEngine(Store& store, StreamHub& hub, Executor& executor, const Registry& registry,
               WorkerOptions options);
  ~WorkerEngine() override;
  WorkerEngine(const WorkerEngine&) = delete;
  WorkerEngine& operator=(const WorkerEngine&) = delete;

  // Takes and runs jobs until drain() was called and every job has ended or was handed back, and
  // the store knows. Cancellation: ends without telling the store; the jobs then run again after
  // the next start. drain() is the orderly way.
  Task<void> run();
  // Takes no more jobs. Those still running after `grace` are cancelled (Shutdown) and handed back.
  // A second call can shorten the grace.
  void drain(std::chrono::nanoseconds grace);
  WorkerStats stats() const;
  // Queues jobs whose time has come, as Promoter::run(). Also without run(): any process may.
  // Cancellation: how it ends.
  Task<void> promote();
  // Looks for attempts that ignore their cancellation: counts them and names each once in the log.
  // Cancellation: how it ends.
  Task<void> watch_stuck();
  // Of this process start, until a lease was lost: then another one each time.
  Incarnation incarnation() const;
  // Copies what was counted by type: for a page that is read now and then.
  WorkerMetrics metrics() const;

  void on_work() override;
  void on_scheduled(std::chrono::milliseconds in) override;
  void on_cancel_requested(const std::string& job_id, const std::string& reason) override;
  void on_finished(const v1::Job& job) override;
  void on_send(const std::string& job_id, uint64_t number, const std::string& value) override;
  void on_entries(const std::string& job_id, const ChunkBlockPtr& block) override;
  void on_stored(const std::string& job_id, uint64_t last_sequence) override;
  void on_progress(const std::string& job_id, const v1::Progress& progress) override;
  void on_retried(const v1::Job& job) override;
  void on_removed(const std::string& job_id) override;
  void on_readers(const RemoteReaders& readers) override;
  void on_readers_detached(const std::string& job_id, uint64_t first_sequence) override;
  void on_resync() override;
  void on_lease_lost(Incarnation next) override;

 private:
  class Impl;
  Impl& impl() const;

  const LoopAffinity affinity_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft
