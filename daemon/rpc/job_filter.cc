// What a filter may ask for.
#include "daemon/rpc/job_filter.h"

#include <algorithm>
#include <string>

#include <weft/base/id.h>
#include <weft/base/limits.h>
#include <weft/base/utf8.h>

namespace weft {
namespace {

constexpr int64_t kSecond_ns = 1'000'000'000;
constexpr int64_t kSecondsMax = 9'000'000'000;  // the year 2255, which nanoseconds still hold

StatusOr<int64_t> read_time(const char* field, const google::protobuf::Timestamp& time) {
  if (time.seconds() < 0 || time.seconds() > kSecondsMax || time.nanos() < 0 ||
      time.nanos() >= kSecond_ns) {
    return field_error(field, std::string(field) + " is no time from 1970 to 2255");
  }
  return time.seconds() * kSecond_ns + time.nanos();
}

Status check_text(const char* field, const std::string& text, size_t limit) {
  const bool control = std::any_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
  if (text.size() <= limit && !control) return absl::OkStatus();
  return field_error(field, std::string(field) + " has to be text of at most " +
                                std::to_string(limit) + " bytes without control characters");
}

}  // namespace

StatusOr<JobFilter> read_filter(const v1::JobFilter& asked) {
  JobFilter filter;
  for (int i = 0; i < asked.states_size(); ++i) {
    const v1::JobState state = asked.states(i);
    if (!v1::JobState_IsValid(state) || state == v1::JOB_STATE_UNSPECIFIED) {
      return field_error(
          "filter.states[" + std::to_string(i) + "]",
          "state " + std::to_string(state) +
              " is not known here: name states of weft.v1.JobState, or none for any");
    }
    if (std::find(filter.states.begin(), filter.states.end(), state) == filter.states.end()) {
      filter.states.push_back(state);
    }
  }
  if (!asked.queue().empty()) {
    WEFT_RETURN_IF_ERROR(check_queue_name("filter.queue", asked.queue()));
    filter.queue = asked.queue();
  }
  if (!asked.type().empty()) {
    WEFT_RETURN_IF_ERROR(check_job_type("filter.type", asked.type()));
    filter.type = asked.type();
  }
  if (asked.has_submitted_from()) {
    const auto from = read_time("filter.submitted_from", asked.submitted_from());
    if (!from.ok()) return from.status();
    filter.submitted_from_ns = *from;
  }
  if (asked.has_submitted_before()) {
    const auto before = read_time("filter.submitted_before", asked.submitted_before());
    if (!before.ok()) return before.status();
    filter.submitted_before_ns = *before;
  }
  if (filter.submitted_from_ns >= filter.submitted_before_ns) {
    return field_error("filter.submitted_before",
                       "filter.submitted_before is not later than filter.submitted_from, so no job "
                       "matches: swap them, or leave one out");
  }
  WEFT_RETURN_IF_ERROR(
      check_text("filter.idempotency_key", asked.idempotency_key(), limits::kIdempotencyKeyBytes));
  filter.idempotency_key = asked.idempotency_key();
  WEFT_RETURN_IF_ERROR(check_text("filter.error", asked.error(), limits::kErrorFilterBytes));
  filter.error = asked.error();
  return filter;
}

}  // namespace weft
