// fork and exec, and the ready line.
#include "client/cli/bench/own_daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

namespace weft::cli {
namespace {

StatusOr<std::string> find_weftd() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path beside = self.parent_path() / "weftd";
  if (!error && access(beside.c_str(), X_OK) == 0) return beside.string();
  return make_status(StatusCode::kNotFound,
                     "there is no weftd beside weft (" + beside.string() +
                         "): build or install it, or measure a running one with --running");
}

// The first line of `fd`, or nothing when it ends before.
std::string read_line(int fd) {
  std::string line;
  char c = 0;
  ssize_t got = 0;
  while ((got = ::read(fd, &c, 1)) == 1 || (got < 0 && errno == EINTR)) {
    if (got < 0) continue;
    if (c == '\n') return line;
    line += c;
  }
  return {};
}

std::string field(const std::string& line, const std::string& name) {
  const size_t at = line.find(" " + name + "=");
  if (at == std::string::npos) return {};
  const size_t begin = at + name.size() + 2;
  return line.substr(begin, line.find(' ', begin) - begin);
}

}  // namespace

StatusOr<std::unique_ptr<OwnDaemon>> OwnDaemon::start(const std::string& store,
                                                      std::vector<std::string> options) {
  auto daemon = std::unique_ptr<OwnDaemon>(new OwnDaemon());
  const char* base = getenv("TMPDIR");
  std::string pattern =
      std::string(base != nullptr && *base != '\0' ? base : "/tmp") + "/weft-bench-XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) {
    return make_status(StatusCode::kUnavailable, "cannot make a folder like " + pattern + " (" +
                                                     std::strerror(errno) +
                                                     "): set TMPDIR to one that is writable");
  }
  daemon->folder_ = pattern;
  daemon->store_ = store == "sqlite:" ? "sqlite:" + pattern + "/weft.db" : store;
  if (const Status status = daemon->spawn(std::move(options)); !status.ok()) return status;
  return daemon;
}

OwnDaemon::~OwnDaemon() {
  stop();
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

Status OwnDaemon::restart(std::vector<std::string> options) {
  stop();
  return spawn(std::move(options));
}

Status OwnDaemon::spawn(std::vector<std::string> options) {
  const StatusOr<std::string> program = find_weftd();
  if (!program.ok()) return program.status();
  std::vector<std::string> words = {*program,  "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
                                    "--store", store_,     "--log-level", "warn"};
  words.insert(words.end(), options.begin(), options.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) {
    return make_status(StatusCode::kUnavailable,
                       std::string("cannot make a pipe: ") + std::strerror(errno));
  }
  sigset_t none;
  sigemptyset(&none);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {  // only what is safe after fork() beside other threads
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::dup2(fds[1], STDOUT_FILENO);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(fds[1]);
  const std::string line = pid_ > 0 ? read_line(fds[0]) : std::string();
  ::close(fds[0]);
  address_ = field(line, "grpc");
  if (!address_.empty()) return absl::OkStatus();
  stop();
  return make_status(StatusCode::kUnavailable,
                     "weftd did not start: what it said stands above this line");
}

void OwnDaemon::stop() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGTERM);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

}  // namespace weft::cli
