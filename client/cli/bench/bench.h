// weft bench: measures what a client gets of a weftd, from the outside.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
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
  std::string type = "echo";
  std::string payload;                // what a job's payload begins with
  size_t payload_bytes = 100;         // it is filled up to this size
  std::optional<double> retention_s;  // of each job; nothing: the daemon's default
  size_t workers = 1;                 // processes that drain one store
  std::optional<int> daemon_cpu;      // the only one the daemons may use
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
// The jobs that were asked for, in words.
std::string what_jobs(const BenchOptions& options);

// CPU seconds used so far.
struct CpuTime {
  double daemons = 0;           // all their threads
  std::optional<double> redis;  // the server under them, when there is one
  double all() const { return daemons + redis.value_or(0); }
};
// Adds what one of `count` things of the name `unit` took between two looks.
void add_cpu(Row& row, const CpuTime& before, const CpuTime& after, double count,
             const std::string& unit);

// What is under measurement: own daemons on a store, or one daemon that runs already. Thread: one.
class Target {
 public:
  // With one daemon. Errors: UNAVAILABLE when no daemon answers or starts; those of OwnStore.
  static StatusOr<std::unique_ptr<Target>> open(const BenchOptions& options,
                                                const std::string& store,
                                                const std::vector<std::string>& daemon_options);
  // Ends the own daemons and starts `count` on the same store.
  Status restart(const std::vector<std::string>& daemon_options, size_t count);

  v1::JobService::Stub& jobs() { return *daemons_.front().jobs; }
  bool is_own() const { return store_ != nullptr; }
  // What the daemons say of themselves; numbers of several are added up.
  StatusOr<v1::Worker> worker();
  StatusOr<CpuTime> cpu();
  // The same, of a moment at which the daemons have been asked already.
  StatusOr<CpuTime> cpu(const v1::Worker& worker);

 private:
  struct Daemon {
    std::unique_ptr<OwnDaemon> process;  // nullptr: it is not ours
    std::unique_ptr<v1::JobService::Stub> jobs;
    std::unique_ptr<v1::WorkerService::Stub> workers;
  };

  explicit Target(std::optional<int> daemon_cpu) : daemon_cpu_(daemon_cpu) {}
  static Status connect(Daemon& daemon, const std::string& address);
  static StatusOr<v1::Worker> ask(Daemon& daemon);

  const std::optional<int> daemon_cpu_;
  std::unique_ptr<OwnStore> store_;  // ends after its daemons
  std::vector<Daemon> daemons_;
};

// Each measures one store and adds its rows. Errors: the first call that failed.
Status bench_submit(const BenchOptions& options, const std::string& store, Report& report);
Status bench_drain(const BenchOptions& options, const std::string& store, Report& report);
Status bench_latency(const BenchOptions& options, const std::string& store, Report& report);
Status bench_stream(const BenchOptions& options, const std::string& store, Report& report);
Status bench_waiting(const BenchOptions& options, const std::string& store, Report& report);

}  // namespace weft::cli
