// A store's folder or prefix; fork, exec, and the ready line.
#include "client/cli/bench/own_daemon.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <system_error>
#include <utility>

#include <weft/base/id.h>
#include <weft/base/random.h>

namespace weft::cli {
namespace {

// Of the daemons that run, for end_all().
std::mutex g_pids_mutex;
std::vector<pid_t> g_pids;
bool g_ended = false;

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

StatusOr<std::unique_ptr<OwnStore>> OwnStore::make(const std::string& url) {
  auto store = std::unique_ptr<OwnStore>(new OwnStore());
  store->url_ = url;
  if (is_redis(url)) {
    auto redis = BenchRedis::connect(url);
    if (!redis.ok()) return redis.status();
    store->redis_ = *std::move(redis);
    Random random = Random::from_system();
    store->prefix_ = "weft-bench-" + make_job_id(0, random);
    return store;
  }
  const char* base = getenv("TMPDIR");
  std::string pattern =
      std::string(base != nullptr && *base != '\0' ? base : "/tmp") + "/weft-bench-XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) {
    return make_status(StatusCode::kUnavailable, "cannot make a folder like " + pattern + " (" +
                                                     std::strerror(errno) +
                                                     "): set TMPDIR to one that is writable");
  }
  store->folder_ = pattern;
  if (url == "sqlite:") store->url_ = "sqlite:" + pattern + "/weft.db";
  return store;
}

OwnStore::~OwnStore() {
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  if (!redis_) return;
  const Status removed = redis_->remove_keys(prefix_);
  if (removed.ok()) return;
  std::fprintf(stderr, "weft: keys that begin with '{%s:' are left in Redis: %s\n", prefix_.c_str(),
               std::string(removed.message()).c_str());
}

std::vector<std::string> OwnStore::daemon_options() const {
  std::vector<std::string> options = {"--store", url_};
  if (redis_) options.insert(options.end(), {"--store-prefix", prefix_});
  return options;
}

StatusOr<std::unique_ptr<OwnDaemon>> OwnDaemon::spawn(const OwnStore& store,
                                                      const std::vector<std::string>& options,
                                                      std::optional<int> cpu) {
  const StatusOr<std::string> program = find_weftd();
  if (!program.ok()) return program.status();
  std::vector<std::string> words = {*program,      "--listen",    "127.0.0.1:0", "--admin",
                                    "127.0.0.1:0", "--log-level", "warn"};
  for (std::string& word : store.daemon_options()) words.push_back(std::move(word));
  words.insert(words.end(), options.begin(), options.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  if (cpu) CPU_SET(*cpu, &cpus);
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) {
    return make_status(StatusCode::kUnavailable,
                       std::string("cannot make a pipe: ") + std::strerror(errno));
  }
  auto daemon = std::unique_ptr<OwnDaemon>(new OwnDaemon());
  daemon->ready_fd_ = fds[0];
  sigset_t none;
  sigemptyset(&none);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) {  // only what is safe after fork() beside other threads
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    if (cpu) ::sched_setaffinity(0, sizeof cpus, &cpus);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::dup2(fds[1], STDOUT_FILENO);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(fds[1]);
  if (pid < 0) {
    return make_status(StatusCode::kUnavailable,
                       std::string("cannot start a process: ") + std::strerror(errno));
  }
  daemon->pid_ = pid;
  const std::lock_guard lock(g_pids_mutex);
  g_pids.push_back(pid);
  if (g_ended) return make_status(StatusCode::kCancelled, "interrupted");
  return daemon;
}

Status OwnDaemon::wait_ready() {
  const std::string line = read_line(ready_fd_);
  address_ = field(line, "grpc");
  worker_ = field(line, "worker");
  if (!address_.empty()) return absl::OkStatus();
  return make_status(StatusCode::kUnavailable,
                     "weftd did not start: what it said stands above this line");
}

void OwnDaemon::end_all() {
  const std::lock_guard lock(g_pids_mutex);
  g_ended = true;
  for (const pid_t pid : g_pids) ::kill(pid, SIGKILL);  // nothing of theirs will be kept
}

OwnDaemon::~OwnDaemon() {
  if (ready_fd_ >= 0) ::close(ready_fd_);
  if (pid_ < 0) return;
  {
    // Once it is waited for, its number may be another process's.
    const std::lock_guard lock(g_pids_mutex);
    std::erase(g_pids, pid_);
  }
  ::kill(pid_, SIGTERM);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace weft::cli
