// Start order, shutdown order, and what signals do.
#include "daemon/daemon.h"

#include <arpa/inet.h>
#include <google/protobuf/util/time_util.h>
#include <netinet/in.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <weft/base/limits.h>
#include <weft/base/random.h>
#include <weft/runtime/event.h>
#include <weft/runtime/executor.h>
#include <weft/runtime/signals.h>
#include <weft/runtime/sleep.h>
#include <weft/runtime/task_dump.h>
#include <weft/runtime/task_group.h>
#include <weft/store/redis/redis_server.h>
#include <weft/store/store.h>
#include <weft/stream/stream_hub.h>
#include <weft/worker/janitor.h>
#include <weft/worker/keeper.h>
#include <weft/worker/schedule_runner.h>
#include <weft/worker/worker_engine.h>

#include "daemon/admin/http_server.h"
#include "daemon/admin/metrics.h"
#include "daemon/admin/pages.h"
#include "daemon/handlers/handlers.h"
#include "daemon/logging.h"
#include "daemon/process_usage.h"
#include "daemon/rpc/job_service.h"
#include "daemon/rpc/schedule_service.h"
#include "daemon/rpc/server.h"
#include "daemon/rpc/worker_service.h"
#include "daemon/service_manager.h"

namespace weft {
namespace {

using google::protobuf::util::TimeUtil;

// For a person at a terminal, who reads the end of it.
constexpr size_t kLastDumpBytes = 64 << 10;

constexpr int64_t kLookAtStoreMs = 2;
constexpr int64_t kRenewalsPerLease = 3;
constexpr int64_t kHeldLeases = 2;  // that the keeper gives a held loop

// The signals weftd hears.
struct SignalSets {
  SignalSet stop{SIGTERM, SIGINT};
  SignalSet dump{SIGUSR2};
};

// A connection takes two descriptors, and the usual limit of 1024 was made for select(). Returns
// the limit there was, for commands that may use it.
std::optional<uint64_t> allow_many_descriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::nullopt;
  const uint64_t before = std::exchange(limit.rlim_cur, limit.rlim_max);
  setrlimit(RLIMIT_NOFILE, &limit);
  return before;
}

// A failure at start: one sentence for the person who started us.
int refuse_to_start(const Status& status) {
  write_last_words("weftd: " + std::string(from_absl(status.message())) + "\n");
  return 1;
}

std::string host_name() {
  char host[256] = "localhost";
  gethostname(host, sizeof(host) - 1);
  return host;
}

Incarnation make_worker_incarnation() {
  const auto [high, low] = system_random_bits();
  return {high, low};
}

// What is fixed for one start of this process.
struct Identity {
  std::string host = host_name();
  std::string worker = host + "-" + std::to_string(getpid());
  Incarnation incarnation = make_worker_incarnation();
};

// The store's URL for people: without user and password.
std::string store_text(const std::string& url) {
  if (!is_shared_store(url)) return url;
  const StatusOr<RedisServer> server = parse_redis_url(url);
  return server.ok() ? to_text(*server) : std::string("redis");
}

// The address that an inherited socket is bound to; `configured` when `fd` is -1: there is none.
std::string address_of(int fd, const std::string& configured) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  if (fd < 0 || getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) < 0) {
    return configured;
  }
  const void* bytes = &reinterpret_cast<const sockaddr_in*>(&address)->sin_addr;
  if (address.ss_family == AF_INET6) {
    bytes = &reinterpret_cast<const sockaddr_in6*>(&address)->sin6_addr;
  }
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(address.ss_family, bytes, text, sizeof(text));
  return text;
}

std::string host_and_port(const std::string& address, uint16_t port) {
  const bool v6 = address.find(':') != std::string::npos;
  return (v6 ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

// Shows people what every task does, each time somebody asks.
Task<void> dump_at_signal(SignalSet* signals) {
  for (;;) {
    co_await signals->next();
    spdlog::warn("SIGUSR2: all tasks:\n{}", dump_tasks(*EventLoop::current(), limits::kDumpBytes));
  }
}

// Ends the process at once when jobs or calls do not end although they were cancelled: the store
// keeps the jobs, and the next start runs them again.
Task<void> give_up_after(std::chrono::milliseconds limit, std::string what) {
  co_await sleep_for(limit);
  write_last_words("weftd: " + what + " did not end in time; still there:\n" +
                   dump_tasks(*EventLoop::current(), kLastDumpBytes));
  _exit(1);
}

// Awaits `work`, which has so much time.
Task<void> within(std::chrono::milliseconds limit, std::string what, Task<void> work) {
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(&give_up_after, limit, what).set_name("gives " + what + " up");
    co_await std::move(work);
    group.cancel(CancelReason::kShutdown);
  };
  co_await with_group(body);
}

Task<void> exit_at_next_signal(SignalSet* signals) {
  const int number = co_await signals->next();
  write_last_words(
      "weftd: second signal: ending at once; running jobs run again after the next start\n");
  _exit(128 + number);
}

// The parts in the order they are made; members are destroyed in the reverse one.
class Daemon {
 public:
  Daemon(const Config& config, const AddHandlers& add_handlers, const InheritedSockets& sockets,
         int64_t watchdog_ms, std::optional<uint64_t> exec_descriptors, SignalSets& signals,
         const Identity& identity, std::unique_ptr<Store> store)
      : config_(config),
        exec_descriptors_(exec_descriptors),
        sockets_(sockets),
        signals_(signals),
        identity_(identity),
        store_(std::move(store)),
        keeper_(*EventLoop::current(), keeper_options(watchdog_ms)),
        executor_({.threads = config.executor_threads}),
        hub_(*store_),
        worker_(*store_, hub_, executor_, all_handlers(add_handlers), worker_options()),
        service_(*store_, hub_, config.run_jobs && !store_->shared() ? &registry_ : nullptr,
                 Random::from_system()),
        worker_service_(
            [this] { return describe(); },
            [](size_t max_bytes) { return dump_tasks(*EventLoop::current(), max_bytes); },
            store_.get()) {
    store_->set_description([this] { return describe(); });
  }

  Task<int> run();

 private:
  const Registry& all_handlers(const AddHandlers& add_handlers) {
    register_stock_handlers(registry_, {.allow_roots = config_.allow_roots,
                                        .allow_hosts = config_.allow_hosts,
                                        .allow_exec = config_.allow_exec,
                                        .allow_exec_env = config_.allow_exec_env,
                                        .exec_descriptors = exec_descriptors_,
                                        .exec_concurrency = config_.exec_concurrency});
    add_handlers(registry_);
    return registry_;
  }
  WorkerOptions worker_options() {
    return {.name = identity_.worker,
            .incarnation = identity_.incarnation,
            .concurrency = config_.concurrency,
            .max_resident = config_.max_resident};
  }
  KeeperOptions keeper_options(int64_t watchdog_ms);
  MetricSources metric_sources();
  bool open_admin();
  Task<void> run_parts();
  Task<void> run_users_of_store();
  v1::Worker describe() const;
  Task<void> await_store();
  Task<void> serve(TaskGroup& group);
  Task<void> run_worker();
  Task<void> end_jobs();
  Task<void> end_calls();

  const Config& config_;
  const std::optional<uint64_t> exec_descriptors_;  // soft limit, before we raised it
  const InheritedSockets sockets_;
  SignalSets& signals_;
  const Identity& identity_;
  const std::string store_text_ = store_text(config_.store);
  const google::protobuf::Timestamp start_time_ = TimeUtil::GetCurrentTime();
  std::unique_ptr<Store> store_;  // open and recovered: everything else stands on it
  const Keeper keeper_;           // watches over all that follows
  Executor executor_;             // handlers offload to it: made before, joined after them
  StreamHub hub_;                 // producers and readers point to it
  Registry registry_;             // complete before a worker or a client asks for a type
  WorkerEngine worker_;  // the store's listener, also when it runs nothing: before the first verb
  Janitor janitor_{*store_};
  ScheduleRunner schedules_{*store_};
  JobService service_;
  ScheduleService schedule_service_{
      *store_, schedules_, [this](const std::string& type) { return service_.check_type(type); }};
  WorkerService worker_service_;
  std::unique_ptr<RpcServer> server_;  // the first call finds all of the above
  Metrics metrics_{metric_sources()};
  std::string not_ready_ = "starting";  // empty: takes jobs
  std::unique_ptr<HttpServer> admin_;   // last: its pages tell of all of the above
  Event worker_ended_;
  int exit_code_ = 0;
};

KeeperOptions Daemon::keeper_options(int64_t watchdog_ms) {
  KeeperOptions options;
  options.stall_ms = config_.stall_ms;
  options.watchdog_ms = watchdog_ms;
  options.feed_watchdog = [] { notify_service_manager("WATCHDOG=1"); };
  if (!store_->shared()) return options;
  options.lease = [store = store_.get()](bool renew) { return store->look_at_lease(renew); };
  options.give_up_lease = [store = store_.get()] { store->give_up_lease(); };
  options.renew_ms = config_.lease_ms / kRenewalsPerLease;
  // Who asked for dead workers to be found soon means hung ones too.
  options.renew_limit_ms = std::min(options.renew_limit_ms, kHeldLeases * config_.lease_ms);
  return options;
}

MetricSources Daemon::metric_sources() {
  MetricSources sources;
  sources.version = WEFT_VERSION;
  sources.store = store_.get();
  sources.hub = &hub_;
  sources.executor = &executor_;
  sources.keeper = &keeper_;
  sources.schedules = &schedules_;
  if (config_.run_jobs) {
    sources.worker = &worker_;
    sources.slots = config_.concurrency;
  }
  sources.resident_jobs = config_.max_resident;
  sources.calls = [this] {
    const RpcServerStats stats = server_ == nullptr ? RpcServerStats() : server_->stats();
    std::vector<FinishedCallMetrics> finished;
    for (const FinishedCalls& calls : stats.finished) {
      const auto code = static_cast<StatusCode>(calls.code);
      finished.push_back({calls.method, absl::StatusCodeToString(code), calls.count});
    }
    return CallMetrics{.connections = stats.connections,
                       .connections_limit = limits::kConnections,
                       .connections_refused = stats.connections_refused,
                       .calls = stats.calls,
                       .calls_limit = limits::kCalls,
                       .calls_arrived = stats.calls_arrived,
                       .calls_refused = stats.calls_refused,
                       .held_bytes = stats.held_bytes,
                       .held_bytes_limit = limits::kRequestBytes,
                       .finished = std::move(finished)};
  };
  sources.admin = [this] { return admin_->stats(); };
  sources.log_lines_dropped = &log_lines_dropped;
  return sources;
}

bool Daemon::open_admin() {
  auto not_ready = [this] {
    return not_ready_.empty() ? store_not_ready(store_->stats()) : not_ready_;
  };
  HttpServerOptions options;
  options.address = config_.admin_address;
  options.port = config_.admin_port;
  options.listening_fd = sockets_.admin;
  auto admin = HttpServer::open(std::move(options), admin_pages(metrics_, not_ready));
  if (!admin.ok()) {
    exit_code_ = refuse_to_start(admin.status());
    return false;
  }
  admin_ = *std::move(admin);
  return true;
}

// The admin pages are there first and gone last: they tell of a start and of an end that hang.
Task<int> Daemon::run() {
  auto body = [this](TaskGroup& group) -> Task<void> {
    set_task_name("weftd");
    group.start(&dump_at_signal, &signals_.dump).set_name("dumps at SIGUSR2");
    if (open_admin()) {
      group.start([this] { return admin_->run(); }).set_name("admin");
      co_await run_parts();
    }
    group.cancel(CancelReason::kShutdown);
  };
  co_await with_group(body);
  co_return exit_code_;
}

v1::Worker Daemon::describe() const {
  v1::Worker worker;
  worker.set_name(identity_.worker);
  worker.set_host(identity_.host);
  worker.set_role(!config_.run_jobs ? "frontend" : !config_.accept_jobs ? "worker" : "all");
  const Incarnation own = worker_.incarnation();  // another one once a lease was lost
  char incarnation[33];
  std::snprintf(incarnation, sizeof(incarnation), "%016" PRIx64 "%016" PRIx64, own.high, own.low);
  worker.set_incarnation(incarnation);
  worker.set_version(WEFT_VERSION);
  *worker.mutable_start_time() = start_time_;
  worker.set_store(store_text_);
  const StoreStats stored = store_->stats();
  worker.set_jobs_queued(stored.queued_jobs);
  if (config_.run_jobs) {
    for (const std::string& type : registry_.types()) worker.add_types(type);
    worker.set_slots(config_.concurrency);
  }
  const WorkerStats ran = worker_.stats();
  worker.set_slots_used(ran.slots_used);
  worker.set_resident_jobs(ran.resident);
  worker.set_stuck_jobs(ran.stuck);
  worker.set_jobs_taken(ran.taken);
  worker.set_jobs_succeeded(ran.succeeded);
  worker.set_jobs_dead(ran.dead);
  worker.set_jobs_cancelled(ran.cancelled);
  worker.set_executor_threads(executor_.threads());
  const ProcessUsage usage = process_usage();
  *worker.mutable_cpu_time() = TimeUtil::NanosecondsToDuration(usage.cpu_time.count());
  worker.set_resident_memory_bytes(usage.resident_bytes);
  worker.set_voluntary_context_switches(usage.voluntary_switches);
  worker.set_involuntary_context_switches(usage.involuntary_switches);
  return worker;
}

// The groups nest as the parts need each other: calls end before the worker is gone, both before
// the hub stops, and a shared store keeps its connection and lease until all of that is over.
Task<void> Daemon::run_parts() {
  auto with_store = [this](TaskGroup& store_group) -> Task<void> {
    store_group.start([this] { return store_->run(); }).set_name("store");
    co_await run_users_of_store();
    co_await store_->close();  // commits what is left and frees the file for the next daemon
    store_group.cancel(CancelReason::kShutdown);
  };
  co_await with_group(with_store);
}

Task<void> Daemon::run_users_of_store() {
  auto with_hub = [this](TaskGroup& hub_group) -> Task<void> {
    hub_group.start([this] { return hub_.run(); }).set_name("stream hub");
    auto with_calls = [this](TaskGroup& group) -> Task<void> { co_await serve(group); };
    co_await with_group(with_calls);
    hub_group.cancel(CancelReason::kShutdown);  // the last producer is gone
  };
  co_await with_group(with_hub);
}

Task<void> Daemon::run_worker() {
  co_await worker_.run();
  worker_ended_.set();
}

// The connection to a shared store is made as the parts start. Nothing is refused for want of it to
// who has waited for the ready line; should it not come, calls and /readyz say why.
Task<void> Daemon::await_store() {
  for (int64_t ms = 0; ms < limits::kRedisConnectMs; ms += kLookAtStoreMs) {
    if (store_->stats().health.ok()) co_return;
    co_await sleep_for(std::chrono::milliseconds(kLookAtStoreMs));
  }
}

Task<void> Daemon::serve(TaskGroup& group) {
  if (store_->shared()) co_await await_store();
  RpcServerOptions options;
  options.address = config_.listen_address;
  options.port = config_.listen_port;
  options.listening_fd = sockets_.grpc;
  const std::string grpc_host = address_of(sockets_.grpc, config_.listen_address);
  const std::string admin_host = address_of(sockets_.admin, config_.admin_address);
  std::vector<RpcService*> services = {&worker_service_};
  if (config_.accept_jobs) {
    services.push_back(&service_);
    services.push_back(&schedule_service_);
  }
  auto server = RpcServer::start(std::move(options), std::move(services), group);
  if (!server.ok()) {
    exit_code_ = refuse_to_start(server.status());
    co_return;
  }
  server_ = *std::move(server);
  if (config_.run_jobs) {
    group.start([this] { return run_worker(); }).set_name("worker");  // jobs left start now
  }
  group.start([this] { return janitor_.run(); }).set_name("janitor");
  group.start([this] { return worker_.watch_stuck(); }).set_name("stuck jobs");
  group.start([this] { return worker_.promote(); }).set_name("promoter");  // a front end's too
  group.start([this] { return schedules_.run(); }).set_name("schedules");
  not_ready_.clear();
  const std::string grpc_address = host_and_port(grpc_host, server_->port());
  std::printf("weftd ready grpc=%s admin=%s store=%s worker=%s\n", grpc_address.c_str(),
              host_and_port(admin_host, admin_->port()).c_str(), store_text_.c_str(),
              identity_.worker.c_str());
  std::fflush(stdout);
  notify_service_manager("READY=1\nSTATUS=serving on " + grpc_address);
  spdlog::info("serving on {} with {} executor threads", grpc_address, executor_.threads());

  const int number = co_await signals_.stop.next();
  spdlog::info("{}: jobs may go on for {} ms", number == SIGINT ? "SIGINT" : "SIGTERM",
               config_.grace_ms);
  notify_service_manager("STOPPING=1\nSTATUS=letting jobs end");
  group.start([this] { return exit_at_next_signal(&signals_.stop); }).set_name("second signal");
  not_ready_ = "draining: this daemon is about to end";
  server_->set_serving(false);  // load balancers stop sending
  service_.drain();             // new jobs belong to another daemon
  co_await within(std::chrono::milliseconds(config_.grace_ms + limits::kUnwindMs), "jobs",
                  end_jobs());
  co_await within(
      std::chrono::milliseconds(limits::kQuietMsMax + limits::kServerStopMs + limits::kUnwindMs),
      "calls", end_calls());
  spdlog::info("stopped");
  group.cancel(CancelReason::kShutdown);  // the watcher above, janitor and schedules
}

Task<void> Daemon::end_jobs() {
  if (!config_.run_jobs) co_return;
  worker_.drain(std::chrono::milliseconds(config_.grace_ms));
  co_await worker_ended_.wait();  // every job settled or handed back
}

Task<void> Daemon::end_calls() {
  co_await service_.wait_until_quiet();  // readers have had the ends of their jobs
  CancelScope shield(CancelScope::Kind::kShielded);
  co_await shield.run(server_->shutdown(std::chrono::milliseconds(limits::kServerStopMs)));
}

}  // namespace

int run_daemon(const Config& config, const AddHandlers& add_handlers) {
  const auto sockets = take_inherited_sockets();
  if (!sockets.ok()) return refuse_to_start(sockets.status());
  const int64_t watchdog_ms = take_watchdog_ms();
  const std::optional<uint64_t> descriptors_before = allow_many_descriptors();
  signal(SIGPIPE, SIG_IGN);  // a reader of our output that leaves is no reason to die
  signal(SIGCHLD, SIG_DFL);  // ignored, as it may be inherited, children vanish unreaped
  EventLoop loop;            // descriptors only; every other part lives on it
  SignalSets signals;        // before any thread starts: all inherit the mask
  start_logging(config.log_level, log_format_of(STDERR_FILENO));
  const Identity identity;
  StoreOptions store_options;
  store_options.retention_ms = config.retention_ms;
  store_options.free_disk_bytes = config.free_disk_bytes;
  store_options.self = identity.incarnation;
  store_options.worker_name = identity.worker;
  store_options.prefix = config.store_prefix;
  store_options.password = config.store_password;
  store_options.lease_ms = config.lease_ms;
  store_options.renew_ms = config.lease_ms / kRenewalsPerLease;
  auto store = open_store(config.store, std::move(store_options));  // blocks
  if (!store.ok()) {
    stop_logging();
    return refuse_to_start(store.status());
  }
  int exit_code = 1;
  {
    Daemon daemon(config, add_handlers, *sockets, watchdog_ms, descriptors_before, signals,
                  identity, *std::move(store));
    exit_code = loop.run(daemon.run());
  }
  if (!stop_logging()) _exit(exit_code);  // what there was to close is closed
  return exit_code;
}

}  // namespace weft
