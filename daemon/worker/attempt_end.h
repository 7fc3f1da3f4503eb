// AttemptEnd: how an attempt ended and what follows it: the job's end, another attempt, or nothing.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <weft/base/random.h>
#include <weft/jobs/retry_policy.h>
#include <weft/v1/job.pb.h>
#include <weft/worker/job_context.h>

namespace weft {

// What the store is to be told.
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
  v1::JobState state = v1::JOB_STATE_UNSPECIFIED;  // SCHEDULED: it runs again after `pause`
  v1::Outcome outcome;
  std::chrono::milliseconds pause{0};
  bool snoozed = false;  // it asked for that pause itself
};

// The job's own policy; what that leaves out is as `defaults` has it.
RetryPolicy merge_policy(const v1::RetryPolicy& own, const RetryPolicy& defaults);

// An outcome with an error; code and message are made fit to be stored.
v1::Outcome failure(std::string_view code, std::string_view message);

// After a failure that is worth another try: SCHEDULED while the policy allows one; else DEAD. It
// is DEAD ("deadline") at once when the job may not run any more after the pause.
AttemptEnd end_of_failure(const internal::JobContext& context, const RetryPolicy& defaults,
                          v1::Outcome failed, std::chrono::milliseconds retry_after,
                          Random& random);

// After a Snooze: SCHEDULED; DEAD beyond limits::kSnoozes ("too_many_snoozes") or when the job may
// not run any more after it; a failure when the duration is none.
AttemptEnd end_of_snooze(const internal::JobContext& context, const RetryPolicy& defaults,
                         std::chrono::nanoseconds duration, Random& random);

}  // namespace weft
