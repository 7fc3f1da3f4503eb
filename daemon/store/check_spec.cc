// The bounds of a submission.
#include <algorithm>
#include <string>

#include <weft/base/id.h>
#include <weft/base/limits.h>
#include <weft/base/utf8.h>
#include <weft/store/check_spec.h>

namespace weft {
namespace {

constexpr int64_t kDaySeconds = 24 * 3600;
constexpr int64_t kDays = limits::kDurationSecondsMax / kDaySeconds;
constexpr int32_t kNanosPerSecond = 1'000'000'000;

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
    const auto& timeout = spec.attempt_timeout();
    const bool zero = timeout.seconds() == 0 && timeout.nanos() == 0;
    if (zero || !in_bounds(timeout, limits::kDurationSecondsMax)) {
      return field_error("attempt_timeout",
                         "attempt_timeout is out of bounds: use more than 0 s and up to " +
                             up_to_days() + ", or leave it out for no limit");
    }
  }
  return absl::OkStatus();
}

}  // namespace

Status check_spec(v1::JobSpec& spec) {
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
  return check_durations(spec);
}

}  // namespace weft
