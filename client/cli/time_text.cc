// What people write, and back.
#include "client/cli/time_text.h"

#include <google/protobuf/util/time_util.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

namespace weft::cli {
namespace {

using google::protobuf::Duration;
using google::protobuf::Timestamp;
using google::protobuf::util::TimeUtil;

constexpr double kSecondsMax = 1e9;  // over thirty years

constexpr std::pair<std::string_view, double> kUnits[] = {
    {"ms", 0.001}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86'400}};

Status not_a_duration(const std::string& text) {
  return make_status(StatusCode::kInvalidArgument,
                     "'" + text +
                         "' is not a duration: write it as in 250ms, 10s, 1.5h, 1h30m or 2d; a "
                         "number alone is seconds");
}

Status not_a_backoff(const std::string& text) {
  return make_status(StatusCode::kInvalidArgument,
                     "'" + text +
                         "' is not a backoff: write it as in exp:2s,2,1h (first, factor, longest), "
                         "fixed:5s or list:1s,10s,1m");
}

// Digits with at most one point; moves `at` behind it.
bool read_number(const std::string& text, size_t* at, double* number) {
  const size_t end = text.find_first_not_of("0123456789.", *at);
  const std::string digits = text.substr(*at, end == std::string::npos ? end : end - *at);
  char* rest = nullptr;
  *number = std::strtod(digits.c_str(), &rest);
  if (digits.empty() || digits == "." || *rest != '\0') return false;
  *at += digits.size();
  return true;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t comma; (comma = text.find(',', begin)) != std::string::npos; begin = comma + 1) {
    parts.push_back(text.substr(begin, comma - begin));
  }
  parts.push_back(text.substr(begin));
  return parts;
}

Status parse_exponential(const std::vector<std::string>& parts, const std::string& text,
                         v1::RetryPolicy::Exponential* backoff) {
  if (parts.size() > 3) return not_a_backoff(text);
  const StatusOr<Duration> first = parse_duration(parts[0]);
  WEFT_RETURN_IF_ERROR(first.status());
  *backoff->mutable_first() = *first;
  if (parts.size() > 1) {
    size_t at = 0;
    double factor = 0;
    if (!read_number(parts[1], &at, &factor) || at != parts[1].size()) return not_a_backoff(text);
    backoff->set_factor(factor);
  }
  if (parts.size() > 2) {
    const StatusOr<Duration> max = parse_duration(parts[2]);
    WEFT_RETURN_IF_ERROR(max.status());
    *backoff->mutable_max() = *max;
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<Duration> parse_duration(const std::string& text) {
  double seconds = 0;
  size_t at = 0;
  do {
    double number = 0;
    if (!read_number(text, &at, &number)) return not_a_duration(text);
    const size_t end = text.find_first_of("0123456789.", at);
    const std::string unit = text.substr(at, end == std::string::npos ? end : end - at);
    double unit_seconds = 0;
    for (const auto& [name, length] : kUnits) {
      if (unit == name) unit_seconds = length;
    }
    if (unit.empty() && at == text.size() && seconds == 0) unit_seconds = 1;
    if (unit_seconds == 0) return not_a_duration(text);
    seconds += number * unit_seconds;
    at += unit.size();
  } while (at < text.size());
  if (!(seconds <= kSecondsMax)) return not_a_duration(text);
  return TimeUtil::NanosecondsToDuration(std::llround(seconds * 1e9));
}

std::string duration_text(const Duration& duration) { return TimeUtil::ToString(duration); }

StatusOr<Timestamp> parse_time(const std::string& text) {
  Timestamp time;
  if (TimeUtil::FromString(text, &time)) return time;
  return make_status(StatusCode::kInvalidArgument,
                     "'" + text +
                         "' is not a time: write it as in 2026-01-01T10:00:00Z or "
                         "2026-01-01T12:00:00+02:00");
}

std::string time_text(const Timestamp& time) { return TimeUtil::ToString(time); }

Status parse_backoff(const std::string& text, v1::RetryPolicy* policy) {
  const size_t colon = text.find(':');
  if (colon == std::string::npos) return not_a_backoff(text);
  const std::string kind = text.substr(0, colon);
  const std::vector<std::string> parts = split(text.substr(colon + 1));
  if (kind == "exp") return parse_exponential(parts, text, policy->mutable_exponential());
  if (kind != "fixed" && kind != "list") return not_a_backoff(text);
  if (kind == "fixed" && parts.size() != 1) return not_a_backoff(text);
  for (const std::string& part : parts) {
    const StatusOr<Duration> pause = parse_duration(part);
    WEFT_RETURN_IF_ERROR(pause.status());
    *(kind == "fixed" ? policy->mutable_fixed() : policy->mutable_listed()->add_pauses()) = *pause;
  }
  return absl::OkStatus();
}

std::string backoff_text(const v1::RetryPolicy& policy) {
  switch (policy.backoff_case()) {
    case v1::RetryPolicy::kExponential: {
      const auto& exponential = policy.exponential();
      char factor[32];
      std::snprintf(factor, sizeof factor, "%g",
                    exponential.factor() == 0 ? 2 : exponential.factor());
      return "exp:" + duration_text(exponential.first()) + "," + factor +
             (exponential.has_max() ? "," + duration_text(exponential.max()) : "");
    }
    case v1::RetryPolicy::kFixed:
      return "fixed:" + duration_text(policy.fixed());
    case v1::RetryPolicy::kListed: {
      std::string text;
      for (const auto& pause : policy.listed().pauses()) {
        text += (text.empty() ? "list:" : ",") + duration_text(pause);
      }
      return text;
    }
    case v1::RetryPolicy::BACKOFF_NOT_SET:
      break;
  }
  return "";
}

}  // namespace weft::cli
