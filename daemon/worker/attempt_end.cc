// From a failure or a snooze to the next attempt, if there is one.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>

#include <weft/base/limits.h>
#include <weft/base/utf8.h>
#include <weft/store/job_record.h>
#include <weft/worker/attempt_end.h>

namespace weft {
namespace {

using internal::JobContext;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr nanoseconds kSnoozeMax = std::chrono::seconds(limits::kDurationSecondsMax);

// Rounded up: a pause is never shorter than asked for, nor none.
milliseconds to_ms_up(const google::protobuf::Duration& duration) {
  return std::chrono::seconds(duration.seconds()) +
         std::chrono::ceil<milliseconds>(nanoseconds(duration.nanos()));
}

std::string seconds_text(nanoseconds duration) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g s", std::chrono::duration<double>(duration).count());
  return text;
}

Backoff backoff_of(const v1::RetryPolicy& own, const Backoff& defaults) {
  switch (own.backoff_case()) {
    case v1::RetryPolicy::kExponential: {
      ExponentialBackoff backoff;
      backoff.first = to_ms_up(own.exponential().first());
      if (own.exponential().factor() != 0) backoff.factor = own.exponential().factor();
      if (own.exponential().has_max()) backoff.max = to_ms_up(own.exponential().max());
      return backoff;
    }
    case v1::RetryPolicy::kFixed:
      return FixedBackoff{to_ms_up(own.fixed())};
    case v1::RetryPolicy::kListed: {
      ListedBackoff backoff;
      for (const auto& pause : own.listed().pauses()) backoff.pauses.push_back(to_ms_up(pause));
      return backoff;
    }
    case v1::RetryPolicy::BACKOFF_NOT_SET:
      break;
  }
  return defaults;
}

// What keeps the job from running after `pause`; null: nothing does.
const char* over_after(const JobContext& context, milliseconds pause) {
  const auto is_over = [pause](std::optional<nanoseconds> left) { return left && pause >= *left; };
  if (is_over(context.total_left())) return "total timeout";
  if (is_over(context.start_left())) return "expire_at";
  return nullptr;
}

}  // namespace

RetryPolicy merge_policy(const v1::RetryPolicy& own, const RetryPolicy& defaults) {
  RetryPolicy policy = defaults;
  if (own.max_attempts() != 0) policy.max_attempts = own.max_attempts();
  if (own.has_jitter()) policy.jitter = own.jitter();
  policy.backoff = backoff_of(own, defaults.backoff);
  return policy;
}

v1::Outcome failure(std::string_view code, std::string_view message) {
  v1::Outcome outcome;
  outcome.set_error_code(clean_error_code(code));
  outcome.set_error_message(clean_utf8(message, limits::kErrorMessageBytes));
  return outcome;
}

AttemptEnd end_of_failure(const JobContext& context, const RetryPolicy& defaults,
                          v1::Outcome failed, milliseconds retry_after, Random& random) {
  const v1::Job& job = context.record();
  const RetryPolicy policy = merge_policy(job.spec().retry(), defaults);
  const uint32_t failures = job.failures() + 1;
  const auto pause = decide_retry(policy, failures, random.next(), retry_after);
  if (!pause) {
    spdlog::info("job {} ({}): {}: {}; it has failed {} times and is dead", job.spec().id(),
                 job.spec().type(), failed.error_code(), failed.error_message(), failures);
    return AttemptEnd(v1::JOB_STATE_DEAD, std::move(failed));
  }
  if (const char* limit = over_after(context, *pause)) {
    return AttemptEnd(v1::JOB_STATE_DEAD,
                      failure("deadline", "its " + std::string(limit) +
                                              " leaves no time for another attempt; the last one "
                                              "failed: " +
                                              failed.error_message()));
  }
  spdlog::info("job {} ({}): {}: {}; failure {} of {}, it runs again in {}", job.spec().id(),
               job.spec().type(), failed.error_code(), failed.error_message(), failures,
               policy.max_attempts, seconds_text(*pause));
  AttemptEnd end(v1::JOB_STATE_SCHEDULED, std::move(failed));
  end.pause = *pause;
  return end;
}

AttemptEnd end_of_snooze(const JobContext& context, const RetryPolicy& defaults,
                         nanoseconds duration, Random& random) {
  if (duration < nanoseconds(0) || duration > kSnoozeMax) {
    return end_of_failure(
        context, defaults,
        failure("handler_error", "the handler snoozed for " + seconds_text(duration) +
                                     ": a snooze is of 0 s to 30 days"),
        milliseconds(0), random);
  }
  if (context.record().snoozes() >= limits::kSnoozes) {
    return AttemptEnd(v1::JOB_STATE_DEAD,
                      failure("too_many_snoozes", "the job has put itself off " +
                                                      std::to_string(limits::kSnoozes) +
                                                      " times, as often as it may"));
  }
  const auto pause = std::chrono::ceil<milliseconds>(duration);
  if (const char* limit = over_after(context, pause)) {
    return AttemptEnd(v1::JOB_STATE_DEAD,
                      failure("deadline", "its " + std::string(limit) +
                                              " is over before the end of its snooze of " +
                                              seconds_text(duration)));
  }
  AttemptEnd end(v1::JOB_STATE_SCHEDULED, v1::Outcome());
  end.pause = pause;
  end.snoozed = true;
  return end;
}

}  // namespace weft
