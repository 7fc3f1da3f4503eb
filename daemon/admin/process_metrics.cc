// From /proc and getrusage to metrics.
#include "daemon/admin/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include <weft/base/clock.h>

namespace weft {
namespace {

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

double resident_bytes() {
  std::ifstream file("/proc/self/statm");
  double total = 0;
  double resident = 0;
  file >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

// Of this directory's entries, three are ".", ".." and the descriptor that reads it.
double count_descriptors() {
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return 0;
  double count = 0;
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count - 3;
}

// Thousands of entries take milliseconds, so a count that cost much is kept for a while.
double open_descriptors() {
  constexpr double kCheap = 256;
  static double count = 0;
  static int64_t fresh_until_ns = 0;
  const int64_t now_ns = RealClock::instance().monotonic_ns();
  if (count > kCheap && now_ns < fresh_until_ns) return count;
  count = count_descriptors();
  fresh_until_ns = now_ns + 1'000'000'000;
  return count;
}

// Seconds since the epoch: the time of boot plus field 22 of stat, the second after a name that
// may hold blanks and brackets.
double read_start_time() {
  std::ifstream stat("/proc/self/stat");
  std::string text;
  std::getline(stat, text);
  std::istringstream fields(text.substr(text.rfind(')') + 1));
  std::string skipped;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  double ticks = 0;
  fields >> ticks;
  std::ifstream boot("/proc/stat");
  for (std::string line; std::getline(boot, line);) {
    if (line.starts_with("btime ")) {
      return std::stod(line.substr(6)) + ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
    }
  }
  return 0;
}

}  // namespace

void add_process_metrics(MetricFamilies& families) {
  static const double start_time = read_start_time();
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  rlimit descriptors{};
  getrlimit(RLIMIT_NOFILE, &descriptors);
  families.counter("process_cpu_seconds_total", "CPU time of user and system.",
                   seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
  families.gauge("process_resident_memory_bytes", "Memory that is in RAM.", resident_bytes());
  families.gauge("process_open_fds", "Open file descriptors.", open_descriptors());
  families.gauge("process_max_fds", "File descriptors that may be open.",
                 static_cast<double>(descriptors.rlim_cur));
  families.gauge("process_start_time_seconds", "Start of the process, since the Unix epoch.",
                 start_time);
  const std::string name = "process_context_switches_total";
  const std::string help = "Times a thread gave up the CPU by waiting, or had to.";
  families.counter(name, help, static_cast<double>(usage.ru_nvcsw), {{"kind", "voluntary"}});
  families.counter(name, help, static_cast<double>(usage.ru_nivcsw), {{"kind", "involuntary"}});
}

}  // namespace weft
