// What every bench asks of its daemon.
#include <grpcpp/grpcpp.h>
#include <sys/resource.h>

#include <algorithm>

#include "client/cli/bench/bench.h"

namespace weft::cli {
namespace {

constexpr std::chrono::seconds kConnectTime(10);

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

StatusOr<std::unique_ptr<Target>> Target::open(const BenchOptions& options,
                                               const std::string& store,
                                               std::vector<std::string> daemon_options) {
  std::unique_ptr<OwnDaemon> own;
  if (options.server.empty()) {
    auto started = OwnDaemon::start(store, std::move(daemon_options));
    if (!started.ok()) return started.status();
    own = *std::move(started);
  }
  auto target = std::unique_ptr<Target>(new Target(std::move(own)));
  WEFT_RETURN_IF_ERROR(target->connect(target->own_ ? target->own_->address() : options.server));
  return target;
}

Status Target::restart(std::vector<std::string> daemon_options) {
  WEFT_RETURN_IF_ERROR(own_->restart(std::move(daemon_options)));
  return connect(own_->address());
}

Status Target::connect(const std::string& address) {
  auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + kConnectTime)) {
    return make_status(StatusCode::kUnavailable,
                       "no weftd answers at " + address + ": start it, or correct --server");
  }
  jobs_ = v1::JobService::NewStub(channel);
  workers_ = v1::WorkerService::NewStub(channel);
  return absl::OkStatus();
}

StatusOr<v1::Worker> Target::worker() {
  grpc::ClientContext context;
  v1::ListWorkersResponse response;
  const grpc::Status status = workers_->List(&context, {}, &response);
  if (!status.ok()) return status_of(status);
  if (response.workers_size() != 1) {
    return make_status(StatusCode::kFailedPrecondition,
                       "a bench needs a store with one worker, and this one has " +
                           std::to_string(response.workers_size()));
  }
  return response.workers(0);
}

StatusOr<double> Target::cpu_seconds() {
  const StatusOr<v1::Worker> told = worker();
  if (!told.ok()) return told.status();
  return static_cast<double>(told->cpu_time().seconds()) +
         static_cast<double>(told->cpu_time().nanos()) * 1e-9;
}

}  // namespace weft::cli
