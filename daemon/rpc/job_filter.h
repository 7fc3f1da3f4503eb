// A filter of jobs, from the wire to the store.
#pragma once

#include <weft/base/status.h>
#include <weft/store/job_admin.h>
#include <weft/v1/job_service.pb.h>

namespace weft {

// Errors: INVALID_ARGUMENT that names the field of `filter`. Thread: any.
StatusOr<JobFilter> read_filter(const v1::JobFilter& filter);

}  // namespace weft
