// The life of a job as data: which state follows which event, and the decisions that rest on it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace weft {

// The numbers are those of weft.v1.JobState.
enum class JobState : uint8_t {
  kScheduled = 1,
  kQueued = 2,
  kRunning = 3,
  kSucceeded = 4,
  kDead = 5,
  kCancelled = 6,
  kExpired = 7,
};
inline constexpr JobState kAllJobStates[] = {
    JobState::kScheduled, JobState::kQueued,    JobState::kRunning, JobState::kSucceeded,
    JobState::kDead,      JobState::kCancelled, JobState::kExpired};

// What can happen to a job.
enum class JobEvent : uint8_t {
  kDue,      // its time has come
  kTake,     // a worker starts an attempt
  kRelease,  // the worker hands it back; counts as nothing
  kCrash,    // the worker is gone
  kSucceed,  // the attempt settles
  kFail,
  kStop,      // the attempt settles as cancelled
  kPostpone,  // the attempt settles as one to be followed by another, later
  kCancel,
  kExpire,    // its last time to start has passed
  kDeadline,  // its total timeout is over
  kRetry,     // by hand
};
inline constexpr JobEvent kAllJobEvents[] = {
    JobEvent::kDue,     JobEvent::kTake,   JobEvent::kRelease,  JobEvent::kCrash,
    JobEvent::kSucceed, JobEvent::kFail,   JobEvent::kStop,     JobEvent::kPostpone,
    JobEvent::kCancel,  JobEvent::kExpire, JobEvent::kDeadline, JobEvent::kRetry};

std::string_view to_string(JobState state);  // "succeeded"…

// The state after `event`, or nothing when the event cannot happen in `state`. `cancel_requested`:
// somebody asked for the running job's end; then it is not run again, but a success stays one.
// Cancelling a running job changes no state: it sets the flag.
std::optional<JobState> next_state(JobState state, JobEvent event, bool cancel_requested);

// It has come to its end; only a retry by hand changes it, and that only when it is dead.
bool is_finished(JobState state);

// The event by which an attempt settles as `end`, or nothing when no attempt can end that way.
std::optional<JobEvent> settle_event(JobState end);

enum class CancelDecision : uint8_t {
  kEndNow,   // nobody runs it
  kRequest,  // set the flag and tell the worker
  kTooLate,  // it has ended
};
CancelDecision decide_cancel(JobState state);

}  // namespace weft
