// job_run: one attempt of one job, and the only place that catches whatever a handler throws.
#pragma once

#include <exception>
#include <memory>

#include <weft/base/status.h>
#include <weft/runtime/task.h>
#include <weft/v1/job.pb.h>
#include <weft/worker/job_context.h>
#include <weft/worker/registry.h>

namespace weft {

// How an attempt ended, and what the store is to be told.
class AttemptEnd {
 public:
  enum class Verb {
    kSettle,   // with state and outcome
    kRelease,  // hand it back: it counts as nothing
    kDrop,     // the job is another's now
  };
  explicit AttemptEnd(Verb what) : verb(what) {}
  AttemptEnd(v1::JobState end_state, v1::Outcome end_outcome)
      : verb(Verb::kSettle), state(end_state), outcome(std::move(end_outcome)) {}
  Verb verb;
  v1::JobState state = v1::JOB_STATE_UNSPECIFIED;
  v1::Outcome outcome;
};

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
//   its attempt timeout has passed    → DEAD with the code "deadline"
//   the store refuses its chunks      → nothing is told if the job is another's now, else handed
//                                       back
//   its stream can hold no more       → DEAD
//   threw, no cancel asked for        → DEAD
// Of several cancellations the first counts.
AttemptEnd end_of(internal::JobContext& context, const RegisteredHandler* handler,
                  const AttemptRun& run);

}  // namespace weft
