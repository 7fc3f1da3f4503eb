// Positions and filters of a list.
#include <algorithm>
#include <charconv>

#include <weft/store/job_list.h>

namespace weft {

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

bool matches_type(const JobFilter& filter, std::string_view type) {
  return filter.type.empty() || filter.type == type;
}

}  // namespace weft
