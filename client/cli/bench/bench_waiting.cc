// What jobs cost that only wait: in the queue, without a coroutine; and parked in one, asleep.
#include <optional>
#include <thread>

#include "client/cli/bench/bulk.h"
#include "client/cli/bench/pipeline.h"

namespace weft::cli {
namespace {

constexpr uint64_t kJobs = 100'000;
constexpr std::chrono::milliseconds kLookEvery(20);
constexpr double kSecondsMax = 600;
constexpr size_t kCancelsInFlight = 256;

// Submits `jobs` jobs of one type and payload; their ids are only their number and `prefix`.
StatusOr<uint64_t> submit_many(const BenchOptions& options, Target& target, uint64_t jobs,
                               const std::string& type, const std::string& payload,
                               const std::string& prefix) {
  uint64_t next = 0;
  return submit_in_bulk(target.jobs(), options.batch, [&](v1::SubmitStreamRequest& request) {
    const uint64_t end = std::min<uint64_t>(jobs, next + options.batch);
    for (uint64_t i = next; i < end; ++i) {
      v1::JobSpec& spec = *request.add_specs();
      spec.set_id(prefix + std::to_string(i));
      spec.set_type(type);
      spec.set_payload(payload);
    }
    const bool any = next < end;
    next = end;
    return any;
  });
}

template <typename Done>
StatusOr<v1::Worker> wait_until(Target& target, Done done) {
  const auto begin = BenchClock::now();
  for (;;) {
    StatusOr<v1::Worker> worker = target.worker();
    if (!worker.ok() || done(*worker)) return worker;
    if (seconds_since(begin) > kSecondsMax) {
      return make_status(StatusCode::kDeadlineExceeded,
                         "the jobs are not where they should be after 10 minutes: use fewer "
                         "--jobs");
    }
    std::this_thread::sleep_for(kLookEvery);
  }
}

double per_job(const v1::Worker& after, const v1::Worker& before, uint64_t jobs) {
  return (static_cast<double>(after.resident_memory_bytes()) -
          static_cast<double>(before.resident_memory_bytes())) /
         static_cast<double>(jobs);
}

// Jobs in the queue of a front end: nothing of them runs.
Status queued(const BenchOptions& options, const std::string& store, uint64_t jobs,
              Report& report) {
  auto target = Target::open(options, store, {"--role", "frontend"});
  if (!target.ok()) return target.status();
  const StatusOr<v1::Worker> before = (*target)->worker();
  if (!before.ok()) return before.status();
  const auto begin = BenchClock::now();
  const StatusOr<uint64_t> accepted =
      submit_many(options, **target, jobs, "echo", "x", "bench-queued-");
  if (!accepted.ok()) return accepted.status();
  const double elapsed = seconds_since(begin);
  const StatusOr<v1::Worker> after = (*target)->worker();
  if (!after.ok()) return after.status();
  report.rows.push_back(
      Row{"waiting in the queue",
          {{"bytes/job", per_job(*after, *before, jobs)}, {"s to submit", elapsed}}});
  return absl::OkStatus();
}

// Jobs that all run and sleep for an hour, without a slot; then all of them are cancelled.
Status parked(const BenchOptions& options, const std::string& store, uint64_t jobs,
              Report& report) {
  auto target = Target::open(options, store, {"--max-resident", std::to_string(jobs + 1000)});
  if (!target.ok()) return target.status();
  const StatusOr<v1::Worker> before = (*target)->worker();
  if (!before.ok()) return before.status();
  const auto begin = BenchClock::now();
  const StatusOr<uint64_t> accepted =
      submit_many(options, **target, jobs, "sleep", R"({"ms":3600000})", "bench-parked-");
  if (!accepted.ok()) return accepted.status();
  const StatusOr<v1::Worker> asleep = wait_until(**target, [&](const v1::Worker& w) {
    return w.resident_jobs() >= jobs && w.slots_used() == 0;
  });
  if (!asleep.ok()) return asleep.status();
  const double started = seconds_since(begin);
  const auto cancelling = BenchClock::now();
  uint64_t next = 0;
  Pipeline<v1::CancelRequest, v1::CancelResponse> cancels(
      [&](auto* context, const auto& request, auto* queue) {
        return (*target)->jobs().PrepareAsyncCancel(context, request, queue);
      },
      [&]() -> std::optional<v1::CancelRequest> {
        if (next == jobs) return std::nullopt;
        v1::CancelRequest request;
        request.set_id("bench-parked-" + std::to_string(next++));
        return request;
      });
  WEFT_RETURN_IF_ERROR(cancels.run(kCancelsInFlight));
  const StatusOr<v1::Worker> gone =
      wait_until(**target, [&](const v1::Worker& w) { return w.jobs_cancelled() >= jobs; });
  if (!gone.ok()) return gone.status();
  report.rows.push_back(Row{"parked in a coroutine (sleep)",
                            {{"bytes/job", per_job(*asleep, *before, jobs)},
                             {"s to submit and start", started},
                             {"s to cancel one by one", seconds_since(cancelling)}}});
  return absl::OkStatus();
}

}  // namespace

Status bench_waiting(const BenchOptions& options, const std::string& store, Report& report) {
  const uint64_t jobs = options.jobs > 0 ? options.jobs : kJobs;
  report.settings = {{"jobs", std::to_string(jobs)},
                     {"bytes", "growth of the daemon's resident memory"}};
  WEFT_RETURN_IF_ERROR(queued(options, store, jobs, report));
  return parked(options, store, jobs, report);
}

}  // namespace weft::cli
