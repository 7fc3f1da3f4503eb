// weft bench: measures what a client gets of a weftd, from the outside.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <weft/base/status.h>
#include <weft/v1/job_service.grpc.pb.h>
#include <weft/v1/worker_service.grpc.pb.h>

#include "client/cli/bench/own_daemon.h"

namespace weft::cli {

struct BenchOptions {
  std::vector<std::string> stores;  // one daemon is started for each
  std::string server;               // not empty: a running daemon is measured instead
  uint64_t jobs = 0;                // 0: what suits the bench
  double seconds = 3;               // of a row that has no number of jobs
  size_t in_flight = 64;
  size_t batch = 100;
  size_t payload_bytes = 100;
  uint64_t chunks = 1'000'000;
  size_t chunk_bytes = 100;
};

// One measured line: what was done, and figures with their units.
struct Row {
  std::string what;
  std::vector<std::pair<std::string, double>> figures;  // name with unit: "jobs/s", "p50 us"
};

// One bench on one store.
struct Report {
  std::string bench;
  std::vector<std::pair<std::string, std::string>> settings;
  std::vector<Row> rows;
};

using BenchClock = std::chrono::steady_clock;
inline double seconds_since(BenchClock::time_point begin) {
  return std::chrono::duration<double>(BenchClock::now() - begin).count();
}
// CPU seconds of this process.
double own_cpu_seconds();
// The value at `fraction` of the sorted values.
double percentile(std::vector<double>& values, double fraction);

// A daemon under measurement: its own, or one that runs already. Thread: one.
class Target {
 public:
  // Errors: UNAVAILABLE when no daemon answers or starts.
  static StatusOr<std::unique_ptr<Target>> open(const BenchOptions& options,
                                                const std::string& store,
                                                std::vector<std::string> daemon_options);
  // Stops an own daemon and starts it again on the same store.
  Status restart(std::vector<std::string> daemon_options);

  v1::JobService::Stub& jobs() { return *jobs_; }
  bool is_own() const { return own_ != nullptr; }
  // What the daemon says of itself.
  StatusOr<v1::Worker> worker();
  // CPU seconds of the daemon, all its threads.
  StatusOr<double> cpu_seconds();

 private:
  explicit Target(std::unique_ptr<OwnDaemon> own) : own_(std::move(own)) {}
  Status connect(const std::string& address);

  std::unique_ptr<OwnDaemon> own_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::WorkerService::Stub> workers_;
};

// Each measures one store and adds its rows. Errors: the first call that failed.
Status bench_submit(const BenchOptions& options, const std::string& store, Report& report);
Status bench_drain(const BenchOptions& options, const std::string& store, Report& report);
Status bench_latency(const BenchOptions& options, const std::string& store, Report& report);
Status bench_stream(const BenchOptions& options, const std::string& store, Report& report);
Status bench_waiting(const BenchOptions& options, const std::string& store, Report& report);

}  // namespace weft::cli
