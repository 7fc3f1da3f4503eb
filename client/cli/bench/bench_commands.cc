// The command line of weft bench, and how its reports are printed.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include <weft/base/limits.h>

#include "client/cli/bench/bench.h"
#include "client/cli/cli.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"

namespace weft::cli {
namespace {

using Bench = Status (*)(const BenchOptions&, const std::string&, Report&);
struct Named {
  const char* name;
  Bench run;
  const char* help;
};
constexpr Named kBenches[] = {
    {"submit", bench_submit, "Jobs taken a second: one a call, in batches, in bulk"},
    {"drain", bench_drain, "Jobs run a second, from a backlog and as they come"},
    {"latency", bench_latency, "From submit to result, one job at a time"},
    {"stream", bench_stream, "Chunks of one job a second, and their time on the way"},
    {"waiting", bench_waiting, "Memory of jobs that wait, and the time to start and cancel them"},
};

std::string durability(const std::string& store) {
  if (store.starts_with("sqlite:")) {
    return "SQLite WAL, FULL for submit, settle and cancel, group commit";
  }
  return store == "memory:" ? "none" : "the daemon's";
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

int run(const Globals& globals, const Named& bench, BenchOptions options, bool running) {
  if (running) {
    options.server = globals.server;
    options.stores = {"running"};
  }
  Output out;
  for (const std::string& store : options.stores) {
    Report measured;
    const Status status = bench.run(options, store, measured);
    if (!status.ok()) return report(status);
    measured.bench = bench.name;
    const std::string where = running ? globals.server : store;
    measured.settings.insert(measured.settings.begin(),
                             {{"store", where},
                              {"durability", durability(running ? "" : store)},
                              {"connections", "1"},
                              {"cores", std::to_string(sysconf(_SC_NPROCESSORS_ONLN)) +
                                            " shared by client and daemon, no pinning"}});
    out.add(globals.output() == Format::kTable ? table(measured)
                                               : document(json(measured), globals.output()));
    if (!out.flush()) break;
  }
  return out.finish();
}

// Only those that mean something to this bench.
void add_options(CLI::App& command, const Named& bench, BenchOptions& options, bool& running) {
  command
      .add_option("--store", options.stores,
                  "memory:, sqlite: (a file of its own) or sqlite:PATH; can be repeated")
      ->type_name("URL")
      ->capture_default_str();
  command.add_flag("--running", running,
                   "Measure the daemon at --server instead; its jobs stay there");
  const std::string name = bench.name;
  if (name != "stream") {
    command.add_option("--jobs", options.jobs, "How many jobs (default: as suits the bench)")
        ->check(CLI::Range(uint64_t{1}, uint64_t{limits::kQueuedPerQueue}));
  }
  if (name == "submit" || name == "drain" || name == "latency") {
    command.add_option("--payload-bytes", options.payload_bytes, "Of a job")
        ->check(CLI::Range(size_t{0}, limits::kPayloadBytes))
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
