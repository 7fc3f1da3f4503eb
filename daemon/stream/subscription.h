// Subscription: one reader of a job's stream. The stored stream is iterable; this is an iterator
// over it: one pass, from any sequence, that ends with the job.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <weft/base/status.h>
#include <weft/runtime/task.h>
#include <weft/v1/job_service.pb.h>

namespace weft {

struct WatchOptions {
  std::string job_id;
  uint64_t from_sequence = 0;  // 0: the oldest kept
  bool all_attempts = false;   // also chunks a later attempt superseded
  // An attached reader opens the job's window, which runs to the largest credit of all of them, and
  // gets chunks up to its own credit. A passive reader (false) asks the job for nothing and gets
  // all.
  bool attached = false;
  uint64_t credit = 0;
};

// Thread: the loop's. Lifetime: made by StreamHub::open; destroyed before the hub; leaving is
// enough to detach. Cancellation: next() throws Cancelled and may be called again.
class Subscription {
 public:
  virtual ~Subscription() = default;

  // The next events, neighbouring chunks coalesced up to about 256 KiB. Nothing after the Finished
  // event. A job that keeps nothing after its end can be gone before a reader has all of it: then
  // Finished comes with a last_sequence beyond the last chunk delivered.
  // Errors: RESOURCE_EXHAUSTED when this reader held a full stream for too long; NOT_FOUND when the
  // job was removed; OUT_OF_RANGE when what it would read next has been trimmed; UNAVAILABLE.
  virtual Task<StatusOr<std::optional<v1::Event>>> next() = 0;

  // The job has ended: next() gives the rest without waiting for anything but credit.
  virtual bool job_ended() const = 0;

  // "Ready up to this sequence": absolute; a lower one than before is ignored. Attached readers
  // only.
  virtual void set_credit(uint64_t sequence) = 0;
};

}  // namespace weft
