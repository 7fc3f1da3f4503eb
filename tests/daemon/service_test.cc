// weftd under a service manager: what it reports, the watchdog, and sockets it inherits.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include "tests/support/daemon.h"

namespace weft::testing {
namespace {

using ::testing::HasSubstr;

// The socket of a service manager that was started by nobody.
class NotifySocket {
 public:
  // `name` as in NOTIFY_SOCKET: a path, or "@name" for the abstract namespace.
  explicit NotifySocket(const std::string& name) : name_(name) {
    fd_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path, sizeof(address.sun_path) - 1);
    if (name.front() == '@') address.sun_path[0] = '\0';
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), length), 0) << strerror(errno);
  }
  ~NotifySocket() { close(fd_); }
  const std::string& name() const { return name_; }

  // Whether the next message comes within `ms`, and has `words` in it.
  bool comes(const std::string& words, int ms) {
    pollfd readable{.fd = fd_, .events = POLLIN, .revents = 0};
    if (poll(&readable, 1, ms) <= 0) return false;
    char buffer[4096];
    const ssize_t size = recv(fd_, buffer, sizeof(buffer), 0);
    return size > 0 && std::string(buffer, static_cast<size_t>(size)).find(words) == 0;
  }
  // The next message with `words` in it; empty: it did not come.
  std::string next(const std::string& words) {
    const auto deadline = std::chrono::steady_clock::now() + Process::kPatience;
    while (std::chrono::steady_clock::now() < deadline) {
      pollfd readable{.fd = fd_, .events = POLLIN, .revents = 0};
      if (poll(&readable, 1, 100) <= 0) continue;
      char buffer[4096];
      const ssize_t size = recv(fd_, buffer, sizeof(buffer), 0);
      const std::string message(buffer, size > 0 ? static_cast<size_t>(size) : 0);
      if (message.find(words) != std::string::npos) return message;
    }
    return "";
  }

 private:
  const std::string name_;
  int fd_;
};

TEST(Service, IsToldOfReadyTheWatchdogAndStopping) {
  TempDir folder;
  for (const std::string& name :
       {folder.file("notify"), "@weft-test-" + std::to_string(getpid())}) {
    NotifySocket manager(name);
    ProcessOptions options;
    options.environment = {{"NOTIFY_SOCKET", name}, {"WATCHDOG_USEC", "60000"}};
    Process process(daemon_command({}), options);
    EXPECT_THAT(manager.next("READY=1"), HasSubstr("STATUS=serving on 127.0.0.1:"));
    EXPECT_EQ(manager.next("WATCHDOG=1"), "WATCHDOG=1");
    EXPECT_EQ(manager.next("WATCHDOG=1"), "WATCHDOG=1") << "it is fed again and again";
    process.signal(SIGTERM);
    EXPECT_THAT(manager.next("STOPPING=1"), HasSubstr("STATUS="));
    EXPECT_EQ(process.wait().exit_code, 0);
  }
}

// Its loop held by a job, as a worker may be for a while, but not for ever.
TEST(Service, StopsFeedingTheWatchdogOfALoopThatHangs) {
  if (kSanitized) GTEST_SKIP() << "half a minute that shows no more than the other build";
  TempDir folder;
  NotifySocket manager(folder.file("notify"));
  ProcessOptions options;
  options.environment = {{"NOTIFY_SOCKET", manager.name()}, {"WATCHDOG_USEC", "600000"}};
  Process process(daemon_command({.program = WEFT_BIN_DIR "/trouble_worker"}), options);
  const std::string ready = process.read_line().value_or("");
  const std::string address = ready.substr(ready.find("grpc=") + 5);
  const Ended submit = run_process(
      {weft_path(), "submit", "stuck", "-p", R"({"ms":600000})"},
      {.environment = {{"WEFT_SERVER", address.substr(0, address.find(' '))}}, .directory = {}});
  ASSERT_EQ(submit.exit_code, 0) << submit.err;
  const auto said = [&](const std::string& words) {
    return process.err().find(words) != std::string::npos;
  };
  const auto deadline = std::chrono::steady_clock::now() + 2 * Process::kPatience;
  int fed = 0;
  while (!said("the loop hangs") && std::chrono::steady_clock::now() < deadline) {
    fed += said("(stuck)") && manager.comes("WATCHDOG=1", 100);
  }
  ASSERT_TRUE(said("so the service watchdog is not fed any more")) << process.err();
  EXPECT_GE(fed, 10) << "it is fed for as long as the job may be done soon";
  while (manager.comes("WATCHDOG=1", 0)) {  // on their way since before
  }
  EXPECT_FALSE(manager.comes("WATCHDOG=1", 3000));
}

// A listening socket on a free port, under a descriptor that children inherit.
class ListeningSocket {
 public:
  explicit ListeningSocket(const std::string& host = "127.0.0.1") {
    fd_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    inet_pton(AF_INET, host.c_str(), &address.sin_addr);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(fd_, 16), 0);
    socklen_t length = sizeof(address);
    getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length);
    address_ = host + ":" + std::to_string(ntohs(address.sin_port));
  }
  ~ListeningSocket() { close(fd_); }
  int fd() const { return fd_; }
  const std::string& address() const { return address_; }

 private:
  int fd_;
  std::string address_;
};

// A weftd that finds `fds` from descriptor 3 on, as systemd would start it.
Process start_with_sockets(const std::vector<int>& fds, const std::string& names) {
  // Through high numbers first: a target may be the source of another.
  std::string redirections, moves;
  for (size_t i = 0; i < fds.size(); ++i) {
    redirections += " " + std::to_string(100 + i) + "<&" + std::to_string(fds[i]);
    moves += " " + std::to_string(3 + i) + "<&" + std::to_string(100 + i) + "-";
  }
  std::vector<std::string> command = {
      "/bin/bash", "-c",
      "exec " + redirections + "; export LISTEN_PID=$$; exec \"$0\" \"$@\" " + moves};
  for (const std::string& argument : daemon_command({})) command.push_back(argument);
  ProcessOptions options;
  options.environment = {{"LISTEN_FDS", std::to_string(fds.size())}, {"LISTEN_FDNAMES", names}};
  return Process(std::move(command), options);
}

TEST(Service, ServesOnInheritedSockets) {
  ListeningSocket first("127.0.0.2"), second("127.0.0.3");  // and not what the options say
  const std::string straight = "grpc=" + first.address() + " admin=" + second.address();
  const std::string crossed = "grpc=" + second.address() + " admin=" + first.address();
  struct Case {
    std::string names, ready;
  };
  for (const Case& each :
       {Case{"grpc:admin", straight}, Case{"admin:grpc", crossed},
        Case{"weftd.socket:weftd.socket", straight}, Case{"admin:weftd.socket", crossed}}) {
    Process process = start_with_sockets({first.fd(), second.fd()}, each.names);
    EXPECT_THAT(process.read_line().value_or(process.err()), HasSubstr(each.ready)) << each.names;
    process.signal(SIGTERM);
    EXPECT_EQ(process.wait().exit_code, 0);
  }
}

TEST(Service, RefusesSocketsItHasNoUseFor) {
  ListeningSocket one, two, three;
  struct Case {
    std::vector<int> fds;
    std::string names, words;
  };
  const int file = open("/dev/null", O_RDWR);
  for (const Case& each :
       {Case{{one.fd()}, "metrics", "no use for an inherited socket named 'metrics'"},
        Case{{one.fd(), two.fd()}, "grpc:grpc", "more than one inherited socket"},
        Case{{one.fd(), two.fd(), three.fd()},
             "a.socket:a.socket:a.socket",
             "more than one inherited socket"},
        Case{{file}, "grpc", "is not a listening TCP socket"}}) {
    Process process = start_with_sockets(each.fds, each.names);
    const Ended ended = process.wait();
    EXPECT_EQ(ended.exit_code, 1);
    EXPECT_EQ(ended.out, "");
    EXPECT_THAT(ended.err, HasSubstr(each.words));
  }
  close(file);
}

TEST(Service, PrintsEveryTaskOnSigusr2AndGoesOn) {
  Daemon daemon({.arguments = {"--grace", "0"}});
  Process watch = daemon.start_weft({"run", "count", "-p", R"({"to":100000,"delay_ms":1000})"});
  EXPECT_EQ(watch.read_line(), "1");
  daemon.process().signal(SIGUSR2);
  const auto deadline = std::chrono::steady_clock::now() + Process::kPatience;
  while (daemon.process().err().find("'rpc: accepts'") == std::string::npos &&
         std::chrono::steady_clock::now() < deadline) {
    poll(nullptr, 0, 10);
  }
  EXPECT_THAT(daemon.process().err(), HasSubstr("'weftd': waits for "));
  const std::string dump = daemon.process().err();
  EXPECT_THAT(dump, HasSubstr("'dumps at SIGUSR2': running"));
  for (const std::string& name : {"admin", "admin: accepts", "admin: serves", "stream hub",
                                  "worker", "janitor", "rpc: accepts", "rpc Attach"}) {
    EXPECT_THAT(dump, HasSubstr("'" + name + "': waits for"));
  }
  daemon.process().signal(SIGTERM);
  EXPECT_EQ(daemon.process().wait().exit_code, 0);
}

}  // namespace
}  // namespace weft::testing
