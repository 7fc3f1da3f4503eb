// getrusage and /proc.
#include "daemon/process_usage.h"

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

namespace weft {
namespace {

std::chrono::nanoseconds duration_of(const timeval& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

}  // namespace

ProcessUsage process_usage() {
  ProcessUsage usage;
  rusage system{};
  if (getrusage(RUSAGE_SELF, &system) == 0) {
    usage.cpu_time = duration_of(system.ru_utime) + duration_of(system.ru_stime);
    usage.voluntary_switches = static_cast<uint64_t>(system.ru_nvcsw);
    usage.involuntary_switches = static_cast<uint64_t>(system.ru_nivcsw);
  }
  std::ifstream statm("/proc/self/statm");  // in pages: all, resident, …
  uint64_t pages = 0;
  uint64_t resident_pages = 0;
  if (statm >> pages >> resident_pages) {
    usage.resident_bytes = resident_pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  }
  return usage;
}

}  // namespace weft
