// The life of a job, for every state and every event.
#include <gtest/gtest.h>

#include <map>
#include <utility>

#include <weft/jobs/job_state.h>

namespace weft {
namespace {

TEST(JobState, EveryTransitionIsAsDesigned) {
  using S = JobState;
  using E = JobEvent;
  const std::map<std::pair<S, E>, std::pair<S, S>> expected = {
      {{S::kScheduled, E::kDue}, {S::kQueued, S::kQueued}},
      {{S::kScheduled, E::kCancel}, {S::kCancelled, S::kCancelled}},
      {{S::kScheduled, E::kExpire}, {S::kExpired, S::kExpired}},
      {{S::kQueued, E::kTake}, {S::kRunning, S::kRunning}},
      {{S::kQueued, E::kCancel}, {S::kCancelled, S::kCancelled}},
      {{S::kQueued, E::kExpire}, {S::kExpired, S::kExpired}},
      {{S::kScheduled, E::kDeadline}, {S::kDead, S::kDead}},
      {{S::kQueued, E::kDeadline}, {S::kDead, S::kDead}},
      {{S::kRunning, E::kPostpone}, {S::kScheduled, S::kCancelled}},
      {{S::kRunning, E::kRelease}, {S::kQueued, S::kCancelled}},
      {{S::kRunning, E::kCrash}, {S::kQueued, S::kCancelled}},
      {{S::kRunning, E::kSucceed}, {S::kSucceeded, S::kSucceeded}},
      {{S::kRunning, E::kFail}, {S::kDead, S::kCancelled}},
      {{S::kRunning, E::kStop}, {S::kCancelled, S::kCancelled}},
      {{S::kRunning, E::kCancel}, {S::kRunning, S::kRunning}},
      {{S::kDead, E::kRetry}, {S::kQueued, S::kQueued}},
  };
  for (const S state : kAllJobStates) {
    for (const E event : kAllJobEvents) {
      const auto found = expected.find({state, event});
      const auto plain = next_state(state, event, false);
      const auto flagged = next_state(state, event, true);
      SCOPED_TRACE(::testing::Message()
                   << to_string(state) << ", event " << static_cast<int>(event));
      EXPECT_EQ(plain.has_value(), found != expected.end());
      EXPECT_EQ(flagged.has_value(), found != expected.end());
      if (found == expected.end() || !plain || !flagged) continue;
      EXPECT_EQ(*plain, found->second.first);
      EXPECT_EQ(*flagged, found->second.second);
    }
  }
}

TEST(JobState, FinishedStatesHaveNoWayOutButARetryByHand) {
  for (const JobState state : kAllJobStates) {
    bool leads_on = false;
    for (const JobEvent event : kAllJobEvents) {
      if (event == JobEvent::kRetry) continue;
      leads_on = leads_on || next_state(state, event, false).has_value();
    }
    EXPECT_EQ(is_finished(state), !leads_on) << to_string(state);
  }
}

TEST(JobState, OnlyARunningJobSettles) {
  for (const JobState end : kAllJobStates) {
    const auto event = settle_event(end);
    const bool can = end == JobState::kSucceeded || end == JobState::kDead ||
                     end == JobState::kCancelled || end == JobState::kScheduled;
    EXPECT_EQ(event.has_value(), can) << to_string(end);
    if (!event) continue;
    for (const JobState state : kAllJobStates) {
      const auto next = next_state(state, *event, false);
      EXPECT_EQ(next.has_value(), state == JobState::kRunning) << to_string(state);
      if (next) EXPECT_EQ(*next, end);
    }
  }
}

TEST(JobState, NoFailureIsKeptAfterACancelRequest) {
  for (const JobEvent event : kAllJobEvents) {
    const auto next = next_state(JobState::kRunning, event, true);
    if (!next) continue;
    EXPECT_TRUE(*next == JobState::kCancelled || *next == JobState::kSucceeded ||
                event == JobEvent::kCancel);
  }
}

TEST(JobState, CancelDecidesByState) {
  EXPECT_EQ(decide_cancel(JobState::kScheduled), CancelDecision::kEndNow);
  EXPECT_EQ(decide_cancel(JobState::kQueued), CancelDecision::kEndNow);
  EXPECT_EQ(decide_cancel(JobState::kRunning), CancelDecision::kRequest);
  for (const JobState state : kAllJobStates) {
    if (is_finished(state)) EXPECT_EQ(decide_cancel(state), CancelDecision::kTooLate);
  }
}

TEST(JobState, EveryStateHasItsOwnName) {
  std::map<std::string_view, int> names;
  for (const JobState state : kAllJobStates) ++names[to_string(state)];
  EXPECT_EQ(names.size(), std::size(kAllJobStates));
  EXPECT_EQ(to_string(JobState::kSucceeded), "succeeded");
}

}  // namespace
}  // namespace weft
