// From the submission of a job to its result at the client, one job at a time on an idle daemon.
#include <grpcpp/grpcpp.h>

#include <utility>

#include "client/cli/bench/bench.h"
#include "client/cli/bench/bulk.h"

namespace weft::cli {
namespace {

constexpr uint64_t kJobs = 2000;
constexpr uint64_t kWarmUp = 50;

Status status_of(const grpc::Status& status) {
  return make_status(static_cast<StatusCode>(status.error_code()), status.error_message());
}

// Submits, and reads the job's stream to its end.
Status one_job(v1::JobService::Stub& jobs, KeyedSpecs& specs) {
  grpc::ClientContext submitting;
  v1::SubmitRequest request;
  specs.fill(*request.mutable_spec());
  v1::SubmitResponse response;
  const grpc::Status submitted = jobs.Submit(&submitting, request, &response);
  if (!submitted.ok()) return status_of(submitted);
  grpc::ClientContext watching;
  v1::WatchRequest watch;
  watch.set_id(response.id());
  auto reader = jobs.Watch(&watching, watch);
  v1::Event event;
  while (reader->Read(&event)) {
  }
  return status_of(reader->Finish());
}

}  // namespace

Status bench_latency(const BenchOptions& options, const std::string& store, Report& report) {
  auto target = Target::open(options, store, {});
  if (!target.ok()) return target.status();
  const uint64_t count = options.jobs > 0 ? options.jobs : kJobs;
  KeyedSpecs specs(options);
  for (uint64_t i = 0; i < kWarmUp; ++i) {
    WEFT_RETURN_IF_ERROR(one_job((*target)->jobs(), specs));
  }
  const StatusOr<CpuTime> cpu = (*target)->cpu();
  if (!cpu.ok()) return cpu.status();
  std::vector<double> micros;
  for (uint64_t i = 0; i < count; ++i) {
    const auto begin = BenchClock::now();
    WEFT_RETURN_IF_ERROR(one_job((*target)->jobs(), specs));
    micros.push_back(seconds_since(begin) * 1e6);
  }
  const StatusOr<CpuTime> cpu_after = (*target)->cpu();
  if (!cpu_after.ok()) return cpu_after.status();
  report.settings = {
      {"jobs", std::to_string(count) + " of " + what_jobs(options) + ", one at a time"},
      {"way", "Submit, then Watch to its end"}};
  Row row{"submit to result",
          {{"p50 us", percentile(micros, 0.5)}, {"p99 us", percentile(micros, 0.99)}}};
  add_cpu(row, *cpu, *cpu_after, static_cast<double>(count), "job");
  report.rows.push_back(std::move(row));
  return absl::OkStatus();
}

}  // namespace weft::cli
