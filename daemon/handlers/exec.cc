// exec: an allowed command; its output lines are chunks, what is sent goes to its standard input.
#include <signal.h>
#include <sys/wait.h>

#include <cstring>

#include <weft/base/limits.h>
#include <weft/runtime/combinators.h>
#include <weft/runtime/sleep.h>

#include "daemon/handlers/exec_command.h"
#include "daemon/handlers/file_tree.h"
#include "daemon/handlers/handlers.h"
#include "daemon/handlers/process.h"

namespace weft::handlers {
namespace {

using std::chrono::milliseconds;

constexpr size_t kReadBytes = 64 << 10;  // a whole pipe
constexpr size_t kTailBytes = 2 << 10;   // of stderr, for the message of a failure

// A command that runs, shared by the tasks that serve it.
class Run {
 public:
  explicit Run(std::unique_ptr<Process> started) : process(std::move(started)) {}
  std::unique_ptr<Process> process;
  bool timed_out = false;
  std::string tail;  // of stderr
  Event errors_read;
};
using RunPtr = std::shared_ptr<Run>;

Task<void> discard_output(RunPtr run) { co_await run->process->out().discard(); }
Task<void> discard_errors(RunPtr run) { co_await run->process->err().discard(); }

// A command may write much while it ends. Nobody waits for that any more, but it must not block in
// it until it is killed. `logged`: log_errors() still reads what it says.
Task<void> stop(RunPtr run, milliseconds kill_after, bool logged) {
  auto body = [&](TaskGroup& group) -> Task<void> {
    group.start(discard_output, run);
    if (!logged) group.start(discard_errors, run);
    run->process->signal(SIGTERM);
    const auto gone = co_await with_timeout(kill_after, run->process->wait());
    if (!gone) {
      run->process->signal(SIGKILL);
      co_await run->process->wait();
    }
    group.cancel(CancelReason::kSiblingFailed);  // others may hold the pipes for ever
  };
  co_await with_group(body);
}

// From the start to the reaping, whatever ends the command. It never gives the job's slot back, so
// a command holds one as long as it is there.
Task<void> supervise(RunPtr run, std::optional<milliseconds> timeout, milliseconds kill_after) {
  CancelScope time;
  if (timeout) time.set_deadline_after(*timeout);
  bool ended = false;
  std::exception_ptr cancelled;
  try {
    ended = co_await time.run(run->process->wait());
  } catch (...) {
    cancelled = std::current_exception();
  }
  if (!ended) {
    run->timed_out = !cancelled;
    CancelScope shield(CancelScope::Kind::kShielded);
    co_await shield.run(stop(run, kill_after, run->timed_out));
  }
  if (cancelled) std::rethrow_exception(cancelled);
}

// Takes a send only once the one before it is in the pipe: a command that does not read holds its
// senders.
Task<void> feed(Job job, RunPtr run) {
  bool told = false;
  for (;;) {
    std::optional<std::string> value = co_await job.receive();
    if (!value) co_return;
    std::optional<Pipe>& in = run->process->in();
    if (!in) {
      if (!told) job.log("sends are ignored: the standard input of the command is closed");
      told = true;
    } else if (value->empty()) {
      in.reset();
    } else {
      const bool taken = co_await in->write(*std::move(value) + "\n");
      if (!taken) in.reset();
    }
  }
}

void keep_tail(std::string& tail, std::string_view bytes) {
  tail.append(bytes);
  if (tail.size() > 2 * kTailBytes) tail.erase(0, tail.size() - kTailBytes);
}

Task<void> log_errors(Job job, RunPtr run) {
  LineCutter lines(limits::kErrorMessageBytes);
  size_t left = limits::kExecStderrBytes;
  bool silent = false;
  auto log = [&](const std::string& line) {
    if (silent) return;
    silent = line.size() > left;
    if (silent) {
      job.log("stderr: more than " + std::to_string(limits::kExecStderrBytes) +
              " bytes: the rest is not logged");
    } else {
      left -= line.size();
      job.log("stderr: " + line);
    }
  };
  std::string buffer(kReadBytes, '\0');
  for (;;) {
    const size_t got = co_await run->process->err().read(buffer.data(), buffer.size());
    if (got == 0) break;
    const std::string_view bytes(buffer.data(), got);
    keep_tail(run->tail, bytes);
    if (!silent) lines.add(bytes);
    while (!silent) {
      const std::optional<std::string> line = lines.next();
      if (!line) break;
      log(*line);
    }
    co_await yield_now();  // one that never stops writing must not hold the loop
  }
  if (const std::optional<std::string> last = lines.rest()) log(*last);
  run->errors_read.set();
}

// What stderr ended with, whole lines if there are any.
std::string last_words(const Run& run) {
  std::string tail = run.tail;
  if (tail.size() > kTailBytes) {
    tail.erase(0, tail.size() - kTailBytes);
    const size_t newline = tail.find('\n');
    if (newline + 1 < tail.size()) tail.erase(0, newline + 1);
  }
  while (tail.ends_with('\n')) tail.pop_back();
  return tail.empty() ? std::string() : ": " + tail;
}

// Off the loop, which a mount that has died would hold. Errors: throws Permanent.
Task<std::shared_ptr<FileDescriptor>> open_cwd(Job job, Roots roots, std::string path) {
  auto open = [roots, path] { return open_folder(*roots, path); };
  const StatusOr<std::shared_ptr<FileDescriptor>> folder = co_await job.offload(open);
  if (folder.ok()) co_return *folder;
  const bool refused = folder.status().code() == absl::StatusCode::kPermissionDenied;
  throw Permanent("cwd: " + std::string(from_absl(folder.status().message())),
                  refused ? "not_allowed" : "cannot_start");
}

// Errors: throws Transient unless the command has succeeded.
void check_end(const Run& run, const ExecCommand& command) {
  const std::string what = "the command '" + command.process.arguments[0] + "' ";
  const int status = run.process->wait_status();
  if (run.timed_out) {
    throw Transient(what + "was stopped after its timeout_ms of " +
                        std::to_string(command.timeout->count()) + last_words(run),
                    "timeout");
  }
  if (WIFSIGNALED(status)) {
    const int number = WTERMSIG(status);
    const char* name = sigabbrev_np(number);
    throw Transient(what + "was killed by signal " + std::to_string(number) +
                        (name == nullptr ? "" : std::string(" (SIG") + name + ")") +
                        last_words(run),
                    "signal");
  }
  if (WEXITSTATUS(status) != 0) {
    throw Transient(
        what + "ended with exit status " + std::to_string(WEXITSTATUS(status)) + last_words(run),
        "exit_status");
  }
}

}  // namespace

// Payload: {"argv": [PROGRAM, ARGUMENT…], "env": {NAME: VALUE}, "cwd": "/", "timeout_ms": N}; only
// `argv` is needed. PROGRAM is one that --allow-exec names, by its path or by its name alone; no
// shell reads the rest. The environment is PATH, LANG, WEFT_JOB_ID and `env`, whose names must all
// be named by --allow-exec-env. `cwd` is / or below a folder that --allow-root names, with no
// symlink on the way.
// Yields each line of standard output, without its newline; one over limits::kExecLineBytes comes
// in pieces. When nobody reads, the command blocks in its next write. Lines of standard error go to
// the daemon's log. Each send is a line for standard input, and an empty one closes it: until then
// a command that reads to the end waits for more.
// Returns {"exit_code": 0}; another exit status, a signal and a timeout are failures, which the
// job's policy retries; a command that is not allowed or cannot be started is one for good. When
// the command ends, or the job is cancelled (SIGTERM, later SIGKILL), all of its process group
// ends; what it prints after the SIGTERM is thrown away. Limits: when weftd itself is killed (kill
// -9), the kernel kills the command, but not what the command has started: the control group of a
// systemd unit, or a container, ends that too.
Stream<std::string, std::monostate> exec(Job job, std::shared_ptr<const ExecSettings> settings) {
  ExecCommand command = read_command(job, *settings);
  command.process.descriptors = settings->descriptors;
  std::shared_ptr<FileDescriptor> folder;
  if (command.folder) folder = co_await open_cwd(job, settings->roots, *command.folder);
  if (folder) command.process.folder = folder->get();
  StatusOr<std::unique_ptr<Process>> started = Process::start(command.process);
  if (!started.ok()) {
    const std::string why(from_absl(started.status().message()));
    if (started.status().code() == StatusCode::kUnavailable) throw Transient(why, "cannot_start");
    throw Permanent(why, "cannot_start");
  }
  auto run = std::make_shared<Run>(*std::move(started));
  job.start(supervise, run, command.timeout, milliseconds(settings->kill_ms));
  job.start(feed, job, run);
  job.start(log_errors, job, run);
  LineCutter lines(limits::kExecLineBytes);
  std::string buffer(kReadBytes, '\0');
  for (;;) {
    const size_t got = co_await run->process->out().read(buffer.data(), buffer.size());
    if (got == 0) break;
    lines.add(std::string_view(buffer.data(), got));
    while (std::optional<std::string> line = lines.next()) co_yield *std::move(line);
  }
  if (std::optional<std::string> last = lines.rest()) co_yield *std::move(last);
  co_await run->process->ended().wait();
  co_await run->errors_read.wait();
  check_end(*run, command);
  job.set_result(R"({"exit_code":0})");
}

}  // namespace weft::handlers
