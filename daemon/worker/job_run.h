// job_run: one attempt of one job, and the only place that catches whatever a handler throws.
#pragma once

#include <memory>

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

// Runs the handler in the context's scope and stores what it yielded. `handler` null: there is none
// for the job's type.
//   returned                          → SUCCEEDED, also after a cancel request
//   cancelled: UserRequest            → CANCELLED;  ConsumerGone → CANCELLED
//   cancelled: Shutdown               → handed back
//   its attempt timeout has passed    → DEAD with the code "deadline"
//   the store refuses its chunks      → nothing is told if the job is another's now, else handed
//                                       back
//   its stream can hold no more       → DEAD
//   threw, no cancel asked for        → DEAD
// Of several cancellations the first counts.
// Cancellation: from outside (not through the context's scope), Cancelled passes: nothing is told.
Task<AttemptEnd> run_attempt(std::shared_ptr<internal::JobContext> context,
                             const RegisteredHandler* handler);

}  // namespace weft
