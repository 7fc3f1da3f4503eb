// Store: one place that keeps jobs and their streams; opened from a URL.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <weft/base/limits.h>
#include <weft/base/random.h>
#include <weft/store/job_admin.h>
#include <weft/store/job_store.h>
#include <weft/store/schedule_store.h>
#include <weft/store/stream_store.h>
#include <weft/store/worker_store.h>

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
  // Only of shared stores:
  Incarnation self = {};                         // this process start
  std::string worker_name = {};                  // shown to people
  std::string prefix = "weft";                   // of every key
  std::string password = {};                     // wins over the URL's
  int64_t lease_ms = limits::kLeaseMs;           // without a renewal for so long a worker is dead
  int64_t renew_ms = limits::kRenewMs;           // it renews this often
  int64_t command_ms = limits::kRedisCommandMs;  // an answer that takes longer ends the connection
  size_t push_bytes = limits::kRedisPushBytes;   // chunks pushed to followers; more is read by them
};
inline Random make_id_source(const StoreOptions& options) {
  return options.id_seed == 0 ? Random::from_system() : Random(options.id_seed);
}

struct StoreStats {
  uint64_t commits = 0;
  uint64_t operations = 0;    // in those commits
  uint64_t stale_tokens = 0;  // refused
  uint64_t queued_jobs = 0;
  uint64_t scheduled_jobs = 0;
  uint64_t running_jobs = 0;
  uint64_t submitted_jobs = 0;  // accepted as new since it was opened
  uint64_t finished_jobs = 0;   // kept; of those:
  uint64_t succeeded_jobs = 0;
  uint64_t dead_jobs = 0;
  uint64_t cancelled_jobs = 0;
  uint64_t expired_jobs = 0;
  uint64_t suspect_jobs = 0;  // queued or running
  uint64_t removed_jobs = 0;  // by retention, since it was opened
  uint64_t read_bytes = 0;    // that the answers of reads under way can take
  // Not OK while it cannot commit (a full disk): submissions are refused, settlements wait.
  Status health;
  // Not OK while new submissions are refused because the disk is nearly full. As of the last commit
  // that was tried; a sweep is one.
  Status admission;
  // Of a connection to a server; all zero when there is none.
  uint64_t connects = 0;
  uint64_t timeouts = 0;        // connections closed because an answer did not come
  uint64_t commands = 0;        // sent
  uint64_t pushes = 0;          // news received from other processes
  uint64_t lease_losses = 0;    // of this process
  uint64_t leases_expired = 0;  // of others, taken over by this process
  std::vector<std::pair<std::string, uint64_t>> refusals;  // by the server, by kind: READONLY…
};

class Store : public JobStore,
              public JobAdmin,
              public StreamStore,
              public WorkerStore,
              public ScheduleStore {
 public:
  // Set once, before the first verb. The listener outlives the store's last commit.
  virtual void set_listener(StoreListener* listener) = 0;
  virtual StoreStats stats() const = 0;
  // Commits what was asked for and releases the file. No verb may be called after it.
  virtual Task<void> close() = 0;
};

// `url`: "memory:", "sqlite:PATH" (an absolute or relative path; its folder is made if missing),
// "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]" or "redis+unix://[USER:PASSWORD@]PATH[?db=N]".
// Blocks while the file is opened and recovered: call it before the loop has work.
// Errors: INVALID_ARGUMENT for another URL; PERMISSION_DENIED, ALREADY_EXISTS (another daemon has
// the file), DATA_LOSS (not a Weft database, corrupt, or of a newer version), UNAVAILABLE (the
// server does not answer), FAILED_PRECONDITION (the server is too old, or evicts keys), each with
// what to do.
StatusOr<std::unique_ptr<Store>> open_store(const std::string& url, StoreOptions options = {});

}  // namespace weft
