// What every bench asks of its daemon.
#include <grpcpp/grpcpp.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>

#include "client/cli/bench/bench.h"

namespace weft::cli {
namespace {

constexpr std::chrono::seconds kConnectTime(10);
constexpr int kNanosPerSecond = 1'000'000'000;

Status status_of(const grpc::Status& status) {
  return make_status(static_cast<StatusCode>(status.error_code()), status.error_message());
}

}  // namespace

double own_cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double percentile(std::vector<double>& values, double fraction) {
  if (values.empty()) return 0;
  const auto at = values.begin() +
                  static_cast<std::ptrdiff_t>(fraction * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

std::string what_jobs(const BenchOptions& options) {
  std::string text = options.type + " with " +
                     std::to_string(std::max(options.payload.size(), options.payload_bytes)) +
                     " bytes";
  if (!options.retention_s) return text;
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%g", *options.retention_s);
  return text + ", kept " + seconds + " s";
}

void add_cpu(Row& row, const CpuTime& before, const CpuTime& after, double count,
             const std::string& unit) {
  const auto add = [&](const std::string& who, double seconds) {
    row.figures.emplace_back(who + " CPU us/" + unit, seconds * 1e6 / count);
  };
  add("daemon", after.daemons - before.daemons);
  if (after.redis) add("redis", *after.redis - before.redis.value_or(0));
}

StatusOr<std::unique_ptr<Target>> Target::open(const BenchOptions& options,
                                               const std::string& store,
                                               const std::vector<std::string>& daemon_options) {
  auto target = std::unique_ptr<Target>(new Target(options.daemon_cpu));
  if (options.server.empty()) {
    auto made = OwnStore::make(store);
    if (!made.ok()) return made.status();
    target->store_ = *std::move(made);
    WEFT_RETURN_IF_ERROR(target->restart(daemon_options, 1));
  } else {
    WEFT_RETURN_IF_ERROR(connect(target->daemons_.emplace_back(), options.server));
  }
  return target;
}

Status Target::restart(const std::vector<std::string>& daemon_options, size_t count) {
  daemons_.clear();
  for (size_t i = 0; i < count; ++i) {
    auto process = OwnDaemon::spawn(*store_, daemon_options, daemon_cpu_);
    if (!process.ok()) return process.status();
    daemons_.emplace_back().process = *std::move(process);
  }
  for (Daemon& daemon : daemons_) {
    WEFT_RETURN_IF_ERROR(daemon.process->wait_ready());
    WEFT_RETURN_IF_ERROR(connect(daemon, daemon.process->address()));
  }
  return absl::OkStatus();
}

Status Target::connect(Daemon& daemon, const std::string& address) {
  auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + kConnectTime)) {
    return make_status(StatusCode::kUnavailable,
                       "no weftd answers at " + address + ": start it, or correct --server");
  }
  daemon.jobs = v1::JobService::NewStub(channel);
  daemon.workers = v1::WorkerService::NewStub(channel);
  return absl::OkStatus();
}

StatusOr<v1::Worker> Target::ask(Daemon& daemon) {
  grpc::ClientContext context;
  v1::ListWorkersResponse response;
  const grpc::Status status = daemon.workers->List(&context, {}, &response);
  if (!status.ok()) return status_of(status);
  // Where daemons share a store, each tells of all.
  if (daemon.process != nullptr) {
    for (const v1::Worker& worker : response.workers()) {
      if (worker.name() == daemon.process->worker()) return worker;
    }
  } else if (response.workers_size() == 1) {
    return response.workers(0);
  }
  return make_status(StatusCode::kFailedPrecondition,
                     "a bench needs a store with one worker, and this one has " +
                         std::to_string(response.workers_size()));
}

StatusOr<v1::Worker> Target::worker() {
  StatusOr<v1::Worker> sum = ask(daemons_.front());
  for (size_t i = 1; sum.ok() && i < daemons_.size(); ++i) {
    const StatusOr<v1::Worker> other = ask(daemons_[i]);
    if (!other.ok()) return other;
    sum->set_jobs_succeeded(sum->jobs_succeeded() + other->jobs_succeeded());
    sum->set_resident_memory_bytes(sum->resident_memory_bytes() + other->resident_memory_bytes());
    google::protobuf::Duration& cpu = *sum->mutable_cpu_time();
    const int nanos = cpu.nanos() + other->cpu_time().nanos();
    cpu.set_seconds(cpu.seconds() + other->cpu_time().seconds() + nanos / kNanosPerSecond);
    cpu.set_nanos(nanos % kNanosPerSecond);
  }
  return sum;
}

StatusOr<CpuTime> Target::cpu() {
  const StatusOr<v1::Worker> told = worker();
  if (!told.ok()) return told.status();
  return cpu(*told);
}

StatusOr<CpuTime> Target::cpu(const v1::Worker& worker) {
  CpuTime time;
  time.daemons = static_cast<double>(worker.cpu_time().seconds()) +
                 static_cast<double>(worker.cpu_time().nanos()) * 1e-9;
  if (store_ != nullptr && store_->redis() != nullptr) {
    const StatusOr<double> redis = store_->redis()->cpu_seconds();
    if (!redis.ok()) return redis.status();
    time.redis = *redis;
  }
  return time;
}

}  // namespace weft::cli
