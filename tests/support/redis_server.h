// RedisProcess: a real redis-server in a folder of its own, for one test.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/process.h"

struct redisContext;

namespace weft::testing {

// Of 127.0.0.1; somebody else may take it.
uint16_t free_port();

struct RedisProcessOptions {
  bool tcp = false;  // also on a free port of 127.0.0.1, which stays the same over restarts
  std::string appendfsync = {};             // "everysec", "always" or "no"; empty: nothing is kept
  std::string password = {};                // of the default user
  std::vector<std::string> arguments = {};  // more of redis-server's, as {"--maxmemory", "10mb"}
};

// Answers on a Unix socket, never saves a snapshot by itself, and never evicts.
// Thread: one, which must outlive it: the kernel kills the server when it ends. Lifetime: the
// destructor kills it and removes its folder.
class RedisProcess {
 public:
  // Returns when it answers; a server that does not start is a failure of the test.
  explicit RedisProcess(RedisProcessOptions options = {});
  ~RedisProcess();
  RedisProcess(const RedisProcess&) = delete;
  RedisProcess& operator=(const RedisProcess&) = delete;

  // As --store wants it, with the password; over TCP when there is a port.
  std::string url() const;
  std::string unix_url() const;
  std::string socket_path() const { return (folder_ / "redis.sock").string(); }
  uint16_t port() const { return port_; }
  const std::filesystem::path& folder() const { return folder_; }
  Process& process() { return *process_; }

  // Sends one command and returns its answer: elements a line each, an error with its '-' in front.
  // No answer within Process::kPatience is a failure of the test.
  std::string command(const std::vector<std::string>& words);
  // A number of INFO, as "total_commands_processed"; -1: there is none.
  int64_t info(const std::string& name);
  // Any value of INFO; "": there is none.
  std::string field(const std::string& name);
  // Asks until the field has that value. False: Process::kPatience has passed.
  bool await_field(const std::string& name, const std::string& wanted);

  // SIGKILL. Its folder stays.
  void kill();
  // SIGTERM, and waits for the end.
  void stop();
  // On the same folder, socket and port. `loaded` false: returns as soon as it answers, though that
  // be LOADING.
  void start(bool loaded = true);
  // SIGSTOP, and returns when it stands still; SIGCONT.
  void pause();
  void resume();

 private:
  std::vector<std::string> command_line() const;
  // Nothing: there was no answer.
  std::optional<std::string> ask(const std::vector<std::string>& words);
  void disconnect();
  std::string log() const;

  const RedisProcessOptions options_;
  std::filesystem::path folder_;
  uint16_t port_ = 0;
  std::optional<Process> process_;
  redisContext* connection_ = nullptr;
};

}  // namespace weft::testing
