// The bounds of a submission.
#include <algorithm>
#include <string>
#include <utility>

#include <weft/base/id.h>
#include <weft/base/limits.h>
#include <weft/base/utf8.h>
#include <weft/store/check_spec.h>

namespace weft {
namespace {

constexpr int64_t kDaySeconds = 24 * 3600;
constexpr int64_t kDays = limits::kDurationSecondsMax / kDaySeconds;
constexpr int32_t kNanosPerSecond = 1'000'000'000;
constexpr int64_t kRunAtDays = limits::kRunAtSecondsMax / kDaySeconds;
// As Timestamp has it: the years 1 to 9999.
constexpr int64_t kTimeSecondsMin = -62'135'596'800;
constexpr int64_t kTimeSecondsMax = 253'402'300'799;
constexpr double kFactorMax = 10;

Status check_size(std::string_view field, size_t size, size_t limit, std::string_view advice) {
  if (size <= limit) return absl::OkStatus();
  return field_error(field, std::string(field) + " has " + std::to_string(size) +
                                " bytes, but at most " + std::to_string(limit) +
                                " are allowed: " + std::string(advice));
}

// Well formed and from 0 to `max_seconds`.
bool in_bounds(const google::protobuf::Duration& duration, int64_t max_seconds) {
  const int64_t seconds = duration.seconds();
  const int32_t nanos = duration.nanos();
  return seconds >= 0 && nanos >= 0 && nanos < kNanosPerSecond &&
         (seconds < max_seconds || (seconds == max_seconds && nanos == 0));
}

bool is_zero(const google::protobuf::Duration& duration) {
  return duration.seconds() == 0 && duration.nanos() == 0;
}

bool is_time(const google::protobuf::Timestamp& time) {
  return time.seconds() >= kTimeSecondsMin && time.seconds() <= kTimeSecondsMax &&
         time.nanos() >= 0 && time.nanos() < kNanosPerSecond;
}

// Seconds and nanoseconds, which compare as the times do.
using Instant = std::pair<int64_t, int64_t>;

Instant instant_of(const google::protobuf::Timestamp& time) {
  return {time.seconds(), time.nanos()};
}

Instant after(int64_t wall_ns, const google::protobuf::Duration& duration) {
  const int64_t nanos = wall_ns % kNanosPerSecond + duration.nanos();
  return {wall_ns / kNanosPerSecond + duration.seconds() + nanos / kNanosPerSecond,
          nanos % kNanosPerSecond};
}

std::string up_to_days() {
  return std::to_string(limits::kDurationSecondsMax) + " s (" + std::to_string(kDays) + " days)";
}

// A name that can be shown: text without control characters. (protobuf refuses strings that are not
// UTF-8 on the wire; specs made in the process come here unchecked.)
bool printable(const std::string& text) {
  return is_utf8(text) && std::none_of(text.begin(), text.end(), [](char c) {
           const auto byte = static_cast<unsigned char>(c);
           return byte < 0x20 || byte == 0x7f;
         });
}

Status check_timeout(const std::string& field, const google::protobuf::Duration& timeout) {
  if (!is_zero(timeout) && in_bounds(timeout, limits::kDurationSecondsMax)) {
    return absl::OkStatus();
  }
  return field_error(field, field + " is out of bounds: use more than 0 s and up to " +
                                up_to_days() + ", or leave it out for no limit");
}

Status check_durations(const v1::JobSpec& spec) {
  if (spec.has_stream_grace() && !in_bounds(spec.stream_grace(), kDaySeconds)) {
    return field_error("stream_grace",
                       "stream_grace is out of bounds: use 0 s to 86400 s (one day)");
  }
  if (spec.has_retention() && !in_bounds(spec.retention(), limits::kDurationSecondsMax)) {
    return field_error("retention", "retention is out of bounds: use 0 s to " + up_to_days() +
                                        ", or leave it out for the daemon's default");
  }
  if (spec.has_attempt_timeout()) {
    WEFT_RETURN_IF_ERROR(check_timeout("attempt_timeout", spec.attempt_timeout()));
  }
  if (spec.has_total_timeout()) {
    WEFT_RETURN_IF_ERROR(check_timeout("total_timeout", spec.total_timeout()));
  }
  return absl::OkStatus();
}

Status check_times(const v1::JobSpec& spec, int64_t wall_ns) {
  if (spec.has_run_at() && spec.has_delay()) {
    return field_error("delay", "delay and run_at are two ways to say when: give one of them");
  }
  if (spec.has_delay() && !in_bounds(spec.delay(), limits::kRunAtSecondsMax)) {
    return field_error("delay", "delay is out of bounds: use 0 s to " +
                                    std::to_string(limits::kRunAtSecondsMax) + " s (" +
                                    std::to_string(kRunAtDays) + " days)");
  }
  if (spec.has_run_at()) {
    google::protobuf::Duration furthest;
    furthest.set_seconds(limits::kRunAtSecondsMax);
    if (!is_time(spec.run_at()) || instant_of(spec.run_at()) > after(wall_ns, furthest)) {
      return field_error("run_at", "run_at is out of bounds: use a time at most " +
                                       std::to_string(kRunAtDays) + " days ahead");
    }
  }
  if (!spec.has_expire_at()) return absl::OkStatus();
  if (!is_time(spec.expire_at())) {
    return field_error("expire_at", "expire_at is not a time: use one of the years 1 to 9999");
  }
  // Only what the submission says itself: repeated later, it gets the answer of the first one. What
  // expires before its delay is over is EXPIRED.
  if (spec.has_run_at() && instant_of(spec.expire_at()) <= instant_of(spec.run_at())) {
    return field_error("expire_at",
                       "expire_at is not after the time at which the job may start: give a later "
                       "one, or an earlier run_at");
  }
  return absl::OkStatus();
}

Status check_pause(const std::string& field, const google::protobuf::Duration& pause) {
  if (!is_zero(pause) && in_bounds(pause, limits::kDurationSecondsMax)) return absl::OkStatus();
  return field_error(field,
                     field + " is out of bounds: use more than 0 s and up to " + up_to_days());
}

Status check_exponential(const v1::RetryPolicy::Exponential& backoff) {
  WEFT_RETURN_IF_ERROR(check_pause("retry.exponential.first", backoff.first()));
  // Written so that NaN is refused.
  const bool factor_fits = backoff.factor() >= 1 && backoff.factor() <= kFactorMax;
  if (backoff.factor() != 0 && !factor_fits) {
    return field_error("retry.exponential.factor",
                       "retry.exponential.factor is out of bounds: use 1 to 10, or 0 for 2");
  }
  Instant longest{limits::kBackoffMsMax / 1000, 0};
  if (backoff.has_max()) {
    WEFT_RETURN_IF_ERROR(check_pause("retry.exponential.max", backoff.max()));
    longest = {backoff.max().seconds(), backoff.max().nanos()};
  }
  if (Instant(backoff.first().seconds(), backoff.first().nanos()) > longest) {
    return field_error("retry.exponential.first",
                       "retry.exponential.first is longer than max (an hour, unless given): give a "
                       "shorter one or a longer max");
  }
  return absl::OkStatus();
}

Status check_retry(const v1::RetryPolicy& retry) {
  if (retry.max_attempts() > limits::kAttemptsMax) {
    return field_error("retry.max_attempts", "retry.max_attempts is out of bounds: use 1 to " +
                                                 std::to_string(limits::kAttemptsMax) +
                                                 ", or 0 for the handler's default");
  }
  if (retry.has_jitter() && !(retry.jitter() >= 0 && retry.jitter() <= 1)) {
    return field_error("retry.jitter", "retry.jitter is out of bounds: use 0 to 1");
  }
  switch (retry.backoff_case()) {
    case v1::RetryPolicy::kExponential:
      return check_exponential(retry.exponential());
    case v1::RetryPolicy::kFixed:
      return check_pause("retry.fixed", retry.fixed());
    case v1::RetryPolicy::kListed:
      break;
    case v1::RetryPolicy::BACKOFF_NOT_SET:
      return absl::OkStatus();
  }
  const auto& pauses = retry.listed().pauses();
  if (pauses.empty() || static_cast<size_t>(pauses.size()) > limits::kBackoffPauses) {
    return field_error("retry.listed.pauses",
                       "retry.listed.pauses has " + std::to_string(pauses.size()) +
                           " pauses: list 1 to " + std::to_string(limits::kBackoffPauses));
  }
  for (int i = 0; i < pauses.size(); ++i) {
    WEFT_RETURN_IF_ERROR(check_pause("retry.listed.pauses[" + std::to_string(i) + "]", pauses[i]));
  }
  return absl::OkStatus();
}

}  // namespace

Status check_spec(v1::JobSpec& spec, int64_t wall_ns) {
  if (!spec.id().empty()) WEFT_RETURN_IF_ERROR(check_job_id("id", spec.id()));
  if (spec.queue().empty()) spec.set_queue("default");
  WEFT_RETURN_IF_ERROR(check_queue_name("queue", spec.queue()));
  WEFT_RETURN_IF_ERROR(check_job_type("type", spec.type()));
  WEFT_RETURN_IF_ERROR(check_size("payload", spec.payload().size(), limits::kPayloadBytes,
                                  "put larger input into a file and submit its path"));
  WEFT_RETURN_IF_ERROR(check_size("content_type", spec.content_type().size(),
                                  limits::kContentTypeBytes, "use a MIME type"));
  size_t metadata_bytes = 0;
  for (const auto& [key, value] : spec.metadata()) metadata_bytes += key.size() + value.size();
  WEFT_RETURN_IF_ERROR(check_size("metadata", metadata_bytes, limits::kMetadataBytes,
                                  "put larger data into the payload"));
  if (!v1::StreamPolicy_IsValid(spec.stream_policy())) {
    return field_error("stream_policy", "stream_policy " + std::to_string(spec.stream_policy()) +
                                            " is not known here: use RUN, PAUSE or CANCEL");
  }
  WEFT_RETURN_IF_ERROR(check_size("idempotency_key", spec.idempotency_key().size(),
                                  limits::kIdempotencyKeyBytes, "use a name, not data"));
  if (!printable(spec.idempotency_key())) {
    return field_error("idempotency_key",
                       "idempotency_key is not text: use UTF-8 without control characters");
  }
  WEFT_RETURN_IF_ERROR(check_durations(spec));
  WEFT_RETURN_IF_ERROR(check_times(spec, wall_ns));
  return check_retry(spec.retry());
}

}  // namespace weft
