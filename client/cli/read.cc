// weft get, weft watch, weft attach.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <thread>
#include <utility>

#include <weft/base/limits.h>

#include "client/cli/cli.h"
#include "client/cli/exit_code.h"
#include "client/cli/follow.h"
#include "client/cli/output.h"

namespace weft::cli {
namespace {

struct ReadOptions {
  std::string id;
  uint64_t from = 0;
  bool all_attempts = false;
  bool raw = false;
  double deadline_s = 0;
  int64_t deadline_ms() const { return to_ms(deadline_s); }
};

// A queued job of a type that nobody runs waits in vain: its submitter may have misspelt it, or the
// worker for it may be down.
void warn_of_type(Client& client, const std::string& type) {
  const StatusOr<v1::ListWorkersResponse> answer = client.workers();
  if (!answer.ok()) return;  // what was asked for is shown all the same
  for (const v1::Worker& worker : answer->workers()) {
    if (std::ranges::find(worker.types(), type) != worker.types().end()) return;
  }
  std::fprintf(stderr, "weft: no live worker for this type: '%s' waits until one has a handler\n",
               type.c_str());
}

int get(const Globals& globals, const ReadOptions& options) {
  Client client(globals.client_options());
  StatusOr<v1::Job> job = client.get(options.id);
  if (!job.ok()) return report(job.status());
  if (job->state() == v1::JOB_STATE_QUEUED) warn_of_type(client, job->spec().type());
  Output out;
  out.add(globals.output() == Format::kTable ? job_table(*job)
                                             : document(job_json(*job), globals.output()));
  return out.finish();
}

}  // namespace

void tell_failure(Client& client, const std::string& job_id, uint64_t attempt) {
  const StatusOr<v1::Job> job = client.get(job_id);
  if (!job.ok()) return;  // it is not what was asked for
  for (const v1::AttemptError& error : job->errors()) {
    if (error.attempt() + 1 != attempt) continue;
    std::fprintf(stderr, "weft: attempt %llu failed: %s: %s\n",
                 static_cast<unsigned long long>(error.attempt()), error.error_code().c_str(),
                 one_line(error.error_message()).c_str());
  }
}

namespace {

int watch(const Globals& globals, const ReadOptions& options) {
  Interrupt interrupt;
  Client client(globals.client_options());
  ResultStream stream = client.watch({.job_id = options.id,
                                      .from_sequence = options.from,
                                      .all_attempts = options.all_attempts,
                                      .deadline_ms = options.deadline_ms()});
  return follow(client, stream, options.id, globals.output(), interrupt, options.raw);
}

// Each line of standard input is a send, until its end or the end of the attachment. Returns how
// many lines it has read and could not send any more.
size_t send_lines(Attachment& attachment, int end_fd) {
  std::string pending;
  bool skip = false;  // the rest of a line that is too long
  char buffer[4096];
  for (;;) {
    pollfd fds[] = {{STDIN_FILENO, POLLIN, 0}, {end_fd, POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0) continue;
    if (fds[1].revents != 0) return 0;
    const ssize_t got = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (got < 0) return 0;
    pending.append(buffer, static_cast<size_t>(got));
    if (got == 0 && !pending.empty()) pending += '\n';
    size_t begin = 0;
    for (size_t end; (end = pending.find('\n', begin)) != std::string::npos; begin = end + 1) {
      if (std::exchange(skip, false)) continue;
      const Status status = attachment.send(pending.substr(begin, end - begin));
      if (status.code() == StatusCode::kFailedPrecondition) {
        const auto at = pending.begin() + static_cast<std::ptrdiff_t>(begin);
        return static_cast<size_t>(std::count(at, pending.end(), '\n'));
      }
      if (!status.ok()) report(status);
    }
    pending.erase(0, begin);
    if (got == 0) return 0;
    if (pending.size() > limits::kSendBytes) {
      if (!std::exchange(skip, true)) {
        report(make_status(StatusCode::kInvalidArgument,
                           "a line is longer than the limit of a send, " +
                               std::to_string(limits::kSendBytes) + " bytes: it is left out"));
      }
      pending.clear();
    }
  }
}

int attach(const Globals& globals, const ReadOptions& options) {
  Interrupt interrupt;
  Client client(globals.client_options());
  Attachment attachment = client.attach({.job_id = options.id,
                                         .from_sequence = options.from,
                                         .all_attempts = options.all_attempts,
                                         .deadline_ms = options.deadline_ms()});
  size_t unsent = 0;
  std::thread sender([&] { unsent = send_lines(attachment, interrupt.end_fd()); });
  const int code = follow(client, attachment, options.id, globals.output(), interrupt, options.raw);
  interrupt.end();
  attachment.stop();
  sender.join();
  if (unsent += attachment.pending_sends(); unsent > 0 && code != kOutputClosed) {
    std::fprintf(stderr, "weft: the last %zu lines typed may not have reached the job\n", unsent);
  }
  return code;
}

void add_reading_options(CLI::App& command, ReadOptions& options) {
  command.add_option("id", options.id, "The job's id")->type_name("ID")->check(text())->required();
  command.add_option("--from", options.from, "First sequence wanted (default: the oldest kept)")
      ->type_name("N")
      ->check(sequence());
  command.add_flag("--all-attempts", options.all_attempts,
                   "Also chunks that a later attempt replaced");
  command.add_flag("--raw", options.raw, kRawHelp);
  command.add_option("--deadline", options.deadline_s, "Give up reading after so long")
      ->type_name("SECONDS")
      ->check(seconds());
}

}  // namespace

void add_read_commands(CLI::App& app, const Globals& globals, Command& chosen) {
  auto options = std::make_shared<ReadOptions>();

  CLI::App& get_command = *app.add_subcommand("get", "Show what is stored about a job");
  get_command.add_option("id", options->id, "The job's id")
      ->type_name("ID")
      ->check(text())
      ->required();
  get_command.callback([&globals, &chosen, options] {
    chosen = [&globals, options] { return get(globals, *options); };
  });

  CLI::App& watch_command = *app.add_subcommand(
      "watch", "Print a job's chunks without asking for more, and exit with its outcome");
  add_reading_options(watch_command, *options);
  watch_command.callback([&globals, &chosen, options] {
    chosen = [&globals, options] { return watch(globals, *options); };
  });

  CLI::App& attach_command = *app.add_subcommand(
      "attach",
      "Print a job's chunks and steer it: each line typed is sent to the job; an empty "
      "line ends the input of an exec job");
  add_reading_options(attach_command, *options);
  attach_command.callback([&globals, &chosen, options] {
    chosen = [&globals, options] { return attach(globals, *options); };
  });
}

}  // namespace weft::cli
