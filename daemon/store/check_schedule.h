// What a schedule must look like before a store sees it, and what its ticks and jobs are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <weft/base/status.h>
#include <weft/jobs/schedule_policy.h>
#include <weft/v1/schedule_service.pb.h>

namespace weft {

// Of a job's payload: many schedules are read at once.
inline constexpr size_t kSchedulePayloadBytes = 64 << 10;

// OK, or INVALID_ARGUMENT naming `field`. [A-Za-z0-9._-]{1,128}
Status check_schedule_name(std::string_view field, std::string_view name);

// Fills in defaults, clears what the server tells, and refuses what is out of bounds:
// INVALID_ARGUMENT that names the field and says what is allowed. `wall_ns` is now.
Status check_schedule(v1::Schedule& schedule, int64_t wall_ns);

// Whether a client asks for the same thing by both. REQUIRES: check_schedule() has passed them.
bool same_schedule(const v1::Schedule& a, const v1::Schedule& b);

// Errors: INVALID_ARGUMENT, also for a zone that only other machines know.
StatusOr<Timetable> timetable_of(const v1::Schedule& schedule);

// The job of the tick that is pending: the same one whoever asks and however often.
v1::JobSpec pending_job(const v1::Schedule& schedule);

// Whether a job came from the schedule of this name.
bool is_job_of(const v1::JobSpec& job, const std::string& schedule_name);

}  // namespace weft
