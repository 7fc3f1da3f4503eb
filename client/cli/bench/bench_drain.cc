// How fast one worker runs a backlog of jobs that do nothing, each taken, run and settled for good.
#include <thread>
#include <utility>

#include "client/cli/bench/bulk.h"
#include "client/cli/bench/pipeline.h"

namespace weft::cli {
namespace {

constexpr uint64_t kJobs = 300'000;
constexpr std::chrono::milliseconds kLookEvery(10);
constexpr double kSecondsMax = 600;

StatusOr<uint64_t> fill_queue(const BenchOptions& options, Target& target, uint64_t jobs) {
  KeyedSpecs specs(options.payload_bytes);
  uint64_t left = jobs;
  return submit_in_bulk(target.jobs(), options.batch, [&](v1::SubmitStreamRequest& request) {
    const uint64_t now = std::min<uint64_t>(left, options.batch);
    for (uint64_t i = 0; i < now; ++i) specs.fill(*request.add_specs());
    left -= now;
    return now > 0;
  });
}

// Waits until `jobs` more than `before` have succeeded.
StatusOr<v1::Worker> wait_for_jobs(Target& target, uint64_t before, uint64_t jobs) {
  const auto begin = BenchClock::now();
  for (;;) {
    StatusOr<v1::Worker> worker = target.worker();
    if (!worker.ok() || worker->jobs_succeeded() - before >= jobs) return worker;
    if (seconds_since(begin) > kSecondsMax) {
      return make_status(StatusCode::kDeadlineExceeded,
                         "only " + std::to_string(worker->jobs_succeeded() - before) +
                             " jobs have ended after 10 minutes: use fewer --jobs");
    }
    std::this_thread::sleep_for(kLookEvery);
  }
}

double cpu_seconds(const v1::Worker& worker) {
  return static_cast<double>(worker.cpu_time().seconds()) +
         static_cast<double>(worker.cpu_time().nanos()) * 1e-9;
}

Row row_of(std::string what, uint64_t jobs, double elapsed, double cpu, const v1::Worker& worker) {
  const auto count = static_cast<double>(jobs);
  return Row{std::move(what),
             {{"jobs/s", count / elapsed},
              {"jobs per CPU-second", count / cpu},
              {"daemon CPU us/job", cpu * 1e6 / count},
              {"memory MiB", static_cast<double>(worker.resident_memory_bytes()) / (1 << 20)}}};
}

// The backlog is there before the worker starts; CPU is all that the new process used.
Status backlog(const BenchOptions& options, const std::string& store, uint64_t jobs,
               Report& report) {
  auto target = Target::open(options, store, {"--role", "frontend"});
  if (!target.ok()) return target.status();
  const StatusOr<uint64_t> accepted = fill_queue(options, **target, jobs);
  if (!accepted.ok()) return accepted.status();
  WEFT_RETURN_IF_ERROR((*target)->restart({}));
  const auto begin = BenchClock::now();
  const StatusOr<v1::Worker> worker = wait_for_jobs(**target, 0, jobs);
  if (!worker.ok()) return worker.status();
  report.rows.push_back(row_of("drain a backlog of " + std::to_string(jobs), jobs,
                               seconds_since(begin), cpu_seconds(*worker), *worker));
  return absl::OkStatus();
}

// Submitted in bulk and run at the same time by the same daemon.
Status live(const BenchOptions& options, const std::string& store, uint64_t jobs, Report& report) {
  auto target = Target::open(options, store, {});
  if (!target.ok()) return target.status();
  const StatusOr<v1::Worker> before = (*target)->worker();
  if (!before.ok()) return before.status();
  const auto begin = BenchClock::now();
  const StatusOr<uint64_t> accepted = fill_queue(options, **target, jobs);
  if (!accepted.ok()) return accepted.status();
  const StatusOr<v1::Worker> worker = wait_for_jobs(**target, before->jobs_succeeded(), jobs);
  if (!worker.ok()) return worker.status();
  report.rows.push_back(row_of("submit in bulk and run, " + std::to_string(jobs), jobs,
                               seconds_since(begin), cpu_seconds(*worker) - cpu_seconds(*before),
                               *worker));
  return absl::OkStatus();
}

}  // namespace

Status bench_drain(const BenchOptions& options, const std::string& store, Report& report) {
  const uint64_t jobs = options.jobs > 0 ? options.jobs : kJobs;
  report.settings = {{"jobs", "echo, " + std::to_string(options.payload_bytes) + " bytes"},
                     {"batch", std::to_string(options.batch)}};
  // A backlog outlives its daemon on a disk only.
  if (options.server.empty() && store != "memory:") {
    WEFT_RETURN_IF_ERROR(backlog(options, store, jobs, report));
  }
  return live(options, store, jobs, report);
}

}  // namespace weft::cli
