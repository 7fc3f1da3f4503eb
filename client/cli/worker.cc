// weft worker list, weft worker dump.
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "client/cli/cli.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"

namespace weft::cli {
namespace {

using google::protobuf::util::TimeUtil;

nlohmann::ordered_json worker_json(const v1::Worker& worker) {
  nlohmann::ordered_json json;
  json["name"] = worker.name();
  json["incarnation"] = worker.incarnation();
  json["version"] = worker.version();
  json["start_time"] = TimeUtil::ToString(worker.start_time());
  json["store"] = worker.store();
  json["host"] = worker.host();
  json["role"] = worker.role();
  json["queues"] = nlohmann::ordered_json::array();
  for (const std::string& queue : worker.queues()) json["queues"].push_back(queue);
  if (worker.has_last_heard()) json["last_heard"] = TimeUtil::ToString(worker.last_heard());
  json["types"] = nlohmann::ordered_json::array();
  for (const std::string& type : worker.types()) json["types"].push_back(type);
  json["slots"] = worker.slots();
  json["slots_used"] = worker.slots_used();
  json["resident_jobs"] = worker.resident_jobs();
  json["stuck_jobs"] = worker.stuck_jobs();
  json["jobs_queued"] = worker.jobs_queued();
  json["jobs_taken"] = worker.jobs_taken();
  json["jobs_succeeded"] = worker.jobs_succeeded();
  json["jobs_dead"] = worker.jobs_dead();
  json["jobs_cancelled"] = worker.jobs_cancelled();
  json["executor_threads"] = worker.executor_threads();
  json["cpu_seconds"] =
      static_cast<double>(TimeUtil::DurationToMicroseconds(worker.cpu_time())) * 1e-6;
  json["resident_memory_bytes"] = worker.resident_memory_bytes();
  json["voluntary_context_switches"] = worker.voluntary_context_switches();
  json["involuntary_context_switches"] = worker.involuntary_context_switches();
  return json;
}

// How long ago the store has heard of it; this machine's clock may differ from the store's.
std::string heard(const v1::Worker& worker) {
  if (!worker.has_last_heard()) return "-";
  const int64_t ago_ms =
      TimeUtil::DurationToMilliseconds(TimeUtil::GetCurrentTime() - worker.last_heard());
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s",
                static_cast<double>(std::max<int64_t>(ago_ms, 0)) / 1000);
  return text;
}

// The queues it takes from.
std::string queues(const v1::Worker& worker) {
  if (worker.slots() == 0) return "-";
  std::string names;
  for (const std::string& queue : worker.queues()) names += (names.empty() ? "" : ",") + queue;
  return names.empty() ? "all" : names;
}

std::string table_head() {
  char head[512];
  std::snprintf(head, sizeof head, "%-28s %-16s %-8s %-9s %-8s %8s %-18s %9s %9s %11s %9s %9s %8s",
                "NAME", "HOST", "VERSION", "ROLE", "QUEUES", "HEARD", "  SLOTS USED", "RESIDENT",
                "QUEUED", "SUCCEEDED", "DEAD", "CPU S", "MEM MIB");
  return head;
}

std::string table_line(const v1::Worker& worker) {
  char line[1024];
  std::snprintf(line, sizeof line,
                "%-28s %-16s %-8s %-9s %-8s %8s %6llu of %-8llu %9llu %9llu %11llu %9llu %9.1f "
                "%8.1f",
                worker.name().c_str(), worker.host().c_str(), worker.version().c_str(),
                worker.role().c_str(), queues(worker).c_str(), heard(worker).c_str(),
                static_cast<unsigned long long>(worker.slots_used()),
                static_cast<unsigned long long>(worker.slots()),
                static_cast<unsigned long long>(worker.resident_jobs()),
                static_cast<unsigned long long>(worker.jobs_queued()),
                static_cast<unsigned long long>(worker.jobs_succeeded()),
                static_cast<unsigned long long>(worker.jobs_dead()),
                static_cast<double>(TimeUtil::DurationToMilliseconds(worker.cpu_time())) * 1e-3,
                static_cast<double>(worker.resident_memory_bytes()) / (1 << 20));
  return line;
}

int list(const Globals& globals) {
  Client client(globals.client_options());
  const StatusOr<v1::ListWorkersResponse> answer = client.workers();
  if (!answer.ok()) return report(answer.status());
  Output out;
  if (globals.output() == Format::kTable) {
    out.add_line(table_head());
    for (const v1::Worker& worker : answer->workers()) out.add_line(table_line(worker));
    return out.finish();
  }
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const v1::Worker& worker : answer->workers()) {
    if (globals.output() == Format::kJsonl) {
      out.add(document(worker_json(worker), Format::kJsonl));
    } else {
      all.push_back(worker_json(worker));
    }
  }
  if (globals.output() == Format::kJson) out.add(document(all, Format::kJson));
  return out.finish();
}

int dump(const Globals& globals, const std::string& name) {
  Client client(globals.client_options());
  const StatusOr<std::string> tree = client.dump(name);
  if (!tree.ok()) return report(tree.status());
  Output out;
  if (globals.output() == Format::kTable) {
    out.add(*tree);
  } else {
    out.add(document({{"name", name}, {"text", *tree}}, globals.output()));
  }
  return out.finish();
}

}  // namespace

void add_worker_commands(CLI::App& app, const Globals& globals, Command& chosen) {
  CLI::App& worker = *app.add_subcommand("worker", "Show who runs jobs, and what they do now");
  worker.require_subcommand(1);
  worker.fallthrough();
  CLI::App& list_command = *worker.add_subcommand("list", "List the workers");
  list_command.fallthrough();
  list_command.callback([&globals, &chosen] { chosen = [&globals] { return list(globals); }; });
  auto name = std::make_shared<std::string>();
  CLI::App& dump_command = *worker.add_subcommand(
      "dump", "Show every task of a worker's loop: what it waits for, and since when");
  dump_command.fallthrough();
  dump_command.add_option("name", *name, "The worker's name (default: the server that is asked)")
      ->type_name("NAME")
      ->check(text());
  dump_command.callback(
      [&globals, &chosen, name] { chosen = [&globals, name] { return dump(globals, *name); }; });
}

}  // namespace weft::cli
