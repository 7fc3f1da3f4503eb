// How fast workers run a backlog of jobs that do nothing, each taken, run and settled for good.
#include <algorithm>
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
  KeyedSpecs specs(options);
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

Row row_of(std::string what, double jobs, double elapsed, const CpuTime& before,
           const CpuTime& after, const v1::Worker& worker) {
  Row row{
      std::move(what),
      {{"jobs/s", jobs / elapsed}, {"jobs per CPU-second", jobs / (after.all() - before.all())}}};
  add_cpu(row, before, after, jobs, "job");
  row.figures.emplace_back("memory MiB",
                           static_cast<double>(worker.resident_memory_bytes()) / (1 << 20));
  return row;
}

// The backlog is there before the workers are.
Status backlog(const BenchOptions& options, const std::string& store, uint64_t jobs, size_t workers,
               Report& report) {
  auto target = Target::open(options, store, {"--role", "frontend"});
  if (!target.ok()) return target.status();
  const StatusOr<uint64_t> accepted = fill_queue(options, **target, jobs);
  if (!accepted.ok()) return accepted.status();
  StatusOr<CpuTime> cpu = (*target)->cpu();
  if (!cpu.ok()) return cpu.status();
  cpu->daemons = 0;  // others come now
  auto begin = BenchClock::now();
  uint64_t done = 0;
  WEFT_RETURN_IF_ERROR((*target)->restart({}, workers));
  const StatusOr<v1::Worker> serving = (*target)->worker();
  if (!serving.ok()) return serving.status();
  // How long they take to start is left out, unless too few jobs are left to measure by.
  if (serving->jobs_succeeded() <= jobs / 2) {
    begin = BenchClock::now();
    done = serving->jobs_succeeded();
    cpu = (*target)->cpu(*serving);
    if (!cpu.ok()) return cpu.status();
  }
  const StatusOr<v1::Worker> after = wait_for_jobs(**target, 0, jobs);
  if (!after.ok()) return after.status();
  const double elapsed = seconds_since(begin);
  const StatusOr<CpuTime> cpu_after = (*target)->cpu(*after);
  if (!cpu_after.ok()) return cpu_after.status();
  const std::string by = workers == 1 ? "" : " by " + std::to_string(workers) + " workers";
  report.rows.push_back(row_of("drain a backlog of " + std::to_string(jobs) + by,
                               static_cast<double>(jobs - done), elapsed, *cpu, *cpu_after,
                               *after));
  return absl::OkStatus();
}

// Submitted in bulk and run at the same time by the same daemon.
Status live(const BenchOptions& options, const std::string& store, uint64_t jobs, Report& report) {
  auto target = Target::open(options, store, {});
  if (!target.ok()) return target.status();
  const StatusOr<v1::Worker> before = (*target)->worker();
  if (!before.ok()) return before.status();
  const StatusOr<CpuTime> cpu = (*target)->cpu(*before);
  if (!cpu.ok()) return cpu.status();
  const auto begin = BenchClock::now();
  const StatusOr<uint64_t> accepted = fill_queue(options, **target, jobs);
  if (!accepted.ok()) return accepted.status();
  const StatusOr<v1::Worker> after = wait_for_jobs(**target, before->jobs_succeeded(), jobs);
  if (!after.ok()) return after.status();
  const double elapsed = seconds_since(begin);
  const StatusOr<CpuTime> cpu_after = (*target)->cpu(*after);
  if (!cpu_after.ok()) return cpu_after.status();
  report.rows.push_back(row_of("submit in bulk and run, " + std::to_string(jobs),
                               static_cast<double>(jobs), elapsed, *cpu, *cpu_after, *after));
  return absl::OkStatus();
}

}  // namespace

Status bench_drain(const BenchOptions& options, const std::string& store, Report& report) {
  const uint64_t jobs = options.jobs > 0 ? options.jobs : kJobs;
  report.settings = {{"jobs", what_jobs(options)}, {"batch", std::to_string(options.batch)}};
  // A backlog outlives its daemon on a disk or in Redis only.
  if (options.server.empty() && store != "memory:") {
    for (size_t workers = 1;; workers = std::min(workers * 2, options.workers)) {
      WEFT_RETURN_IF_ERROR(backlog(options, store, jobs, workers, report));
      if (workers == options.workers) break;
    }
  }
  return live(options, store, jobs, report);
}

}  // namespace weft::cli
