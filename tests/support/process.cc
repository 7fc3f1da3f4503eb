// fork, exec, poll and reap.
#include "tests/support/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace weft::testing {
namespace {

using Clock = std::chrono::steady_clock;

int left_ms(Clock::time_point until) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left + 1, 0, 1'000'000));
}

void close_fd(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

// Appends what is there; closes `fd` at its end.
void take(int& fd, std::string& text) {
  char buffer[64 << 10];
  const ssize_t got = ::read(fd, buffer, sizeof buffer);
  if (got > 0) {
    text.append(buffer, static_cast<size_t>(got));
  } else if (got == 0 || errno != EINTR) {
    close_fd(fd);
  }
}

}  // namespace

Process::Process(std::vector<std::string> arguments, ProcessOptions options) {
  int in[2] = {-1, -1}, out[2], err[2];
  if (options.keep_stdin && ::pipe2(in, O_CLOEXEC) != 0) ADD_FAILURE() << "pipe2 failed";
  if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) ADD_FAILURE() << "pipe2 failed";
  std::vector<std::string> variables;
  for (char** entry = ::environ; *entry != nullptr; ++entry) {
    const std::string variable = *entry;
    // The environment of whoever runs the tests must not steer the programs under test.
    if (variable.starts_with("WEFT_")) continue;
    if (!options.environment.contains(variable.substr(0, variable.find('=')))) {
      variables.push_back(variable);
    }
  }
  for (const auto& [name, value] : options.environment) variables.push_back(name + "=" + value);
  std::vector<char*> argv, envp;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  for (std::string& variable : variables) envp.push_back(variable.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);

  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    const int input = options.keep_stdin ? in[0] : ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::dup2(input, STDIN_FILENO);
    ::dup2(out[1], STDOUT_FILENO);
    ::dup2(err[1], STDERR_FILENO);
    if (!options.directory.empty() && ::chdir(options.directory.c_str()) != 0) ::_exit(127);
    ::signal(SIGPIPE, SIG_DFL);
    ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  if (pid_ < 0) ADD_FAILURE() << "fork failed: " << std::strerror(errno);
  pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  close_fd(in[0]);
  close_fd(out[1]);
  close_fd(err[1]);
  in_fd_ = in[1];
  out_fd_ = out[0];
  err_fd_ = err[0];
}

Process::~Process() {
  kill();
  close_fd(in_fd_);
  close_fd(out_fd_);
  close_fd(err_fd_);
  close_fd(pidfd_);
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::exchange(other.pidfd_, -1)),
      in_fd_(std::exchange(other.in_fd_, -1)),
      out_fd_(std::exchange(other.out_fd_, -1)),
      err_fd_(std::exchange(other.err_fd_, -1)),
      out_(std::move(other.out_)),
      err_(std::move(other.err_)) {}

Process& Process::operator=(Process&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(pidfd_, other.pidfd_);
  std::swap(in_fd_, other.in_fd_);
  std::swap(out_fd_, other.out_fd_);
  std::swap(err_fd_, other.err_fd_);
  std::swap(out_, other.out_);
  std::swap(err_, other.err_);
  return *this;
}

bool Process::pump(Clock::time_point until) {
  if (out_fd_ < 0 && err_fd_ < 0) return false;
  pollfd fds[] = {{out_fd_, POLLIN, 0}, {err_fd_, POLLIN, 0}};
  const int ready = ::poll(fds, 2, left_ms(until));
  if (ready == 0 && Clock::now() >= until) return false;
  if (ready > 0 && fds[0].revents != 0) take(out_fd_, out_);
  if (ready > 0 && fds[1].revents != 0) take(err_fd_, err_);
  return true;
}

std::optional<std::string> Process::read_line(Milliseconds deadline) {
  const auto until = Clock::now() + deadline;
  size_t end;
  while ((end = out_.find('\n')) == std::string::npos) {
    if (out_fd_ < 0 || !pump(until)) return std::nullopt;
  }
  std::string line = out_.substr(0, end);
  out_.erase(0, end + 1);
  return line;
}

const std::string& Process::err() {
  for (pollfd fd{err_fd_, POLLIN, 0}; err_fd_ >= 0 && ::poll(&fd, 1, 0) > 0;) take(err_fd_, err_);
  return err_;
}

bool Process::write(const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t written = ::write(in_fd_, text.data() + done, text.size() - done);
    if (written < 0 && errno != EINTR) return false;
    if (written > 0) done += static_cast<size_t>(written);
  }
  return true;
}

void Process::close_stdin() { close_fd(in_fd_); }
void Process::close_stdout() { close_fd(out_fd_); }

void Process::signal(int number) {
  if (pid_ > 0) ::kill(pid_, number);
}

Ended Process::wait(Milliseconds deadline) {
  const auto until = Clock::now() + deadline;
  close_stdin();
  while (pump(until)) {
  }
  pollfd ended{pidfd_, POLLIN, 0};
  if (pid_ > 0 && ::poll(&ended, 1, left_ms(until)) == 0) {
    ADD_FAILURE() << "process " << pid_ << " did not end in time; standard error:\n" << err_;
    ::kill(pid_, SIGKILL);
  }
  Ended result;
  int status = 0;
  if (pid_ > 0) {
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  pid_ = -1;
  result.out = std::move(out_);
  result.err = std::move(err_);
  return result;
}

void Process::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

size_t Process::rss_bytes() const {
  const std::string path = "/proc/" + std::to_string(pid_) + "/statm";
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return 0;
  long total = 0, resident = 0;
  const int fields = std::fscanf(file, "%ld %ld", &total, &resident);
  std::fclose(file);
  return fields == 2 ? static_cast<size_t>(resident) * static_cast<size_t>(::getpagesize()) : 0;
}

Ended run_process(std::vector<std::string> arguments, ProcessOptions options) {
  return Process(std::move(arguments), std::move(options)).wait();
}

}  // namespace weft::testing
