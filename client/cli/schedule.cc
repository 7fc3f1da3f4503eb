// weft schedule …: jobs that come again and again.
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <weft/base/clock.h>
#include <weft/base/limits.h>
#include <weft/jobs/schedule_policy.h>

#include "client/cli/cli.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"
#include "client/cli/time_text.h"

namespace weft::cli {
namespace {

using google::protobuf::util::TimeUtil;

constexpr size_t kPayloadBytes = 64 << 10;  // the server takes no more in a schedule
constexpr uint64_t kTicksShown = 1000;
constexpr char kCronHelp[] =
    "A cron expression is \"MINUTE HOUR DAY MONTH WEEKDAY\", each *, a number, a range, a list or "
    "a\n"
    "step (*/5), or @hourly, @daily, @weekly, @monthly, @yearly. When the clocks change, a time "
    "that\n"
    "is skipped comes at the jump, and one that comes twice counts the first time; with * as "
    "hour,\n"
    "each hour that passes has its ticks.\n";

struct ScheduleOptions {
  std::string name;
  std::string cron;
  std::string every;
  std::string time_zone;
  std::string type;
  std::string queue;
  std::string payload;
  std::string content_type;
  std::vector<std::string> metadata;
  std::string timeout;
  std::string total_timeout;
  std::string backoff;
  double jitter = -1;
  double retention_s = -1;
  uint32_t max_attempts = 0;
  std::string overlap = "skip";
  std::string catch_up = "skip";
  bool paused = false;
  bool replace = false;
  uint64_t count = 5;
};

std::string overlap_name(v1::OverlapPolicy overlap) {
  switch (overlap) {
    case v1::OVERLAP_POLICY_QUEUE:
      return "queue";
    case v1::OVERLAP_POLICY_CANCEL_PREVIOUS:
      return "cancel";
    default:
      return "skip";
  }
}

std::string catch_up_name(v1::CatchUpPolicy catch_up) {
  switch (catch_up) {
    case v1::CATCH_UP_POLICY_ONE:
      return "one";
    case v1::CATCH_UP_POLICY_ALL:
      return "all";
    default:
      return "skip";
  }
}

nlohmann::ordered_json schedule_json(const v1::Schedule& schedule) {
  nlohmann::ordered_json json;
  json["name"] = schedule.name();
  if (schedule.has_interval()) {
    json["every"] = duration_text(schedule.interval());
  } else {
    json["cron"] = schedule.cron();
    json["time_zone"] = schedule.time_zone().empty() ? "UTC" : schedule.time_zone();
  }
  json["overlap"] = overlap_name(schedule.overlap());
  json["catch_up"] = catch_up_name(schedule.catch_up());
  json["paused"] = schedule.paused();
  json["type"] = schedule.job().type();
  json["queue"] = schedule.job().queue();
  if (!schedule.job().payload().empty()) put_bytes(json, "payload", schedule.job().payload());
  json["create_time"] = TimeUtil::ToString(schedule.create_time());
  if (schedule.has_next_time()) json["next_time"] = TimeUtil::ToString(schedule.next_time());
  if (schedule.has_last_time()) json["last_time"] = TimeUtil::ToString(schedule.last_time());
  if (!schedule.last_job_id().empty()) json["last_job_id"] = schedule.last_job_id();
  json["fired"] = schedule.fired();
  json["skipped"] = schedule.skipped();
  if (!schedule.last_error().empty()) json["last_error"] = schedule.last_error();
  if (schedule.has_pending()) {
    const v1::PendingTick& pending = schedule.pending();
    nlohmann::ordered_json its;
    its["job_id"] = pending.job_id();
    its["time"] = TimeUtil::ToString(pending.time());
    if (!pending.waits_for().empty()) its["waits_for"] = pending.waits_for();
    if (!pending.error().empty()) its["error"] = pending.error();
    json["pending"] = std::move(its);
  }
  return json;
}

std::string when_text(const v1::Schedule& schedule) {
  if (schedule.has_interval()) return "every " + duration_text(schedule.interval());
  return schedule.cron() + (schedule.time_zone().empty() ? "" : " " + schedule.time_zone());
}

int print(const Globals& globals, const v1::Schedule& schedule) {
  Output out;
  const nlohmann::ordered_json json = schedule_json(schedule);
  if (globals.output() != Format::kTable) {
    out.add(document(json, globals.output()));
    return out.finish();
  }
  for (const auto& [key, value] : json.items()) {
    std::string line = key + ":";
    line.resize(std::max<size_t>(line.size() + 1, 13), ' ');
    out.add_line(line + (value.is_string() ? value.get<std::string>() : value.dump()));
  }
  return out.finish();
}

StatusOr<v1::Schedule> make_schedule(const ScheduleOptions& options) {
  v1::Schedule schedule;
  schedule.set_name(options.name);
  if (!options.every.empty()) {
    const auto every = parse_duration(options.every);
    if (!every.ok()) return every.status();
    *schedule.mutable_interval() = *every;
  } else if (!options.cron.empty()) {
    schedule.set_cron(options.cron);
  }
  schedule.set_time_zone(options.time_zone);
  schedule.set_overlap(options.overlap == "queue"    ? v1::OVERLAP_POLICY_QUEUE
                       : options.overlap == "cancel" ? v1::OVERLAP_POLICY_CANCEL_PREVIOUS
                                                     : v1::OVERLAP_POLICY_SKIP);
  schedule.set_catch_up(options.catch_up == "one"   ? v1::CATCH_UP_POLICY_ONE
                        : options.catch_up == "all" ? v1::CATCH_UP_POLICY_ALL
                                                    : v1::CATCH_UP_POLICY_SKIP);
  schedule.set_paused(options.paused);
  v1::JobSpec& job = *schedule.mutable_job();
  job.set_type(options.type);
  job.set_queue(options.queue);
  if (!options.timeout.empty()) {
    const auto timeout = parse_duration(options.timeout);
    if (!timeout.ok()) return timeout.status();
    *job.mutable_attempt_timeout() = *timeout;
  }
  if (!options.total_timeout.empty()) {
    const auto total_timeout = parse_duration(options.total_timeout);
    if (!total_timeout.ok()) return total_timeout.status();
    *job.mutable_total_timeout() = *total_timeout;
  }
  if (options.retention_s >= 0) {
    *job.mutable_retention() =
        TimeUtil::NanosecondsToDuration(static_cast<int64_t>(options.retention_s * 1e9));
  }
  if (options.max_attempts > 0) job.mutable_retry()->set_max_attempts(options.max_attempts);
  if (!options.backoff.empty()) {
    WEFT_RETURN_IF_ERROR(parse_backoff(options.backoff, job.mutable_retry()));
  }
  if (options.jitter >= 0) job.mutable_retry()->set_jitter(options.jitter);
  job.set_content_type(options.content_type);
  for (const std::string& label : options.metadata) {
    const size_t equals = label.find('=');
    if (equals == std::string::npos || equals == 0) {
      return field_error("--metadata", "--metadata '" + label + "' is not KEY=VALUE");
    }
    (*job.mutable_metadata())[label.substr(0, equals)] = label.substr(equals + 1);
  }
  StatusOr<std::string> payload = read_argument(options.payload, kPayloadBytes);
  WEFT_RETURN_IF_ERROR(payload.status());
  job.set_payload(*std::move(payload));
  return schedule;
}

int create(const Globals& globals, const ScheduleOptions& options) {
  StatusOr<v1::Schedule> schedule = make_schedule(options);
  if (!schedule.ok()) return report_usage(schedule.status());
  Client client(globals.client_options());
  const auto answer = client.create_schedule(*std::move(schedule), options.replace);
  if (!answer.ok()) return report(answer.status());
  return print(globals, answer->schedule());
}

int get(const Globals& globals, const ScheduleOptions& options) {
  Client client(globals.client_options());
  const auto schedule = client.get_schedule(options.name);
  return schedule.ok() ? print(globals, *schedule) : report(schedule.status());
}

int pause(const Globals& globals, const ScheduleOptions& options) {
  Client client(globals.client_options());
  const auto schedule = client.pause_schedule(options.name);
  return schedule.ok() ? print(globals, *schedule) : report(schedule.status());
}

int resume(const Globals& globals, const ScheduleOptions& options) {
  Client client(globals.client_options());
  const auto schedule = client.resume_schedule(options.name);
  return schedule.ok() ? print(globals, *schedule) : report(schedule.status());
}

int trigger(const Globals& globals, const ScheduleOptions& options) {
  Client client(globals.client_options());
  const auto id = client.trigger_schedule(options.name);
  if (!id.ok()) return report(id.status());
  Output out;
  if (globals.output() == Format::kTable) {
    out.add_line(*id);
  } else {
    out.add(document({{"name", options.name}, {"job_id", *id}}, globals.output()));
  }
  return out.finish();
}

int remove(const Globals& globals, const ScheduleOptions& options) {
  Client client(globals.client_options());
  const Status status = client.remove_schedule(options.name);
  if (!status.ok()) return report(status);
  Output out;
  if (globals.output() == Format::kTable) {
    out.add_line("deleted");
  } else {
    out.add(document({{"name", options.name}, {"deleted", true}}, globals.output()));
  }
  return out.finish();
}

std::string padded(std::string text, size_t width) {
  if (text.size() < width) text.resize(width, ' ');
  return text + "  ";
}

std::string table_line(const std::string& name, const std::string& when, const std::string& type,
                       const std::string& next, const std::string& fired,
                       const std::string& skipped, const std::string& note) {
  std::string line = padded(name, 20) + padded(when, 28) + padded(type, 12) + padded(next, 24) +
                     padded(fired, 7) + padded(skipped, 7) + note;
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

std::string table_line(const v1::Schedule& schedule) {
  std::string note;
  if (!schedule.last_error().empty()) note = "error";
  if (schedule.has_pending()) note = schedule.pending().waits_for().empty() ? "pending" : "waits";
  return table_line(schedule.name(), when_text(schedule), schedule.job().type(),
                    schedule.paused()           ? "paused"
                    : !schedule.has_next_time() ? "-"
                                                : TimeUtil::ToString(schedule.next_time()),
                    std::to_string(schedule.fired()), std::to_string(schedule.skipped()), note);
}

int list(const Globals& globals) {
  Client client(globals.client_options());
  v1::ListSchedulesRequest request;
  request.set_page_size(limits::kPageSizeMax);
  Output out;
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  if (globals.output() == Format::kTable) {
    out.add_line(table_line("NAME", "WHEN", "TYPE", "NEXT", "FIRED", "SKIPPED", ""));
  }
  do {
    const auto page = client.list_schedules(request);
    if (!page.ok()) {
      out.flush();
      return report(page.status());
    }
    for (const v1::Schedule& schedule : page->schedules()) {
      if (globals.output() == Format::kTable) {
        out.add_line(table_line(schedule));
      } else if (globals.output() == Format::kJsonl) {
        out.add(document(schedule_json(schedule), Format::kJsonl));
      } else {
        all.push_back(schedule_json(schedule));
      }
    }
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty() && out.code() == kSucceeded);
  if (globals.output() == Format::kJson) out.add(document(all, Format::kJson));
  return out.finish();
}

// The ticks to come, as this machine's clock and time zones have them; of a cron expression without
// asking a server.
int next(const Globals& globals, const ScheduleOptions& options) {
  std::string zone_name = options.time_zone;
  StatusOr<Timetable> timetable = field_error("name", "name a schedule, or give --cron");
  const int64_t now_ms = RealClock::instance().wall_ns() / 1'000'000;
  const auto of_cron = [&](const std::string& expression) -> StatusOr<Timetable> {
    const auto cron = Cron::parse("--cron", expression);
    if (!cron.ok()) return cron.status();
    const auto zone = find_time_zone("--time-zone", zone_name);
    if (!zone.ok()) return zone.status();
    return Timetable(*cron, *zone);
  };
  if (!options.cron.empty()) {
    timetable = of_cron(options.cron);
  } else if (!options.name.empty()) {
    Client client(globals.client_options());
    const auto schedule = client.get_schedule(options.name);
    if (!schedule.ok()) return report(schedule.status());
    if (schedule->has_interval()) {
      timetable = Timetable(TimeUtil::TimestampToMilliseconds(schedule->create_time()),
                            TimeUtil::DurationToMilliseconds(schedule->interval()));
    } else {
      zone_name = schedule->time_zone();
      timetable = of_cron(schedule->cron());
    }
  }
  if (!timetable.ok()) return report_usage(timetable.status());
  const absl::TimeZone zone =
      find_time_zone("--time-zone", zone_name).value_or(absl::UTCTimeZone());
  Output out;
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  int64_t at_ms = now_ms;
  for (uint64_t i = 0; i < options.count; ++i) {
    const std::optional<int64_t> tick = timetable->next(at_ms);
    if (!tick) break;
    at_ms = *tick;
    const std::string text =
        absl::FormatTime("%Y-%m-%dT%H:%M:%E*S%Ez", absl::FromUnixMillis(at_ms), zone);
    if (globals.output() == Format::kTable) {
      out.add_line(text);
    } else if (globals.output() == Format::kJsonl) {
      out.add(document({{"time", text}}, Format::kJsonl));
    } else {
      all.push_back(text);
    }
  }
  if (globals.output() == Format::kJson) out.add(document(all, Format::kJson));
  return out.finish();
}

using Run = int (*)(const Globals&, const ScheduleOptions&);
CLI::App& add_command(CLI::App& app, const Globals& globals, Command& chosen, const char* name,
                      const char* help, const std::shared_ptr<ScheduleOptions>& options, Run run) {
  CLI::App& command = *app.add_subcommand(name, help);
  command.fallthrough();
  command.callback([&globals, &chosen, options, run] {
    chosen = [&globals, options, run] { return run(globals, *options); };
  });
  return command;
}

CLI::Option* add_name(CLI::App& command, ScheduleOptions& options) {
  return command.add_option("name", options.name, "The schedule's name")
      ->type_name("NAME")
      ->check(text());
}

CLI::Option* add_cron(CLI::App& command, ScheduleOptions& options) {
  command.footer(kCronHelp);
  command
      .add_option("--time-zone", options.time_zone, "Of --cron, as Europe/Berlin (default: UTC)")
      ->type_name("ZONE")
      ->check(text());
  return command.add_option("--cron", options.cron, "\"*/5 * * * *\": at times of a clock")
      ->type_name("CRON")
      ->check(text());
}

void add_create(CLI::App& command, ScheduleOptions& options) {
  add_name(command, options)->required();
  CLI::Option* cron = add_cron(command, options);
  command.add_option("--every", options.every, "At an interval, 1s or longer: 90s, 15m, 1d")
      ->type_name("DURATION")
      ->check(duration())
      ->excludes(cron);
  command.add_option("--type,-t", options.type, "The handler's name: count, digest, echo…")
      ->type_name("TYPE")
      ->check(text())
      ->required();
  command.add_option("--payload,-p", options.payload, "TEXT, @FILE, or - for standard input")
      ->type_name("TEXT|@FILE|-");
  command.add_option("--content-type", options.content_type, "Kind of the payload, informative")
      ->type_name("MIME")
      ->check(text());
  command.add_option("--queue,-q", options.queue, "Queue (default: \"default\")")
      ->type_name("NAME")
      ->check(text());
  command.add_option("--metadata,-m", options.metadata, "A label of its jobs; may be repeated")
      ->type_name("KEY=VALUE")
      ->check(text())
      ->allow_extra_args(false);
  command.add_option("--timeout", options.timeout, "An attempt that runs longer fails")
      ->type_name("DURATION")
      ->check(duration());
  command
      .add_option("--total-timeout", options.total_timeout,
                  "A job that is not done so long after its tick is dead")
      ->type_name("DURATION")
      ->check(duration());
  command
      .add_option("--retention", options.retention_s,
                  "How long a job is kept after its end; 0: not at all (default: the daemon's)")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, static_cast<double>(limits::kDurationSecondsMax)));
  command
      .add_option("--max-attempts", options.max_attempts,
                  "Failures after which a job is dead (default: the handler's, 3)")
      ->type_name("N")
      ->check(CLI::Range(uint32_t{1}, limits::kAttemptsMax));
  command
      .add_option(
          "--backoff", options.backoff,
          "Pauses before retries: exp:FIRST[,FACTOR[,LONGEST]], fixed:PAUSE or list:PAUSE,…")
      ->type_name("BACKOFF")
      ->check(backoff());
  command
      .add_option("--jitter", options.jitter,
                  "0 to 1: by how much of itself a pause varies (default: the handler's, 0.5)")
      ->type_name("PART")
      ->check(CLI::Range(0.0, 1.0));
  command
      .add_option("--overlap", options.overlap,
                  "A tick while the job before has not ended: skip it, queue it (it waits), or "
                  "cancel that job")
      ->check(CLI::IsMember({"skip", "queue", "cancel"}))
      ->type_name("POLICY")
      ->capture_default_str();
  command
      .add_option("--catch-up", options.catch_up,
                  "Missed ticks: skip them, make up for one, or for all (the last 100)")
      ->check(CLI::IsMember({"skip", "one", "all"}))
      ->type_name("POLICY")
      ->capture_default_str();
  command.add_flag("--paused", options.paused, "It waits for `schedule resume`");
  command.add_flag("--replace", options.replace, "Another schedule of this name gives way to it");
}

}  // namespace

void add_schedule_commands(CLI::App& app, const Globals& globals, Command& chosen) {
  CLI::App& schedule = *app.add_subcommand("schedule", "Jobs that come again and again");
  schedule.require_subcommand(1);
  schedule.fallthrough();
  auto options = std::make_shared<ScheduleOptions>();
  add_create(add_command(schedule, globals, chosen, "create",
                         "Submit a job at times of a clock, or at an interval", options, create),
             *options);
  CLI::App& list_command = *schedule.add_subcommand("list", "List the schedules, by name");
  list_command.fallthrough();
  list_command.callback([&globals, &chosen] { chosen = [&globals] { return list(globals); }; });
  struct Named {
    const char* name;
    const char* help;
    Run run;
  };
  for (const auto& [name, help, run] :
       {Named{"get", "Show a schedule", get},
        Named{"pause", "Let no tick come until it is resumed", pause},
        Named{"resume", "Go on with the next tick", resume},
        Named{"trigger", "Submit its job now, besides its ticks, and print the id", trigger},
        Named{"delete", "Forget a schedule; its jobs stay", remove}}) {
    add_name(add_command(schedule, globals, chosen, name, help, options, run), *options)
        ->required();
  }
  CLI::App& next_command = add_command(
      schedule, globals, chosen, "next",
      "Print the next ticks of a schedule, or of --cron without asking a server", options, next);
  CLI::Option* next_name = add_name(next_command, *options);
  next_name->excludes(add_cron(next_command, *options));
  next_name->excludes(next_command.get_option("--time-zone"));
  next_command.add_option("--limit,-n", options->count, "So many")
      ->type_name("N")
      ->check(CLI::Range(uint64_t{1}, kTicksShown))
      ->capture_default_str();
}

}  // namespace weft::cli
