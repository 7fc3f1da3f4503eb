// What the pages of a list have in common in every store.
#pragma once

#include <cstdint>
#include <string>

#include <weft/base/status.h>
#include <weft/store/job_admin.h>

namespace weft {

// A position is the age of the last job looked at: the page goes on with older ones.
std::string to_position(int64_t age);
// INT64_MAX for the empty position. Errors: INVALID_ARGUMENT.
StatusOr<int64_t> parse_position(const std::string& position);

// How many records one page looks at.
size_t list_scan(const JobFilter& filter);

// What can be said before a job's record is read, and the rest.
bool matches_state_and_queue(const JobFilter& filter, v1::JobState state, std::string_view queue);
bool matches_record(const JobFilter& filter, const v1::Job& job);

}  // namespace weft
