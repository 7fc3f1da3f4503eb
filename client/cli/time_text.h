// Durations, times and backoffs as people write them: 10s, 2026-01-01T10:00:00Z, exp:2s,2,1h.
#pragma once

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <string>

#include <weft/base/status.h>
#include <weft/v1/job.pb.h>

namespace weft::cli {

// "250ms", "10s", "1.5h", "1h30m", "2d"; a number alone is seconds. Not negative.
// Errors, of all of them: INVALID_ARGUMENT with what would be right.
StatusOr<google::protobuf::Duration> parse_duration(const std::string& text);
// "90s", "1.5s"
std::string duration_text(const google::protobuf::Duration& duration);

// As in RFC 3339: "2026-01-01T10:00:00Z", "2026-01-01T12:00:00+02:00".
StatusOr<google::protobuf::Timestamp> parse_time(const std::string& text);
std::string time_text(const google::protobuf::Timestamp& time);

// "exp:FIRST", "exp:FIRST,FACTOR", "exp:FIRST,FACTOR,MAX", "fixed:PAUSE", "list:PAUSE,PAUSE,…";
// only the backoff of the policy is set.
Status parse_backoff(const std::string& text, v1::RetryPolicy* policy);
std::string backoff_text(const v1::RetryPolicy& policy);

}  // namespace weft::cli
