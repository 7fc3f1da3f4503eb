// weft list, weft result, weft retry, weft delete.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include <weft/base/limits.h>

#include "client/cli/change.h"
#include "client/cli/cli.h"
#include "client/cli/exit_code.h"
#include "client/cli/interrupt.h"
#include "client/cli/output.h"
#include "client/cli/time_text.h"

namespace weft::cli {
namespace {

struct ListOptions {
  FilterOptions filter;
  uint64_t limit = 100;
};

std::string padded(std::string text, size_t width) {
  if (text.size() < width) text.resize(width, ' ');
  return text + "  ";
}

std::string table_line(const std::string& id, const std::string& state, const std::string& queue,
                       const std::string& type, const std::string& attempt,
                       const std::string& submitted, const std::string& note) {
  std::string line = padded(id, 28) + padded(state, 9) + padded(queue, 12) + padded(type, 12) +
                     padded(attempt, 7) + padded(submitted, 24) + note;
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

std::string table_line(const v1::Job& job) {
  const nlohmann::ordered_json json = job_json(job);
  std::string note = job.outcome().error_code();
  if (note.empty() && job.has_progress()) {
    char percent[16];
    std::snprintf(percent, sizeof percent, "%.0f%%", job.progress().fraction() * 100);
    note = percent;
  }
  if (job.has_due_time()) note = "due " + time_text(job.due_time());
  return table_line(job.spec().id(), state_name(job.state()), job.spec().queue(), job.spec().type(),
                    std::to_string(job.attempt()), json.value("submit_time", ""), note);
}

// A list carries no payloads and no results: nothing is shown rather than an empty one.
nlohmann::ordered_json listed_json(const v1::Job& job) {
  nlohmann::ordered_json json = job_json(job);
  json.erase("payload");
  json.erase("result");
  return json;
}

// jsonl: a job a line, as it comes; json: one array.
int list(const Globals& globals, const ListOptions& options) {
  Client client(globals.client_options());
  v1::ListJobsRequest request;
  *request.mutable_filter() = options.filter.filter();
  request.set_page_size(static_cast<int>(std::min<uint64_t>(options.limit, limits::kPageSizeMax)));
  Output out;
  uint64_t count = 0;
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  JobList jobs = client.jobs(std::move(request));
  for (const v1::Job& job : jobs) {
    if (count++ == options.limit) break;
    if (globals.output() == Format::kTable) {
      if (count == 1) {
        out.add_line(table_line("ID", "STATE", "QUEUE", "TYPE", "ATTEMPT", "SUBMITTED", ""));
      }
      out.add_line(table_line(job));
    } else if (globals.output() == Format::kJsonl) {
      out.add(document(listed_json(job), Format::kJsonl));
    } else {
      all.push_back(listed_json(job));
    }
    if (out.code() != kSucceeded) return out.finish();
  }
  if (!jobs.status().ok()) {
    out.flush();
    return report(jobs.status());
  }
  if (globals.output() == Format::kJson) out.add(document(all, Format::kJson));
  const int code = out.finish();
  if (globals.output() == Format::kTable && count > options.limit) {
    std::fprintf(stderr, "weft: there are more: --limit shows more than %llu\n",
                 static_cast<unsigned long long>(options.limit));
  }
  return code;
}

struct IdOptions {
  std::string id;
  bool no_wait = false;
  double deadline_s = 0;
};

int print_result(const Globals& globals, const std::string& id, const v1::Job& job) {
  const v1::Outcome& outcome = job.outcome();
  Output out;
  if (globals.output() != Format::kTable) {
    nlohmann::ordered_json json = {{"id", id}, {"state", state_name(job.state())}};
    if (job.state() == v1::JOB_STATE_SUCCEEDED) {
      put_bytes(json, "result", outcome.result());
    } else {
      json["error_code"] = outcome.error_code();
      json["error_message"] = outcome.error_message();
    }
    out.add(document(json, globals.output()));
  } else if (job.state() == v1::JOB_STATE_SUCCEEDED) {
    out.add_line(outcome.result());
  } else {
    std::fprintf(stderr, "weft: job %s is %s: %s: %s\n", id.c_str(),
                 state_name(job.state()).c_str(), outcome.error_code().c_str(),
                 outcome.error_message().c_str());
  }
  const int code = out.finish();
  return code == kSucceeded ? exit_code_of(job.state()) : code;
}

// Waits for the job's end without reading the chunks it has yielded so far.
int result(const Globals& globals, const IdOptions& options) {
  Interrupt interrupt;
  Client client(globals.client_options());
  interrupt.on_signal([&client] { client.stop(); });
  StatusOr<v1::Job> job = client.get(options.id);
  if (!job.ok()) return interrupt.received() ? int{kInterrupted} : report(job.status());
  if (job->has_finish_time()) return print_result(globals, options.id, *job);
  if (options.no_wait) {
    return report(make_status(StatusCode::kFailedPrecondition,
                              "job " + options.id + " is " + state_name(job->state()) +
                                  " and has no result yet: leave out --no-wait to wait for it"));
  }
  ResultStream stream = client.watch({.job_id = options.id,
                                      .from_sequence = job->last_sequence() + 1,
                                      .deadline_ms = to_ms(options.deadline_s)});
  interrupt.on_signal([&stream] { stream.stop(); });
  for (;;) {
    StatusOr<std::optional<v1::Event>> event = stream.next();
    if (!event.ok()) {
      interrupt.on_signal(nullptr);
      return interrupt.received() ? int{kInterrupted} : report(event.status());
    }
    if (!event->has_value()) break;
    if ((*event)->has_finished()) {
      job->set_state((*event)->finished().state());
      *job->mutable_outcome() = (*event)->finished().outcome();
    }
  }
  interrupt.on_signal(nullptr);
  return print_result(globals, options.id, *job);
}

int retry(const Globals& globals, const ChangeOptions& options) {
  Client client(globals.client_options());
  const StatusOr<v1::Job> job = client.retry(options.id);
  if (!job.ok()) return report(job.status());
  Output out;
  if (globals.output() == Format::kTable) {
    out.add_line(state_name(job->state()));
  } else {
    out.add(document(job_json(*job), globals.output()));
  }
  return out.finish();
}

int remove(const Globals& globals, const ChangeOptions& options) {
  Client client(globals.client_options());
  const Status status = client.remove(options.id);
  if (!status.ok()) return report(status);
  Output out;
  if (globals.output() == Format::kTable) {
    out.add_line("deleted");
  } else {
    out.add(document({{"id", options.id}, {"deleted", true}}, globals.output()));
  }
  return out.finish();
}

}  // namespace

void add_admin_commands(CLI::App& app, const Globals& globals, Command& chosen) {
  auto listing = std::make_shared<ListOptions>();
  CLI::App& list_command = *app.add_subcommand("list", "List jobs, the newest first");
  add_filter_options(list_command, listing->filter);
  list_command.add_option("--limit,-n", listing->limit, "At most so many")
      ->type_name("N")
      ->check(CLI::Range(uint64_t{1}, uint64_t{limits::kQueuedPerQueue}))
      ->capture_default_str();
  list_command.callback([&globals, &chosen, listing] {
    chosen = [&globals, listing] { return list(globals, *listing); };
  });

  auto options = std::make_shared<IdOptions>();
  CLI::App& result_command = *app.add_subcommand(
      "result", "Wait for a job's end, print its result, exit with its outcome");
  result_command.add_option("id", options->id, "The job's id")
      ->type_name("ID")
      ->check(text())
      ->required();
  result_command.callback([&globals, &chosen, options] {
    chosen = [&globals, options] { return result(globals, *options); };
  });
  result_command.add_flag("--no-wait", options->no_wait, "Fail when the job has not ended");
  result_command.add_option("--deadline", options->deadline_s, "Give up waiting after so long")
      ->type_name("SECONDS")
      ->check(seconds());
  add_change_command(app, globals, chosen, "retry", "Run dead jobs again",
                     v1::ChangeJobsRequest::RETRY, std::make_shared<ChangeOptions>(), retry);
  add_change_command(app, globals, chosen, "delete",
                     "Forget jobs that have ended, with their results and chunks",
                     v1::ChangeJobsRequest::REMOVE, std::make_shared<ChangeOptions>(), remove);
}

}  // namespace weft::cli
