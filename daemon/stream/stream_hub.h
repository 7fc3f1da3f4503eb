// StreamHub: carries chunks from the jobs that run here to the readers attached here.
#pragma once

#include <memory>
#include <string>

#include <weft/base/limits.h>
#include <weft/runtime/task.h>
#include <weft/store/store.h>
#include <weft/stream/subscription.h>

namespace weft {

class Producer;
namespace internal {
class HubImpl;
}  // namespace internal

struct StreamHubOptions {
  uint64_t window_chunks = limits::kWindowChunks;
  size_t window_bytes = limits::kWindowBytes;
  uint64_t stream_chunks = limits::kStreamChunks;
  size_t stream_bytes = limits::kStreamBytes;
  int64_t slow_reader_ms = limits::kSlowReaderMs;
  size_t readers_per_job = limits::kReadersPerJob;
  size_t readers = limits::kReaders;
  size_t live_tail_bytes = limits::kLiveTailBytes;
};

struct StreamHubStats {
  uint64_t chunks_committed = 0;
  uint64_t bytes_committed = 0;  // of those chunks
  uint64_t appends = 0;          // store transactions
  size_t streams = 0;            // written or read now
  size_t readers = 0;
  size_t producers = 0;
  uint64_t readers_detached = 0;  // for holding a full stream too long
  size_t live_tail_bytes = 0;
};

// A chunk reaches readers once the store has accepted it, so nobody sees what a crash can take
// back. Chunks of all streams of a turn go to the store in one append. Thread: the loop's.
// Lifetime: outlives its producers and subscriptions; run() must be running.
class StreamHub {
 public:
  StreamHub(Store& store, StreamHubOptions options = {});
  ~StreamHub();
  StreamHub(const StreamHub&) = delete;
  StreamHub& operator=(const StreamHub&) = delete;

  // Appends what producers push, until cancelled. Cancel it only after the last producer is gone.
  Task<void> run();

  // Opens a reader. Errors: NOT_FOUND; OUT_OF_RANGE for a from_sequence beyond the last entry + 1
  // of the stream, or below the oldest kept one; RESOURCE_EXHAUSTED at the bound of readers.
  Task<StatusOr<std::unique_ptr<Subscription>>> open(WatchOptions options);

  // Told by the store's listener (the worker forwards it; see daemon.cc). Each may come late or
  // twice, and be of streams that nobody reads or writes here any more.
  void on_finished(const v1::Job& job);
  // A dead job was queued again: its readers wait for the new attempt.
  void on_retried(const v1::Job& job);
  // A finished job was removed: its readers get NOT_FOUND, and a new job may have its id.
  void on_removed(const std::string& job_id);
  // A job's progress changed; readers get the latest value.
  void on_progress(const std::string& job_id, const v1::Progress& progress);

  // What other processes do to streams that are read here…
  void on_entries(const std::string& job_id, const ChunkBlockPtr& block);
  void on_stored(const std::string& job_id, uint64_t last_sequence);
  void on_readers_detached(const std::string& job_id, uint64_t first_sequence);
  // …and who reads there what is written here.
  void on_readers(const RemoteReaders& readers);
  // Some of all this may have been missed: run() asks the store how things stand.
  void on_resync();

  StreamHubStats stats() const;

 private:
  friend class Producer;
  std::unique_ptr<internal::HubImpl> impl_;
};

}  // namespace weft
