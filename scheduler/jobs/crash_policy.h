// What the death of a worker process means for the jobs that it ran.
#pragma once

#include <cstdint>

#include <weft/base/limits.h>

namespace weft {

// It may be the one that kills its worker: it runs beside no other suspect.
inline bool is_suspect(uint32_t crashes) { return crashes >= limits::kSuspectCrashes; }

// The crashes of a job after one more death of its worker. When a suspect ran there, the death
// counts against suspects alone, so that one bad job does not take its neighbours with it.
inline uint32_t count_crash(uint32_t crashes, bool suspect_ran) {
  return suspect_ran && !is_suspect(crashes) ? crashes : crashes + 1;
}

// It is not run again.
inline bool is_crash_dead(uint32_t crashes) { return crashes >= limits::kDeadCrashes; }

}  // namespace weft
