// OwnStore, OwnDaemon: the store a bench makes for itself, and the weftd processes on it.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <weft/base/status.h>

#include "client/cli/bench/bench_redis.h"

namespace weft::cli {

// Room for jobs that is nobody else's: a folder; in Redis, keys with a prefix of their own.
// Lifetime: outlives its daemons; the destructor removes what they have stored.
class OwnStore {
 public:
  // `url`: "memory:", "sqlite:" (the file is put into the folder), "sqlite:PATH" or Redis'. Errors:
  // UNAVAILABLE without a folder or a server; INVALID_ARGUMENT for a URL that is none of Redis'.
  static StatusOr<std::unique_ptr<OwnStore>> make(const std::string& url);
  ~OwnStore();
  OwnStore(const OwnStore&) = delete;
  OwnStore& operator=(const OwnStore&) = delete;

  // Those a weftd needs to work on it.
  std::vector<std::string> daemon_options() const;
  BenchRedis* redis() { return redis_.get(); }  // nullptr: the store is none

 private:
  OwnStore() = default;

  std::string folder_;
  std::string url_;
  std::string prefix_;
  std::unique_ptr<BenchRedis> redis_;
};

// A process. Thread: one; the process ends with that thread. Lifetime: the destructor ends it in an
// orderly way.
class OwnDaemon {
 public:
  // On a free port; `cpu`: the only one it may use. Errors: NOT_FOUND without a weftd beside weft.
  static StatusOr<std::unique_ptr<OwnDaemon>> spawn(const OwnStore& store,
                                                    const std::vector<std::string>& options,
                                                    std::optional<int> cpu);
  ~OwnDaemon();
  OwnDaemon(const OwnDaemon&) = delete;
  OwnDaemon& operator=(const OwnDaemon&) = delete;

  // Waits until it serves. Errors: UNAVAILABLE when it does not start.
  Status wait_ready();
  const std::string& address() const { return address_; }
  const std::string& worker() const { return worker_; }  // its name in WorkerService

  // Thread: any. Ends every daemon at once, so that calls to them fail, and starts none any more.
  static void end_all();

 private:
  OwnDaemon() = default;

  std::string address_;
  std::string worker_;
  int ready_fd_ = -1;
  pid_t pid_ = -1;
};

}  // namespace weft::cli
