// Reading the lines of a journal.
#include "tests/cluster/journal.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

namespace weft::testing {

std::string Journal::payload(int64_t ms) const {
  return nlohmann::json{{"file", path_}, {"ms", ms}}.dump();
}

std::map<std::string, std::vector<JobRun>> Journal::read() const {
  std::map<std::string, std::vector<JobRun>> runs;
  std::ifstream file(path_);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string what, job;
    JobRun run;
    words >> what >> job >> run.attempt >> run.pid >> run.start_us;
    std::vector<JobRun>& of_job = runs[job];
    if (what == "start") of_job.push_back(run);
    for (JobRun& begun : of_job) {
      if (what != "end" || begun.attempt != run.attempt || begun.pid != run.pid) continue;
      if (std::exchange(begun.ended, true)) continue;
      begun.end_us = run.start_us;
      break;
    }
  }
  return runs;
}

}  // namespace weft::testing
