// WorkerMetrics: what a worker counts of the jobs it runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <weft/base/histogram.h>

namespace weft {

// Attempts of one job type, as this worker saw them end.
struct TypeMetrics {
  std::string type;  // "other": of all types beyond limits::kMetricTypes, and of unknown ones
  uint64_t started = 0;
  uint64_t succeeded = 0;
  uint64_t dead = 0;
  uint64_t cancelled = 0;
  uint64_t retried = 0;     // failed, and another attempt follows
  uint64_t snoozed = 0;     // put itself off
  uint64_t released = 0;    // handed back
  uint64_t lease_lost = 0;  // nothing was told, the job is another's
  size_t running = 0;       // now, parked ones included
  size_t held = 0;          // now: taken, and wait for room beside others of the type
};

// Limits: limits::kMetricTypes types and "other".
struct WorkerMetrics {
  Histogram wait;  // from when a job was due to the start of its first attempt
  Histogram run;   // from the start of an attempt to its end
  std::vector<TypeMetrics> types;
};

}  // namespace weft
