// Store: one place that keeps jobs and their streams; opened from a URL.
#pragma once

#include <memory>
#include <string>

#include <weft/base/limits.h>
#include <weft/base/random.h>
#include <weft/store/job_admin.h>
#include <weft/store/job_store.h>
#include <weft/store/stream_store.h>

namespace weft {

struct StoreOptions {
  // Tests lower these.
  size_t queued_per_queue = limits::kQueuedPerQueue;
  size_t queue_ops = limits::kStoreQueueOps;
  size_t queue_bytes = limits::kStoreQueueBytes;
  size_t read_bytes = limits::kStoreQueueBytes;  // answers of reads under way, at their largest
  size_t take_bytes = limits::kTakeBytes;
  size_t finished_per_queue = limits::kFinishedPerQueue;
  int64_t retention_ms = limits::kRetentionMs;        // of jobs that do not say
  uint64_t free_disk_bytes = limits::kFreeDiskBytes;  // submissions need so much room; 0: no check
  uint64_t id_seed = 0;  // of the ids the store makes; 0: from the system
};
inline Random make_id_source(const StoreOptions& options) {
  return options.id_seed == 0 ? Random::from_system() : Random(options.id_seed);
}

struct StoreStats {
  uint64_t commits = 0;
  uint64_t operations = 0;    // in those commits
  uint64_t stale_tokens = 0;  // refused
  uint64_t queued_jobs = 0;
  uint64_t running_jobs = 0;
  uint64_t submitted_jobs = 0;  // accepted as new since it was opened
  uint64_t finished_jobs = 0;   // kept; of those:
  uint64_t succeeded_jobs = 0;
  uint64_t dead_jobs = 0;
  uint64_t cancelled_jobs = 0;
  uint64_t suspect_jobs = 0;  // queued or running
  uint64_t removed_jobs = 0;  // by retention, since it was opened
  uint64_t read_bytes = 0;    // that the answers of reads under way can take
  // Not OK while it cannot commit (a full disk): submissions are refused, settlements wait.
  Status health;
  // Not OK while new submissions are refused because the disk is nearly full. As of the last commit
  // that was tried; a sweep is one.
  Status admission;
};

class Store : public JobStore, public JobAdmin, public StreamStore {
 public:
  // Set once, before the first verb. The listener outlives the store's last commit.
  virtual void set_listener(StoreListener* listener) = 0;
  virtual StoreStats stats() const = 0;
  // Commits what was asked for and releases the file. No verb may be called after it.
  virtual Task<void> close() = 0;
};

// `url`: "memory:" or "sqlite:PATH" (an absolute or relative path; its folder is made if missing).
// Blocks while the file is opened and recovered: call it before the loop has work.
// Errors: INVALID_ARGUMENT for another URL; PERMISSION_DENIED, ALREADY_EXISTS (another daemon has
// the file), DATA_LOSS (not a Weft database, corrupt, or of a newer version), each with what to do.
StatusOr<std::unique_ptr<Store>> open_store(const std::string& url, StoreOptions options = {});

}  // namespace weft
