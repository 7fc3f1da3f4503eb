// The stock handlers: count, digest, echo, exec, fail, http, sleep, spin. Each file says what its
// payload is.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <weft/base/limits.h>
#include <weft/worker/registry.h>

namespace weft {

struct StockOptions {
  std::vector<std::string> allow_roots = {};  // digest reads and exec runs below these only
  size_t digest_names = 2'000'000;            // files and folders of one digest, kept in memory
  std::vector<std::string> allow_hosts = {};  // http reaches only these; none: there is no http
  std::vector<std::string> allow_exec =
      {};  // exec starts these programs only; none: there is no exec
  std::vector<std::string> allow_exec_env = {};   // variables that exec's clients may set
  std::optional<uint64_t> exec_descriptors = {};  // soft limit of a command; none: this process's
  size_t exec_concurrency = limits::kExecProcesses;
  int64_t exec_kill_ms = limits::kExecKillMs;  // from SIGTERM to SIGKILL
};

// Adds every stock handler that the options allow to `registry`.
void register_stock_handlers(Registry& registry, StockOptions options);

namespace handlers {

// Folders as digest compares them with a path: absolute, both as given and with symlinks resolved.
using Roots = std::shared_ptr<const std::vector<std::string>>;

class ExecSettings {
 public:
  std::vector<std::string> allowed;      // absolute paths of programs
  std::vector<std::string> allowed_env;  // names of variables
  Roots roots;                           // a command's folder is below one of these
  std::optional<uint64_t> descriptors;
  int64_t kill_ms = limits::kExecKillMs;
};

class HttpSettings;

Stream<std::string, nlohmann::json> count(Job job);
Stream<std::string> digest(Job job, Roots roots, size_t max_names);
Stream<std::string> echo(Job job);
Stream<std::string, std::monostate> exec(Job job, std::shared_ptr<const ExecSettings> settings);
Stream<std::string> http(Job job, std::shared_ptr<HttpSettings> settings);
Task<void> fail(Job job);
Task<void> sleep(Job job);
Task<nlohmann::json> spin(Job job);

}  // namespace handlers
}  // namespace weft
