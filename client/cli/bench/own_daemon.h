// OwnDaemon: a weftd that a bench starts for itself, on a free port and in a folder of its own.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include <weft/base/status.h>

namespace weft::cli {

// Thread: one; the daemon ends with that thread. Lifetime: the destructor stops the daemon and
// removes its folder.
class OwnDaemon {
 public:
  // `store`: "memory:" or "sqlite:"; the file is put into the folder. Serves when it returns.
  // Errors: NOT_FOUND without a weftd beside weft; UNAVAILABLE when it does not start.
  static StatusOr<std::unique_ptr<OwnDaemon>> start(const std::string& store,
                                                    std::vector<std::string> options);
  ~OwnDaemon();
  OwnDaemon(const OwnDaemon&) = delete;
  OwnDaemon& operator=(const OwnDaemon&) = delete;

  const std::string& address() const { return address_; }
  // Ends in an orderly way and starts again with other options, on the same store.
  Status restart(std::vector<std::string> options);

 private:
  OwnDaemon() = default;
  Status spawn(std::vector<std::string> options);
  void stop();

  std::string folder_;
  std::string store_;
  std::string address_;
  pid_t pid_ = -1;
};

}  // namespace weft::cli
