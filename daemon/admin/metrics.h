// Metrics: the numbers of all parts of weftd, read when somebody asks.
#pragma once

#include <prometheus/collectable.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <weft/runtime/executor.h>
#include <weft/store/store.h>
#include <weft/stream/stream_hub.h>
#include <weft/worker/keeper.h>
#include <weft/worker/schedule_runner.h>
#include <weft/worker/worker_engine.h>

#include "daemon/admin/http_server.h"
#include "daemon/admin/metric_families.h"

namespace weft {

// How many calls of one method ended with one code.
struct FinishedCallMetrics {
  std::string method;  // "weft.v1.JobService/Submit"
  std::string code;    // "OK"
  uint64_t count = 0;
};

// What the gRPC server has counted.
struct CallMetrics {
  size_t connections = 0;
  size_t connections_limit = 0;
  uint64_t connections_refused = 0;
  size_t calls = 0;  // in flight
  size_t calls_limit = 0;
  uint64_t calls_arrived = 0;
  uint64_t calls_refused = 0;
  size_t held_bytes = 0;
  size_t held_bytes_limit = 0;
  std::vector<FinishedCallMetrics> finished;
};

// Where the numbers come from. Lifetime: what is pointed to outlives the metrics; a function may
// answer with nothing counted while its part has not started.
struct MetricSources {
  std::string version;
  const Store* store = nullptr;
  const StreamHub* hub = nullptr;
  const Executor* executor = nullptr;
  const Keeper* keeper = nullptr;
  const ScheduleRunner* schedules = nullptr;
  const WorkerEngine* worker = nullptr;  // null: this process runs no jobs
  size_t slots = 0;                      // 0 without a worker
  size_t resident_jobs = 0;              // the bound
  std::function<CallMetrics()> calls;
  std::function<HttpServerStats()> admin;
  std::function<uint64_t()> log_lines_dropped;
};

// Nothing is counted for it on the way of a job: it reads the stats of the parts. Thread: the
// loop's; a scrape is one turn.
class Metrics final : public prometheus::Collectable {
 public:
  explicit Metrics(MetricSources sources) : sources_(std::move(sources)) {}
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  void add_jobs(MetricFamilies& families) const;
  void add_worker(MetricFamilies& families) const;
  void add_executor(MetricFamilies& families) const;
  void add_loop(MetricFamilies& families) const;
  void add_streams(MetricFamilies& families) const;
  void add_store(MetricFamilies& families) const;
  void add_schedules(MetricFamilies& families) const;
  void add_shared_store(MetricFamilies& families, const StoreStats& stats) const;
  void add_calls(MetricFamilies& families) const;
  void add_admin(MetricFamilies& families) const;

  const MetricSources sources_;
};

}  // namespace weft
