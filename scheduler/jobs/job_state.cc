// The transition table.
#include <weft/jobs/job_state.h>

namespace weft {
namespace {

struct Transition {
  JobState from;
  JobEvent event;
  JobState to;
  JobState to_if_cancel_requested;
};

constexpr Transition kTransitions[] = {
    {JobState::kScheduled, JobEvent::kDue, JobState::kQueued, JobState::kQueued},
    {JobState::kScheduled, JobEvent::kCancel, JobState::kCancelled, JobState::kCancelled},
    {JobState::kScheduled, JobEvent::kExpire, JobState::kExpired, JobState::kExpired},
    {JobState::kScheduled, JobEvent::kDeadline, JobState::kDead, JobState::kDead},
    {JobState::kQueued, JobEvent::kTake, JobState::kRunning, JobState::kRunning},
    {JobState::kQueued, JobEvent::kCancel, JobState::kCancelled, JobState::kCancelled},
    {JobState::kQueued, JobEvent::kExpire, JobState::kExpired, JobState::kExpired},
    {JobState::kQueued, JobEvent::kDeadline, JobState::kDead, JobState::kDead},
    {JobState::kRunning, JobEvent::kRelease, JobState::kQueued, JobState::kCancelled},
    {JobState::kRunning, JobEvent::kCrash, JobState::kQueued, JobState::kCancelled},
    {JobState::kRunning, JobEvent::kSucceed, JobState::kSucceeded, JobState::kSucceeded},
    {JobState::kRunning, JobEvent::kFail, JobState::kDead, JobState::kCancelled},
    {JobState::kRunning, JobEvent::kStop, JobState::kCancelled, JobState::kCancelled},
    {JobState::kRunning, JobEvent::kPostpone, JobState::kScheduled, JobState::kCancelled},
    {JobState::kRunning, JobEvent::kCancel, JobState::kRunning, JobState::kRunning},
    {JobState::kDead, JobEvent::kRetry, JobState::kQueued, JobState::kQueued},
};

}  // namespace

std::string_view to_string(JobState state) {
  switch (state) {
    case JobState::kScheduled:
      return "scheduled";
    case JobState::kQueued:
      return "queued";
    case JobState::kRunning:
      return "running";
    case JobState::kSucceeded:
      return "succeeded";
    case JobState::kDead:
      return "dead";
    case JobState::kCancelled:
      return "cancelled";
    case JobState::kExpired:
      return "expired";
  }
  return "unknown";
}

std::optional<JobState> next_state(JobState state, JobEvent event, bool cancel_requested) {
  for (const Transition& transition : kTransitions) {
    if (transition.from == state && transition.event == event) {
      return cancel_requested ? transition.to_if_cancel_requested : transition.to;
    }
  }
  return std::nullopt;
}

bool is_finished(JobState state) {
  switch (state) {
    case JobState::kScheduled:
    case JobState::kQueued:
    case JobState::kRunning:
      return false;
    case JobState::kSucceeded:
    case JobState::kDead:
    case JobState::kCancelled:
    case JobState::kExpired:
      return true;
  }
  return true;
}

std::optional<JobEvent> settle_event(JobState end) {
  switch (end) {
    case JobState::kSucceeded:
      return JobEvent::kSucceed;
    case JobState::kScheduled:
      return JobEvent::kPostpone;
    case JobState::kDead:
      return JobEvent::kFail;
    case JobState::kCancelled:
      return JobEvent::kStop;
    default:
      return std::nullopt;
  }
}

CancelDecision decide_cancel(JobState state) {
  const std::optional<JobState> next = next_state(state, JobEvent::kCancel, false);
  if (!next) return CancelDecision::kTooLate;
  return *next == JobState::kCancelled ? CancelDecision::kEndNow : CancelDecision::kRequest;
}

}  // namespace weft
