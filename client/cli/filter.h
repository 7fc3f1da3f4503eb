// The options that say which jobs: of list, and of cancel, retry and delete.
#pragma once

#include <string>
#include <vector>

#include <weft/v1/job_service.pb.h>

#include "client/cli/cli.h"

namespace weft::cli {

struct FilterOptions {
  std::vector<std::string> states;
  std::string queue;
  std::string type;
  std::string since;
  std::string until;
  std::string key;
  std::string error;

  // Nothing is asked for: all jobs match.
  bool empty() const;
  // As it was parsed: nothing in it can be wrong any more.
  v1::JobFilter filter() const;
};

void add_filter_options(CLI::App& command, FilterOptions& options);

}  // namespace weft::cli
