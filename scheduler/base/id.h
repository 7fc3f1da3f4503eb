// Job ids and names: how ids are made, and which ids and names are accepted from outside.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <weft/base/random.h>
#include <weft/base/status.h>

namespace weft {

// A new job id: two shard characters ("00" until there is more than one shard), nine characters of
// time in milliseconds (so that ids sort by age and an index over them grows at its end), thirteen
// random ones. Matches [A-Za-z0-9_-]{10,64}.
std::string make_job_id(int64_t wall_ms, Random& random);
// 32 hexadecimal digits: names one sender of values among those of a job.
std::string make_incarnation(Random& random);

// OK, or INVALID_ARGUMENT naming `field`.
Status check_job_id(std::string_view field, std::string_view id);        // [A-Za-z0-9_-]{10,64}
Status check_queue_name(std::string_view field, std::string_view name);  // [a-z0-9._-]{1,64}
Status check_job_type(std::string_view field, std::string_view type);    // [A-Za-z0-9._-]{1,64}

}  // namespace weft
