// Positions and filters of a list.
#include <algorithm>
#include <charconv>

#include <weft/base/limits.h>
#include <weft/store/job_list.h>

namespace weft {
namespace {

constexpr int64_t kSecond_ns = 1'000'000'000;

}  // namespace

std::string to_position(int64_t age) { return std::to_string(age); }

StatusOr<int64_t> parse_position(const std::string& position) {
  if (position.empty()) return INT64_MAX;
  int64_t age = 0;
  const char* end = position.data() + position.size();
  const auto [parsed, error] = std::from_chars(position.data(), end, age);
  if (error != std::errc() || parsed != end || age <= 0 || to_position(age) != position) {
    return field_error("page_token",
                       "the page token is not one that this list has given: start again without");
  }
  return age;
}

bool matches_state_and_queue(const JobFilter& filter, v1::JobState state, std::string_view queue) {
  const auto& states = filter.states;
  if (!states.empty() && std::find(states.begin(), states.end(), state) == states.end()) {
    return false;
  }
  return filter.queue.empty() || filter.queue == queue;
}

size_t list_scan(const JobFilter& filter) {
  return filter.error.empty() ? limits::kListScan : limits::kListErrorScan;
}

bool matches_record(const JobFilter& filter, const v1::Job& job) {
  if (!filter.type.empty() && filter.type != job.spec().type()) return false;
  const int64_t submitted_ns = job.submit_time().seconds() * kSecond_ns + job.submit_time().nanos();
  if (submitted_ns < filter.submitted_from_ns || submitted_ns >= filter.submitted_before_ns) {
    return false;
  }
  if (!filter.idempotency_key.empty() && filter.idempotency_key != job.spec().idempotency_key()) {
    return false;
  }
  return filter.error.empty() ||
         job.outcome().error_code().find(filter.error) != std::string::npos ||
         job.outcome().error_message().find(filter.error) != std::string::npos;
}

}  // namespace weft
