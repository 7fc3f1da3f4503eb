// Journal: what jobs of the type `noted` wrote while they ran. It is a file outside of the product,
// so that it can be held against what the product says.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/support/daemon.h"

namespace weft::testing {

// One run of a job: an attempt in a process.
struct JobRun {
  uint64_t attempt = 0;
  pid_t pid = 0;
  int64_t start_us = 0;  // wall clock
  bool ended = false;    // came to its end, whatever became of that…
  int64_t end_us = 0;    // …then
};

class Journal {
 public:
  const std::string& path() const { return path_; }
  // The payload of a job that notes its runs here and takes `ms`.
  std::string payload(int64_t ms) const;
  // By job, in the order they began.
  std::map<std::string, std::vector<JobRun>> read() const;

 private:
  const TempDir dir_;
  const std::string path_ = dir_.file("journal");
};

}  // namespace weft::testing
