// ProcessUsage: what this process has cost so far.
#pragma once

#include <chrono>
#include <cstdint>

namespace weft {

struct ProcessUsage {
  std::chrono::nanoseconds cpu_time{0};  // user and system, all threads
  uint64_t resident_bytes = 0;
  uint64_t voluntary_switches = 0;  // of context: it waited
  uint64_t involuntary_switches = 0;
};

// Thread: any. What the system does not say is 0.
ProcessUsage process_usage();

}  // namespace weft
