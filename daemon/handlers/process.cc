// vfork and execve: the child borrows this process's memory until it is the program, so starting
// one costs the same however large the daemon is.
#include "daemon/handlers/process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include <weft/base/check.h>
#include <weft/runtime/sleep.h>

namespace weft::handlers {
namespace {

// What went wrong in the child before it was the program.
struct StartFailure {
  enum Step : int { kSetUp, kDirectory, kProgram };
  Step step;
  int error;
};

// Both ends, above the three standard descriptors: those may be closed here, and dup2() of a
// descriptor to itself would leave it to be closed at the exec.
class PipePair {
 public:
  PipePair() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return;
    for (size_t i = 0; i < 2; ++i) {
      fds_[i] = ends[i] > STDERR_FILENO ? ends[i] : fcntl(ends[i], F_DUPFD_CLOEXEC, 3);
      if (fds_[i] != ends[i]) close(ends[i]);
    }
  }
  ~PipePair() {
    for (const int fd : fds_) {
      if (fd >= 0) close(fd);
    }
  }
  PipePair(const PipePair&) = delete;
  PipePair& operator=(const PipePair&) = delete;

  bool ok() const { return fds_[0] >= 0 && fds_[1] >= 0; }
  int read_end() const { return fds_[0]; }
  int write_end() const { return fds_[1]; }
  int release(size_t end) { return std::exchange(fds_[end], -1); }
  void close_end(size_t end) { close(release(end)); }

 private:
  std::array<int, 2> fds_ = {-1, -1};
};

// All that the child needs, made before it exists: it must not allocate.
struct ChildPlan {
  const char* program;
  char* const* arguments;
  char* const* environment;
  const char* directory;
  int folder;
  const rlimit* descriptors;  // null: as they are
  std::array<int, 3> standard;
  int report;
  pid_t parent;
};

[[noreturn]] void give_up(const ChildPlan& plan, StartFailure::Step step) {
  const StartFailure failure{step, errno};
  [[maybe_unused]] const ssize_t written = write(plan.report, &failure, sizeof failure);
  _exit(127);
}

// Runs in the child, in the memory of the parent, with all signals blocked: system calls only.
[[noreturn]] void become_program(const ChildPlan& plan) {
  // Before any signal is let in: a handler of the daemon would run in the daemon's memory.
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) sigaction(number, &standard, nullptr);
  if (setpgid(0, 0) != 0) give_up(plan, StartFailure::kSetUp);
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) give_up(plan, StartFailure::kSetUp);
  if (getppid() != plan.parent) _exit(127);  // it died before the line above
  for (int fd = 0; fd < 3; ++fd) {
    if (dup2(plan.standard[static_cast<size_t>(fd)], fd) < 0) give_up(plan, StartFailure::kSetUp);
  }
  // At the exec, so that a failure can still be told.
  if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) != 0) {
    give_up(plan, StartFailure::kSetUp);
  }
  const int entered = plan.folder >= 0 ? fchdir(plan.folder) : chdir(plan.directory);
  if (entered != 0) give_up(plan, StartFailure::kDirectory);
  if (plan.descriptors != nullptr && setrlimit(RLIMIT_NOFILE, plan.descriptors) != 0) {
    give_up(plan, StartFailure::kSetUp);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execve(plan.program, plan.arguments, plan.environment);
  give_up(plan, StartFailure::kProgram);
}

// A function of its own: nothing that the compiler keeps across vfork() may change in the child.
__attribute__((noinline)) pid_t start_child(const ChildPlan& plan) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = vfork();
  if (pid == 0) become_program(plan);
  const int error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  return pid;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> list;
  list.reserve(texts.size() + 1);
  for (const std::string& text : texts) list.push_back(const_cast<char*>(text.c_str()));
  list.push_back(nullptr);
  return list;
}

std::string describe(int error) { return std::generic_category().message(error); }

Status cannot_start(const std::string& program, int error) {
  return make_status(StatusCode::kUnavailable,
                     "'" + program + "' cannot be started (" + describe(error) +
                         "): the machine is short of processes, descriptors or memory, so try "
                         "again later");
}

Status failed_start(const ProcessOptions& options, const StartFailure& failure) {
  switch (failure.step) {
    case StartFailure::kDirectory:
      return make_status(StatusCode::kFailedPrecondition,
                         "cwd '" + options.directory + "' cannot be entered (" +
                             describe(failure.error) + "): give a folder that is there");
    case StartFailure::kProgram:
      return make_status(StatusCode::kFailedPrecondition,
                         "'" + options.program + "' cannot be run (" + describe(failure.error) +
                             "): check the file where weftd runs");
    case StartFailure::kSetUp:
      break;
  }
  return cannot_start(options.program, failure.error);
}

void kill_and_reap(pid_t pid) {
  kill(pid, SIGKILL);
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void set_nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

}  // namespace

void Pipe::finish() {
  int waiting = 0;
  // Counted: whoever else holds the other end may never stop writing.
  left_ = ioctl(fd_.get(), FIONREAD, &waiting) == 0 ? static_cast<size_t>(waiting) : 0;
  waiting_.cancel(CancelReason::kSiblingFailed);
}

Task<void> Pipe::discard() {
  int waiting = 0;
  if (left_ > 0) ioctl(fd_.get(), FIONREAD, &waiting);
  rest_.resize(std::min(static_cast<size_t>(waiting), left_));
  const ssize_t kept = ::read(fd_.get(), rest_.data(), rest_.size());
  rest_.resize(kept > 0 ? static_cast<size_t>(kept) : 0);
  discarding_ = true;
  waiting_.cancel(CancelReason::kSiblingFailed);  // from here on only this task waits
  std::array<char, 64 << 10> thrown_away;
  for (;;) {
    const ssize_t got = ::read(fd_.get(), thrown_away.data(), thrown_away.size());
    if (got > 0) {
      co_await yield_now();  // one that never stops writing must not hold the loop
    } else if (got < 0 && errno == EAGAIN) {
      watch_.clear_readable();
      co_await watch_.readable();
    } else if (got == 0 || errno != EINTR) {
      co_return;
    }
  }
}

size_t Pipe::take_rest(char* into, size_t size) {
  const size_t taken = rest_.copy(into, size);
  rest_.erase(0, taken);
  return taken;
}

Task<void> Pipe::wait_readable() { co_await watch_.readable(); }

Task<size_t> Pipe::read(char* into, size_t size) {
  for (;;) {
    if (discarding_) co_return take_rest(into, size);
    if (left_ == 0) co_return 0;
    const ssize_t got = ::read(fd_.get(), into, std::min(size, left_));
    if (got >= 0) {
      if (waiting_.cancel_called()) left_ -= static_cast<size_t>(got);
      co_return static_cast<size_t>(got);
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN || waiting_.cancel_called()) co_return 0;
    watch_.clear_readable();
    Task<bool> wait = waiting_.run(wait_readable());
    co_await wait;  // when it is cut short, what is left is read above
  }
}

Task<bool> Pipe::write(std::string bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t put = ::write(fd_.get(), bytes.data() + done, bytes.size() - done);
    if (put >= 0) {
      done += static_cast<size_t>(put);
    } else if (errno == EAGAIN) {
      watch_.clear_writable();
      co_await watch_.writable();
    } else if (errno != EINTR) {
      co_return false;
    }
  }
  co_return true;
}

StatusOr<std::unique_ptr<Process>> Process::start(const ProcessOptions& options) {
  PipePair in, out, err, report;
  if (!in.ok() || !out.ok() || !err.ok() || !report.ok()) {
    return cannot_start(options.program, errno);
  }
  const std::vector<char*> arguments = pointers(options.arguments);
  const std::vector<char*> environment = pointers(options.environment);
  rlimit descriptors{};
  const bool limited = options.descriptors && getrlimit(RLIMIT_NOFILE, &descriptors) == 0;
  if (limited) descriptors.rlim_cur = std::min<rlim_t>(*options.descriptors, descriptors.rlim_max);
  const ChildPlan plan{options.program.c_str(),
                       arguments.data(),
                       environment.data(),
                       options.directory.c_str(),
                       options.folder,
                       limited ? &descriptors : nullptr,
                       {in.read_end(), out.write_end(), err.write_end()},
                       report.write_end(),
                       getpid()};
  const pid_t pid = start_child(plan);
  if (pid < 0) return cannot_start(options.program, errno);
  report.close_end(1);
  StartFailure failure{StartFailure::kSetUp, EIO};
  ssize_t told;
  do {
    told = read(report.read_end(), &failure, sizeof failure);
  } while (told < 0 && errno == EINTR);
  if (told != 0) {
    kill_and_reap(pid);
    return failed_start(options, failure);
  }
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (pidfd < 0) {
    const Status status = cannot_start(options.program, errno);
    kill(-pid, SIGKILL);
    kill_and_reap(pid);
    return status;
  }
  fcntl(pidfd, F_SETFD, FD_CLOEXEC);
  const int ends[3] = {in.release(1), out.release(0), err.release(0)};
  for (const int fd : ends) set_nonblocking(fd);
  return std::unique_ptr<Process>(new Process(pid, pidfd, ends[0], ends[1], ends[2]));
}

Process::Process(pid_t pid, int pidfd, int in, int out, int err)
    : pid_(pid), pidfd_(pidfd), exit_(pidfd) {
  in_.emplace(in);
  out_.emplace(out);
  err_.emplace(err);
}

Process::~Process() {
  if (ended_.is_set()) return;
  signal(SIGKILL);
  reap(0);
}

void Process::signal(int number) const {
  if (ended_.is_set()) return;
  // A child that has left its group is no safer for it.
  if (kill(-pid_, number) != 0 || number == SIGKILL) kill(pid_, number);
}

Task<void> Process::wait() {
  for (;;) {
    // Only looked at: as long as the child is not reaped, nobody else can have its group's number.
    siginfo_t info = {};
    const int looked = waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT);
    WEFT_CHECK(looked == 0 || errno == EINTR, "a child is there until it is reaped");
    if (looked == 0 && info.si_pid == pid_) break;
    exit_.clear_readable();
    co_await exit_.readable();
  }
  signal(SIGKILL);
  reap(WNOHANG);
  ended_.set();
  out_->finish();
  err_->finish();
}

void Process::reap(int options) {
  while (waitpid(pid_, &wait_status_, options) < 0 && errno == EINTR) {
  }
}

}  // namespace weft::handlers
