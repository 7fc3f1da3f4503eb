// Bulk submission for the benches: jobs that do nothing, each with a key of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include <weft/base/status.h>
#include <weft/v1/job_service.grpc.pb.h>

#include "client/cli/bench/bench.h"

namespace weft::cli {

// Fills in the jobs that were asked for, as a client of the library would send them.
class KeyedSpecs {
 public:
  explicit KeyedSpecs(const BenchOptions& options);
  void fill(v1::JobSpec& spec);

 private:
  v1::JobSpec spec_;
  const std::string prefix_;  // of this run
  uint64_t count_ = 0;
};

// Submits over one stream until `fill` returns false. Returns how many jobs were accepted.
// Errors: those of the call; RESOURCE_EXHAUSTED when jobs were refused.
StatusOr<uint64_t> submit_in_bulk(v1::JobService::Stub& jobs, size_t batch,
                                  const std::function<bool(v1::SubmitStreamRequest&)>& fill);

}  // namespace weft::cli
