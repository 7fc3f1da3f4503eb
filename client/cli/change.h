// Cancel, retry and delete: of one job, or of all that match a filter.
#pragma once

#include <functional>
#include <string>

#include <weft/v1/job_service.pb.h>

#include "client/cli/cli.h"
#include "client/cli/filter.h"

namespace weft::cli {

struct ChangeOptions {
  std::string id;
  FilterOptions filter;
  std::string reason;  // of a cancel
  bool all = false;
  bool yes = false;
  bool count = false;
};

// Adds the command with an id, the filter's options, --all, --count and --yes. `one`: what it does
// with an id.
using ChangeOne = int (*)(const Globals&, const ChangeOptions&);
CLI::App& add_change_command(CLI::App& app, const Globals& globals, Command& chosen,
                             const char* name, const char* help,
                             v1::ChangeJobsRequest::Change change,
                             std::shared_ptr<ChangeOptions> options, ChangeOne one);

}  // namespace weft::cli
