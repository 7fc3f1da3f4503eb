// Config: what weftd was asked to do. A flag wins over a WEFT_* variable, that over the default.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <weft/base/limits.h>

namespace weft {

struct Config {
  std::string listen_address = "127.0.0.1";
  uint16_t listen_port = 7070;  // 0: a free one
  std::string admin_address = "127.0.0.1";
  uint16_t admin_port = 7071;
  std::string store;                    // its URL, without the password
  std::string store_password;           // of a shared store; never shown
  std::string store_prefix = "weft";    // of every key in a shared store
  int64_t lease_ms = limits::kLeaseMs;  // in a shared store
  size_t concurrency = limits::kConcurrency;
  size_t executor_threads = 1;
  size_t max_resident = limits::kResidentJobs;
  std::vector<std::string> allow_roots;
  std::vector<std::string> allow_hosts;     // of http jobs: NAME, NAME:PORT or *.DOMAIN
  std::vector<std::string> allow_exec;      // of exec jobs: absolute paths of programs
  std::vector<std::string> allow_exec_env;  // of exec jobs: names of variables
  size_t exec_concurrency = limits::kExecProcesses;
  int64_t retention_ms = limits::kRetentionMs;  // of jobs that do not say
  uint64_t free_disk_bytes = limits::kFreeDiskBytes;
  bool run_jobs = true;     // false: role frontend
  bool accept_jobs = true;  // false: role worker
  int64_t stall_ms = limits::kStallMs;
  int64_t grace_ms = 30'000;
  std::string log_level = "info";
};

struct ParsedConfig {
  Config config;
  std::string text;                 // not empty: print it and exit 0 (--help, --version)
  std::vector<std::string> errors;  // every one there is; not empty: print them and exit 2
};

// Reads an environment variable; tests bring their own.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
Environment process_environment();

// Daemons on several machines can share the store of this URL.
bool is_shared_store(const std::string& url);
// Overwrites the password of a store's URL in an argument of main(), which everybody on the machine
// can see for as long as the process lives.
void hide_password(char* argument);

// `arguments` without the program's name.
ParsedConfig parse_config(std::vector<std::string> arguments, const Environment& environment);

}  // namespace weft
