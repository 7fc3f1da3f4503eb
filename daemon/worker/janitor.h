// Janitor: forgets, a little at a time, what the store need not keep any longer.
#pragma once

#include <weft/runtime/task.h>
#include <weft/store/job_admin.h>

namespace weft {

// Thread: the loop's. Lifetime: the store outlives run().
// Limits: limits::kSweepBatch items a transaction, and the loop turns between two of them.
class Janitor {
 public:
  explicit Janitor(JobAdmin& store) : store_(store) {}

  // Sweeps every limits::kSweepMs, at once again while there is more. While the store is
  // UNAVAILABLE it tries ever less often. Cancellation: how it ends.
  Task<void> run();

 private:
  JobAdmin& store_;
};

}  // namespace weft
