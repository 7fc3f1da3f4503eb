// JobAdmin: what people and the janitor do with jobs, off the hot path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <weft/base/status.h>
#include <weft/runtime/task.h>
#include <weft/v1/job.pb.h>

namespace weft {

// Which jobs: all that match every field which is set.
struct JobFilter {
  std::vector<v1::JobState> states = {};    // empty: any
  std::string queue = {};                   // empty: any
  std::string type = {};                    // empty: any
  int64_t submitted_from_ns = INT64_MIN;    // wall time; then or later
  int64_t submitted_before_ns = INT64_MAX;  // earlier than this
  std::string idempotency_key = {};         // empty: any
  std::string error = {};  // a part of the outcome's error code or message; empty: any
};

class JobPage {
 public:
  std::vector<v1::Job> jobs;  // newest first, without payload, result, errors
  std::string next;           // where the next page begins; empty: that was all
  // Where this one began: from there on a list is without the jobs that came since.
  std::string from;
};

// Thread, Lifetime, Cancellation, Errors: as JobStore.
class JobAdmin {
 public:
  virtual ~JobAdmin() = default;

  // Jobs that match, newest first, from `position` on (empty: from the newest; else a `next` of the
  // same filter). At most `max_jobs`, and looks at no more than list_scan() records (job_list.h): a
  // page may be short, or empty, and still have a `next`. Never holds up a commit.
  // Errors: INVALID_ARGUMENT for a position it has not given.
  virtual Task<StatusOr<JobPage>> list(JobFilter filter, std::string position, size_t max_jobs) = 0;

  // A dead job is QUEUED again: its failures, snoozes and crashes count from 0, its outcome is
  // gone, its total timeout begins anew; errors and chunks stay. Returns the record without
  // payload and errors. Errors: NOT_FOUND; FAILED_PRECONDITION in any other state, or when its
  // expire_at has passed; RESOURCE_EXHAUSTED when the queue is full.
  virtual Task<StatusOr<v1::Job>> retry(std::string job_id) = 0;

  // Forgets a finished job: record, payload, result, chunks, sends. Its idempotency key stays.
  // Errors: NOT_FOUND; FAILED_PRECONDITION when it has not ended.
  virtual Task<Status> remove(std::string job_id) = 0;

  // Forgets up to `max_items` finished jobs and idempotency keys whose time is over. Returns how
  // many it forgot: fewer than `max_items` means that nothing is left to do now.
  virtual Task<StatusOr<size_t>> sweep(size_t max_items) = 0;
};

}  // namespace weft
