// The command line of weft bench, and how its reports are printed.
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include <weft/base/limits.h>

#include "client/cli/bench/bench.h"
#include "client/cli/cli.h"
#include "client/cli/exit_code.h"
#include "client/cli/interrupt.h"
#include "client/cli/output.h"

namespace weft::cli {
namespace {

using Bench = Status (*)(const BenchOptions&, const std::string&, Report&);
struct Named {
  const char* name;
  Bench run;
  const char* help;
};
constexpr size_t kWorkersMax = 64;
constexpr Named kBenches[] = {
    {"submit", bench_submit, "Jobs taken a second: one a call, in batches, in bulk"},
    {"drain", bench_drain, "Jobs run a second, from a backlog and as they come"},
    {"latency", bench_latency, "From submit to result, one job at a time"},
    {"stream", bench_stream, "Chunks of one job a second, and their time on the way"},
    {"waiting", bench_waiting, "Memory of jobs that wait, and the time to start and cancel them"},
};

StatusOr<std::string> durability(const std::string& store, bool running) {
  if (running) return "the daemon's";
  if (store == "memory:") return "none";
  if (!is_redis(store)) return "SQLite WAL, FULL for submit, settle and cancel, group commit";
  const auto redis = BenchRedis::connect(store);
  if (!redis.ok()) return redis.status();
  const StatusOr<std::string> aof = (*redis)->aof();
  if (!aof.ok()) return aof.status();
  return "Redis, AOF " + *aof;
}

// Without what may be a password.
std::string shown(const std::string& store) {
  const size_t begin = store.find("://");
  const size_t at = store.rfind('@');
  if (!is_redis(store) || begin == std::string::npos || at == std::string::npos) return store;
  return store.substr(0, begin + 3) + store.substr(at + 1);
}

// The CPUs of this machine that this process may use.
std::string own_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  const long all = sysconf(_SC_NPROCESSORS_ONLN);
  if (CPU_COUNT(&set) >= all) return "all of " + std::to_string(all);
  std::string text;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set)) continue;
    text += (text.empty() ? "" : "+") + std::to_string(cpu);
  }
  return text + " of " + std::to_string(all);
}

std::string placement(const BenchOptions& options, bool running) {
  const std::string daemon = running              ? "as it was started"
                             : options.daemon_cpu ? "CPU " + std::to_string(*options.daemon_cpu)
                                                  : "as the client";
  return "client CPUs " + own_cpus() + ", daemon " + daemon;
}

std::string number(double value) {
  char text[64];
  std::snprintf(text, sizeof text, value < 10 ? "%.2f" : value < 1000 ? "%.1f" : "%.0f", value);
  return text;
}

std::string table(const Report& report) {
  std::string text = report.bench + ":";
  for (const auto& [name, value] : report.settings) text += " " + name + " " + value + ";";
  text.back() = '\n';
  for (const Row& row : report.rows) {
    char what[64];
    std::snprintf(what, sizeof what, "  %-36s", row.what.c_str());
    text += what;
    for (const auto& [name, value] : row.figures) text += "  " + number(value) + " " + name;
    text += '\n';
  }
  return text;
}

nlohmann::ordered_json json(const Report& report) {
  nlohmann::ordered_json object = {{"bench", report.bench}};
  for (const auto& [name, value] : report.settings) object["settings"][name] = value;
  object["rows"] = nlohmann::ordered_json::array();
  for (const Row& row : report.rows) {
    nlohmann::ordered_json figures;
    for (const auto& [name, value] : row.figures) figures[name] = value;
    object["rows"].push_back({{"what", row.what}, {"figures", figures}});
  }
  return object;
}

StatusOr<Report> measure(const Globals& globals, const Named& bench, const BenchOptions& options,
                         const std::string& store, bool running) {
  const StatusOr<std::string> durable = durability(store, running);
  if (!durable.ok()) return durable.status();
  Report report;
  WEFT_RETURN_IF_ERROR(bench.run(options, store, report));
  report.bench = bench.name;
  report.settings.insert(report.settings.begin(),
                         {{"store", running ? globals.server : shown(store)},
                          {"durability", *durable},
                          {"connections", "1"},
                          {"placement", placement(options, running)}});
  return report;
}

Status check(const BenchOptions& options, bool running) {
  if (running && options.daemon_cpu) {
    return make_status(StatusCode::kInvalidArgument,
                       "--daemon-cpu is for a daemon that is started: leave --running out");
  }
  for (const std::string& store : options.stores) {
    if (is_redis(store)) WEFT_RETURN_IF_ERROR(BenchRedis::check_url(store));
  }
  if (options.workers == 1) return absl::OkStatus();
  const bool shared = std::all_of(options.stores.begin(), options.stores.end(), is_redis);
  if (shared && !running) return absl::OkStatus();
  return make_status(StatusCode::kInvalidArgument,
                     "--workers needs a store that processes share: give one as --store "
                     "redis://HOST:PORT, and no --running");
}

int run(const Globals& globals, const Named& bench, BenchOptions options, bool running) {
  if (const Status usable = check(options, running); !usable.ok()) return report_usage(usable);
  // What the daemons have stored is removed also when the bench is interrupted: calls to daemons
  // that are gone fail, and the bench ends.
  std::optional<Interrupt> interrupt;
  if (running) {
    options.server = globals.server;
    options.stores = {"running"};
  } else {
    interrupt.emplace();
    interrupt->on_signal(&OwnDaemon::end_all);
  }
  Output out;
  for (const std::string& store : options.stores) {
    const StatusOr<Report> measured = measure(globals, bench, options, store, running);
    if (interrupt && interrupt->received()) return kInterrupted;
    if (!measured.ok()) return report(measured.status());
    out.add(globals.output() == Format::kTable ? table(*measured)
                                               : document(json(*measured), globals.output()));
    if (!out.flush()) break;
  }
  return out.finish();
}

// Only those that mean something to this bench.
void add_options(CLI::App& command, const Named& bench, BenchOptions& options, bool& running) {
  command
      .add_option("--store", options.stores,
                  "memory:, sqlite: (a file of its own), sqlite:PATH or redis://HOST:PORT (keys "
                  "of its own, removed at the end); can be repeated")
      ->type_name("URL")
      ->capture_default_str();
  command.add_flag("--running", running,
                   "Measure the daemon at --server instead; its jobs stay there");
  command
      .add_option("--daemon-cpu", options.daemon_cpu,
                  "The only CPU that the daemon may use (of weft's own: taskset)")
      ->check(CLI::Range(0, CPU_SETSIZE - 1));
  const std::string name = bench.name;
  if (name != "stream") {
    command.add_option("--jobs", options.jobs, "How many jobs (default: as suits the bench)")
        ->check(CLI::Range(uint64_t{1}, uint64_t{limits::kQueuedPerQueue}));
  }
  if (name == "submit" || name == "drain" || name == "latency") {
    command.add_option("--type", options.type, "Of the jobs")->capture_default_str();
    command
        .add_option("--payload", options.payload,
                    "What a job's payload begins with, as sleep needs {\"ms\":0}")
        ->check(text());
    command.add_option("--payload-bytes", options.payload_bytes, "Size it is filled up to")
        ->check(CLI::Range(size_t{0}, limits::kPayloadBytes))
        ->capture_default_str();
  }
  if (name == "submit" || name == "drain") {
    command
        .add_option("--retention", options.retention_s,
                    "Seconds that a job is kept once it has ended; 0: not at all (default: as the "
                    "daemon says)")
        ->check(CLI::Range(0.0, 30.0 * 24 * 3600));
  }
  if (name == "drain") {
    command
        .add_option("--workers", options.workers,
                    "Drain the backlog by 1, 2, 4, … and this many daemons on one store")
        ->check(CLI::Range(size_t{1}, kWorkersMax))
        ->capture_default_str();
  }
  if (name == "submit" || name == "drain" || name == "waiting") {
    command.add_option("--batch", options.batch, "Jobs in one message")
        ->check(CLI::Range(size_t{1}, limits::kBatchJobs))
        ->capture_default_str();
  }
  if (name == "submit") {
    command.add_option("--seconds", options.seconds, "How long a row, unless --jobs is given")
        ->check(CLI::Range(0.01, 3600.0))
        ->capture_default_str();
    command.add_option("--in-flight", options.in_flight, "Calls at once")
        ->check(CLI::Range(size_t{1}, size_t{4096}))
        ->capture_default_str();
  }
  if (name == "stream") {
    command.add_option("--chunks", options.chunks, "Of one stream")
        ->check(CLI::Range(uint64_t{1}, limits::kStreamChunks))
        ->capture_default_str();
    command.add_option("--chunk-bytes", options.chunk_bytes, "Of a chunk")
        ->check(CLI::Range(size_t{1}, limits::kChunkBytes))
        ->capture_default_str();
  }
}

}  // namespace

void add_bench_command(CLI::App& app, const Globals& globals, Command& chosen) {
  CLI::App* command =
      app.add_subcommand("bench", "Measure a weftd: one that is started for it, or a running one");
  command->require_subcommand(1);
  auto options = std::make_shared<BenchOptions>();
  options->stores = {"memory:", "sqlite:"};
  auto running = std::make_shared<bool>(false);
  for (const Named& bench : kBenches) {
    CLI::App* sub = command->add_subcommand(bench.name, bench.help);
    sub->fallthrough();
    sub->callback([&globals, &chosen, &bench, options, running] {
      chosen = [&globals, &bench, options, running] {
        return run(globals, bench, *options, *running);
      };
    });
    add_options(*sub, bench, *options, *running);
  }
}

}  // namespace weft::cli
