// The bounds of a submission.
#include <string>

#include <weft/base/id.h>
#include <weft/base/limits.h>
#include <weft/store/check_spec.h>

namespace weft {
namespace {

constexpr int64_t kDaySeconds = 24 * 3600;
constexpr int32_t kNanosPerSecond = 1'000'000'000;

Status check_size(std::string_view field, size_t size, size_t limit, std::string_view advice) {
  if (size <= limit) return absl::OkStatus();
  return field_error(field, std::string(field) + " has " + std::to_string(size) +
                                " bytes, but at most " + std::to_string(limit) +
                                " are allowed: " + std::string(advice));
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
  if (spec.has_stream_grace()) {
    const auto& grace = spec.stream_grace();
    const bool in_day =
        grace.seconds() >= 0 && grace.nanos() >= 0 && grace.nanos() < kNanosPerSecond &&
        (grace.seconds() < kDaySeconds || (grace.seconds() == kDaySeconds && grace.nanos() == 0));
    if (!in_day) {
      return field_error("stream_grace",
                         "stream_grace is out of bounds: use 0 s to 86400 s (one day)");
    }
  }
  return absl::OkStatus();
}

}  // namespace weft
