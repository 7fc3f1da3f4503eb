// What a client of a real weftd gets: calls a second, one stream's chunks a second, and the time
// from submit to result. rpc_bench [--store URL]… [--server HOST:PORT] [--seconds N] [--chunks N]
// With --server it measures that daemon, else it starts one for each store.
#include <grpc/health/v1/health.grpc.pb.h>
#include <grpcpp/grpcpp.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include <weft/v1/job_service.grpc.pb.h>

#include "tests/support/daemon.h"

namespace weft::testing {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// CPU seconds: of this process, and of the daemon if it is ours.
class Cpu {
 public:
  explicit Cpu(pid_t daemon) : daemon_(daemon), client_(own()), server_(of(daemon)) {}
  std::string per(double operations) const {
    char text[128];
    if (daemon_ <= 0) {
      std::snprintf(text, sizeof(text), "client CPU %.1f us/op",
                    (own() - client_) * 1e6 / operations);
    } else {
      std::snprintf(text, sizeof(text), "daemon CPU %.2f us/op, client CPU %.2f us/op",
                    (of(daemon_) - server_) * 1e6 / operations,
                    (own() - client_) * 1e6 / operations);
    }
    return text;
  }

 private:
  static double own() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }
  static double of(pid_t pid) {
    if (pid <= 0) return 0;
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    std::istringstream fields(text.substr(text.rfind(')') + 2));
    std::string skipped;
    for (int i = 0; i < 11; ++i) fields >> skipped;
    double user = 0;
    double system = 0;
    fields >> user >> system;
    return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
  }
  pid_t daemon_;
  double client_;
  double server_;
};

struct Settings {
  std::string address;
  pid_t daemon = -1;
  double seconds = 3;
  uint64_t chunks = 900'000;
};

// Keeps `outstanding` calls of one kind in flight on one connection.
template <typename Request, typename Response>
void bench_unary(const Settings& settings, const char* name, int outstanding,
                 std::function<std::unique_ptr<grpc::ClientAsyncResponseReader<Response>>(
                     grpc::ClientContext*, const Request&, grpc::CompletionQueue*)>
                     prepare,
                 const Request& request) {
  struct Pending {
    std::optional<grpc::ClientContext> context;
    Response response;
    grpc::Status status;
    std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader;
  };
  grpc::CompletionQueue queue;
  std::vector<std::unique_ptr<Pending>> calls;
  const auto start = [&](Pending& call) {
    call.context.emplace();
    call.reader = prepare(&*call.context, request, &queue);
    call.reader->StartCall();
    call.reader->Finish(&call.response, &call.status, &call);
  };
  const Cpu cpu(settings.daemon);
  const auto begin = Clock::now();
  for (int i = 0; i < outstanding; ++i) {
    calls.push_back(std::make_unique<Pending>());
    start(*calls.back());
  }
  uint64_t done = 0;
  uint64_t failed = 0;
  int running = outstanding;
  void* tag = nullptr;
  bool ok = false;
  double elapsed = 0;
  while (running > 0 && queue.Next(&tag, &ok)) {
    auto& call = *static_cast<Pending*>(tag);
    ++(call.status.ok() ? done : failed);
    elapsed = seconds_since(begin);
    if (elapsed < settings.seconds) {
      start(call);
    } else {
      --running;
    }
  }
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  std::printf("  %-28s %3d outstanding: %9.0f /s   %s", name, outstanding,
              static_cast<double>(done) / elapsed, cpu.per(static_cast<double>(done)).c_str());
  if (failed > 0) std::printf("   and %lu FAILED", failed);
  std::printf("\n");
}

std::string submit(v1::JobService::Stub& stub, const std::string& type,
                   const std::string& payload) {
  grpc::ClientContext context;
  v1::SubmitRequest request;
  request.mutable_spec()->set_type(type);
  request.mutable_spec()->set_payload(payload);
  v1::SubmitResponse response;
  const grpc::Status status = stub.Submit(&context, request, &response);
  if (!status.ok()) {
    std::fprintf(stderr, "rpc_bench: %s\n", status.error_message().c_str());
    std::exit(1);
  }
  return response.id();
}

// Reads one job's stream to its end, live.
template <typename Reader>
void read_stream(const Settings& settings, const char* name, Reader& reader) {
  const Cpu cpu(settings.daemon);
  const auto begin = Clock::now();
  uint64_t chunks = 0;
  uint64_t messages = 0;
  v1::Event event;
  while (reader.Read(&event)) {
    ++messages;
    chunks += static_cast<uint64_t>(event.chunks().data_size());
    if (event.has_finished()) break;
  }
  const double elapsed = seconds_since(begin);
  std::printf("  %-28s %9.0f chunks/s (%lu chunks in %lu messages)   %s\n", name,
              static_cast<double>(chunks) / elapsed, chunks, messages,
              cpu.per(static_cast<double>(chunks)).c_str());
}

void bench_streams(const Settings& settings, v1::JobService::Stub& stub) {
  const std::string payload = R"({"to":)" + std::to_string(settings.chunks) + "}";
  {
    grpc::ClientContext context;
    v1::WatchRequest request;
    request.set_id(submit(stub, "count", payload));
    auto reader = stub.Watch(&context, request);
    read_stream(settings, "count over Watch", *reader);
    reader->Finish();
  }
  {
    grpc::ClientContext context;
    v1::AttachRequest request;
    request.mutable_open()->set_id(submit(stub, "count", payload));
    request.mutable_open()->set_credit(settings.chunks + 1);
    auto stream = stub.Attach(&context);
    stream->Write(request);
    read_stream(settings, "count over Attach", *stream);
    stream->WritesDone();
    stream->Finish();
  }
}

void bench_latency(const Settings& settings, v1::JobService::Stub& stub) {
  constexpr int kJobs = 2000;
  std::vector<double> micros;
  const Cpu cpu(settings.daemon);
  for (int i = 0; i < kJobs; ++i) {
    const auto begin = Clock::now();
    grpc::ClientContext context;
    v1::WatchRequest request;
    request.set_id(submit(stub, "echo", "x"));
    auto reader = stub.Watch(&context, request);
    v1::Event event;
    while (reader->Read(&event) && !event.has_finished()) {
    }
    micros.push_back(seconds_since(begin) * 1e6);
    reader->Finish();
  }
  std::sort(micros.begin(), micros.end());
  std::printf("  %-28s p50 %.0f us, p99 %.0f us (%d jobs, one at a time)   %s\n",
              "submit to result (echo)", micros[kJobs / 2], micros[kJobs * 99 / 100], kJobs,
              cpu.per(kJobs).c_str());
}

void bench(const Settings& settings) {
  auto channel = grpc::CreateChannel(settings.address, grpc::InsecureChannelCredentials());
  auto jobs = v1::JobService::NewStub(channel);
  auto health = grpc::health::v1::Health::NewStub(channel);
  bench_latency(settings, *jobs);
  bench_streams(settings, *jobs);
  for (const int outstanding : {1, 64}) {
    bench_unary<grpc::health::v1::HealthCheckRequest, grpc::health::v1::HealthCheckResponse>(
        settings, "unary no-op (health check)", outstanding,
        [&](auto* context, const auto& request, auto* queue) {
          return health->PrepareAsyncCheck(context, request, queue);
        },
        {});
  }
  v1::SubmitRequest request;
  request.mutable_spec()->set_type("echo");
  request.mutable_spec()->set_payload("x");
  for (const int outstanding : {1, 64}) {
    bench_unary<v1::SubmitRequest, v1::SubmitResponse>(
        settings, "unary Submit (echo, runs too)", outstanding,
        [&](auto* context, const auto& asked, auto* queue) {
          return jobs->PrepareAsyncSubmit(context, asked, queue);
        },
        request);
  }
}

int run(std::vector<std::string> arguments) {
  Settings settings;
  std::vector<std::string> stores;
  for (size_t i = 0; i < arguments.size(); i += 2) {
    const std::string& name = arguments[i];
    const bool known =
        name == "--store" || name == "--server" || name == "--seconds" || name == "--chunks";
    if (!known || i + 1 == arguments.size()) {
      std::fprintf(stderr,
                   "rpc_bench: %s '%s'; the options are [--store URL]... "
                   "[--server HOST:PORT] [--seconds N] [--chunks N]\n",
                   known ? "no value for" : "unknown argument", name.c_str());
      return 2;
    }
    const std::string& value = arguments[i + 1];
    if (name == "--store") stores.push_back(value);
    if (name == "--server") settings.address = value;
    if (name == "--seconds") settings.seconds = std::stod(value);
    if (name == "--chunks") settings.chunks = std::stoull(value);
  }
  std::printf("one client thread, one connection over loopback, %ld cores shared, no pinning\n",
              sysconf(_SC_NPROCESSORS_ONLN));
  if (!settings.address.empty()) {
    std::printf("daemon at %s\n", settings.address.c_str());
    bench(settings);
    return 0;
  }
  TempDir folder;
  if (stores.empty()) stores = {"memory:", "sqlite:" + folder.file("weft.db")};
  for (const std::string& store : stores) {
    Daemon daemon({.store = store, .arguments = {"--log-level", "warn"}});
    if (daemon.address().empty()) return 1;
    settings.address = daemon.address();
    settings.daemon = daemon.process().pid();
    std::printf("weftd --store %s%s\n", store.c_str(),
                store.starts_with("sqlite:") ? " (WAL, synchronous FULL, group commit)" : "");
    bench(settings);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace weft::testing

int main(int argc, char** argv) {
  return weft::testing::run(std::vector<std::string>(argv + 1, argv + argc));
}
