// Changes by filter are counted first and asked about; nothing later than the count is touched.
#include "client/cli/change.h"

#include <unistd.h>

#include <cstdio>
#include <memory>

#include "client/cli/exit_code.h"
#include "client/cli/interrupt.h"
#include "client/cli/output.h"

namespace weft::cli {
namespace {

std::string jobs(uint64_t count) { return std::to_string(count) + (count == 1 ? " job" : " jobs"); }

const char* verb(v1::ChangeJobsRequest::Change change) {
  switch (change) {
    case v1::ChangeJobsRequest::CANCEL:
      return "cancel";
    case v1::ChangeJobsRequest::RETRY:
      return "retry";
    default:
      return "delete";
  }
}

// False: the answer was no.
bool confirmed(const std::string& question) {
  std::fprintf(stderr, "%s [y/N] ", question.c_str());
  const int answer = std::getchar();
  return answer == 'y' || answer == 'Y';
}

int show(const Globals& globals, const v1::ChangeJobsProgress& progress, bool counted) {
  Output out;
  if (globals.output() != Format::kTable) {
    nlohmann::ordered_json json = {{"matched", progress.matched()}};
    if (!counted) {
      json["changed"] = progress.changed();
      json["left"] = progress.left();
      if (progress.has_first_error()) json["first_error"] = progress.first_error().message();
    }
    out.add(document(json, globals.output()));
    const int code = out.finish();
    return code == kSucceeded && progress.left() > 0 ? int{kRefused} : code;
  }
  out.add_line(jobs(counted ? progress.matched() : progress.changed()));
  if (progress.left() > 0) {
    out.flush();
    std::fprintf(stderr, "weft: %s left as they were; the first: %s\n",
                 jobs(progress.left()).c_str(), progress.first_error().message().c_str());
  }
  const int code = out.finish();
  return code == kSucceeded && progress.left() > 0 ? int{kRefused} : code;
}

int change_all(const Globals& globals, v1::ChangeJobsRequest::Change change,
               const ChangeOptions& options) {
  const bool terminal = ::isatty(STDIN_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1;
  if (!options.count && !options.yes && !terminal) {
    return report_usage(make_status(
        StatusCode::kInvalidArgument,
        std::string("to ") + verb(change) +
            " all jobs that match needs --yes where nobody can be asked; --count only counts"));
  }
  Interrupt interrupt;
  Client client(globals.client_options());
  interrupt.on_signal([&client] { client.stop(); });
  v1::ChangeJobsRequest request;
  request.set_change(change);
  *request.mutable_filter() = options.filter.filter();
  request.set_reason(options.reason);
  if (options.count || !options.yes) {
    request.set_count_only(true);
    const auto counted = client.change_jobs(request);
    if (!counted.ok()) return interrupt.received() ? int{kInterrupted} : report(counted.status());
    if (options.count || counted->matched() == 0) return show(globals, *counted, true);
    interrupt.on_signal([] { ::_exit(kInterrupted); });  // while it asks
    if (!confirmed(std::string(verb(change)) + " " + jobs(counted->matched()) + "?")) {
      std::fputs("weft: nothing was changed\n", stderr);
      return kInterrupted;
    }
    interrupt.on_signal([&client] { client.stop(); });
    request.set_count_only(false);
    request.set_snapshot(counted->snapshot());
  }
  const bool shows = ::isatty(STDERR_FILENO) == 1;
  const auto done = client.change_jobs(request, [&](const v1::ChangeJobsProgress& progress) {
    if (shows) std::fprintf(stderr, "\r%s", jobs(progress.changed()).c_str());
  });
  if (shows) std::fputs("\r\33[K", stderr);
  if (!done.ok()) return interrupt.received() ? int{kInterrupted} : report(done.status());
  return show(globals, *done, false);
}

}  // namespace

CLI::App& add_change_command(CLI::App& app, const Globals& globals, Command& chosen,
                             const char* name, const char* help,
                             v1::ChangeJobsRequest::Change change,
                             std::shared_ptr<ChangeOptions> options, ChangeOne one) {
  CLI::App& command = *app.add_subcommand(name, help);
  command.add_option("id", options->id, "The job's id; without it all jobs that match")
      ->type_name("ID")
      ->check(text());
  add_filter_options(command, options->filter);
  command.add_flag("--all", options->all, "All jobs it is possible for");
  command.add_flag("--count", options->count, "Only say how many match");
  command.add_flag("--yes,-y", options->yes, "Do not ask");
  command.callback([&globals, &chosen, options, change, one] {
    chosen = [&globals, options, change, one] {
      const bool many = options->all || !options->filter.empty();
      if (options->id.empty() && !many) {
        return report_usage(make_status(StatusCode::kInvalidArgument,
                                        "say which job: its ID, options like --queue that jobs "
                                        "have to match, or --all"));
      }
      if (!options->id.empty() && (many || options->count)) {
        return report_usage(make_status(StatusCode::kInvalidArgument,
                                        "an ID and options that many jobs may match do not go "
                                        "together: leave one of them out"));
      }
      return options->id.empty() ? change_all(globals, change, *options) : one(globals, *options);
    };
  });
  return command;
}

}  // namespace weft::cli
