// How fast a daemon takes jobs: one a call, a batch a call, and in bulk over one stream. The daemon
// is a front end that runs none of them, so that only the submission is measured.
#include <optional>
#include <thread>
#include <utility>

#include "client/cli/bench/bulk.h"
#include "client/cli/bench/pipeline.h"

namespace weft::cli {
namespace {

constexpr uint64_t kQueueRoom = 950'000;  // a queue takes a million

// Runs `body`, which returns how many jobs it submitted, against a fresh daemon.
template <typename Body>
Status measure(const BenchOptions& options, const std::string& store, const std::string& what,
               Report& report, Body body) {
  auto target = Target::open(options, store, {"--role", "frontend"});
  if (!target.ok()) return target.status();
  const StatusOr<CpuTime> cpu = (*target)->cpu();
  if (!cpu.ok()) return cpu.status();
  const double client_cpu = own_cpu_seconds();
  const auto begin = BenchClock::now();
  Row row{what, {}};
  const StatusOr<uint64_t> jobs = body(**target, row);
  if (!jobs.ok()) return jobs.status();
  const double elapsed = seconds_since(begin);
  const double client_after = own_cpu_seconds();
  const StatusOr<CpuTime> cpu_after = (*target)->cpu();
  if (!cpu_after.ok()) return cpu_after.status();
  const auto count = static_cast<double>(*jobs);
  row.figures.insert(row.figures.begin(), {"jobs/s", count / elapsed});
  add_cpu(row, *cpu, *cpu_after, count, "job");
  row.figures.emplace_back("client CPU us/job", (client_after - client_cpu) * 1e6 / count);
  report.rows.push_back(std::move(row));
  return absl::OkStatus();
}

// True until the time is up, or the jobs or the queue's room are used up.
class Budget {
 public:
  explicit Budget(const BenchOptions& options) : options_(options) {}
  bool take(uint64_t jobs) {
    const uint64_t most = options_.jobs > 0 ? options_.jobs : kQueueRoom;
    if (taken_ >= most) return false;
    if (options_.jobs == 0 && seconds_since(begin_) >= options_.seconds) return false;
    taken_ += jobs;
    return true;
  }

 private:
  const BenchOptions& options_;
  const BenchClock::time_point begin_ = BenchClock::now();
  uint64_t taken_ = 0;
};

Status one_a_call(const BenchOptions& options, const std::string& store, size_t in_flight,
                  Report& report) {
  auto body = [&](Target& target, Row& row) -> StatusOr<uint64_t> {
    Budget budget(options);
    KeyedSpecs specs(options);
    Pipeline<v1::SubmitRequest, v1::SubmitResponse> calls(
        [&](auto* context, const auto& request, auto* queue) {
          return target.jobs().PrepareAsyncSubmit(context, request, queue);
        },
        [&]() -> std::optional<v1::SubmitRequest> {
          if (!budget.take(1)) return std::nullopt;
          v1::SubmitRequest request;
          specs.fill(*request.mutable_spec());
          return request;
        });
    WEFT_RETURN_IF_ERROR(calls.run(in_flight));
    row.figures.emplace_back("p50 us", percentile(calls.micros(), 0.5));
    row.figures.emplace_back("p99 us", percentile(calls.micros(), 0.99));
    return calls.done();
  };
  return measure(options, store, "Submit, " + std::to_string(in_flight) + " in flight", report,
                 body);
}

Status a_batch_a_call(const BenchOptions& options, const std::string& store, Report& report) {
  constexpr size_t kBatchesInFlight = 8;
  auto body = [&](Target& target, Row&) -> StatusOr<uint64_t> {
    Budget budget(options);
    KeyedSpecs specs(options);
    Pipeline<v1::SubmitBatchRequest, v1::SubmitBatchResponse> calls(
        [&](auto* context, const auto& request, auto* queue) {
          return target.jobs().PrepareAsyncSubmitBatch(context, request, queue);
        },
        [&]() -> std::optional<v1::SubmitBatchRequest> {
          if (!budget.take(options.batch)) return std::nullopt;
          v1::SubmitBatchRequest request;
          for (size_t i = 0; i < options.batch; ++i) specs.fill(*request.add_specs());
          return request;
        });
    uint64_t refused = 0;
    calls.responses = [&](const v1::SubmitBatchResponse& response) {
      for (const v1::SubmitAnswer& answer : response.answers()) refused += answer.has_refused();
    };
    WEFT_RETURN_IF_ERROR(calls.run(kBatchesInFlight));
    if (refused > 0) {
      return make_status(StatusCode::kResourceExhausted,
                         std::to_string(refused) + " jobs were refused: use fewer --jobs");
    }
    return calls.done() * options.batch;
  };
  return measure(options, store,
                 "SubmitBatch of " + std::to_string(options.batch) + ", " +
                     std::to_string(kBatchesInFlight) + " in flight",
                 report, body);
}

Status in_bulk(const BenchOptions& options, const std::string& store, Report& report) {
  auto body = [&](Target& target, Row&) -> StatusOr<uint64_t> {
    Budget budget(options);
    KeyedSpecs specs(options);
    return submit_in_bulk(target.jobs(), options.batch, [&](v1::SubmitStreamRequest& request) {
      if (!budget.take(options.batch)) return false;
      for (size_t i = 0; i < options.batch; ++i) specs.fill(*request.add_specs());
      return true;
    });
  };
  return measure(options, store, "SubmitStream, " + std::to_string(options.batch) + " a message",
                 report, body);
}

}  // namespace

Status bench_submit(const BenchOptions& options, const std::string& store, Report& report) {
  report.settings = {{"jobs", what_jobs(options)}, {"idempotency key", "each job its own"}};
  WEFT_RETURN_IF_ERROR(one_a_call(options, store, 1, report));
  WEFT_RETURN_IF_ERROR(one_a_call(options, store, options.in_flight, report));
  WEFT_RETURN_IF_ERROR(a_batch_a_call(options, store, report));
  return in_bulk(options, store, report);
}

}  // namespace weft::cli
