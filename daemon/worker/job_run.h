// job_run: one attempt of one job, and the only place that catches whatever a handler throws.
#pragma once

#include <exception>
#include <memory>

#include <weft/base/status.h>
#include <weft/runtime/task.h>
#include <weft/worker/attempt_end.h>
#include <weft/worker/job_context.h>
#include <weft/worker/registry.h>

namespace weft {

// What an attempt's tasks keep until its end: small, for a million of them may wait.
struct AttemptRun {
  bool returned = false;
  std::exception_ptr thrown;
  Status stored;  // whether its chunks are
};

// Runs the handler in the context's scope and stores what it yielded. `handler` null: there is none
// for the job's type, and nothing runs.
// Cancellation: from outside (not through the context's scope), Cancelled passes: nothing is told.
Task<AttemptRun> run_attempt(std::shared_ptr<internal::JobContext> context,
                             const RegisteredHandler* handler);

// REQUIRES: the context has not ended.
//   returned                          → SUCCEEDED, also after a cancel request
//   cancelled: UserRequest            → CANCELLED;  ConsumerGone → CANCELLED
//   cancelled: Shutdown               → handed back
//   its attempt timeout has passed    → a failure with the code "deadline"
//   its total timeout has passed      → DEAD with the code "deadline"
//   the store refuses its chunks      → nothing is told if the job is another's now, else handed
//                                       back
//   its stream can hold no more       → DEAD
//   threw Permanent, or returned too much → DEAD
//   threw Snooze                      → as end_of_snooze()
//   threw something else              → a failure
// A failure ends as end_of_failure() says, by the job's policy. Of several cancellations the first
// counts, and what is thrown after one does not.
AttemptEnd end_of(internal::JobContext& context, const RegisteredHandler* handler,
                  const AttemptRun& run, Random& random);

}  // namespace weft
