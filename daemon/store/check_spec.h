// check_spec: what a submission must look like before a store sees it.
#pragma once

#include <cstdint>

#include <weft/base/status.h>
#include <weft/v1/job.pb.h>

namespace weft {

// Fills in defaults (queue "default") and refuses what is out of bounds: INVALID_ARGUMENT that
// names the field and says what is allowed. An empty id stays empty: the store makes one. `wall_ns`
// is now: times too far ahead, or that leave the job no moment to start in, are refused by it.
Status check_spec(v1::JobSpec& spec, int64_t wall_ns);

}  // namespace weft
