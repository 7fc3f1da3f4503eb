// Daemon: a real weftd on a free port, and `weft` commands that talk to it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/process.h"

namespace weft::testing {

// Lifetime: removed with all that is in it.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

void write_file(const std::string& path, const std::string& content);

// Paths of the programs under test.
std::string weftd_path();
std::string weft_path();

struct DaemonOptions {
  std::string store = "memory:";
  std::string listen = "127.0.0.1:0";
  std::string admin = "127.0.0.1:0";
  std::vector<std::string> arguments = {};
  std::vector<std::string> wrapper = {};  // words before weftd's own; must end in an exec of it
  std::string program = weftd_path();     // or another one that has its options
};

// Thread: one; that thread must outlive it. Lifetime: the destructor kills it.
class Daemon {
 public:
  // Returns when it serves; a daemon that does not start is a failure of the test.
  explicit Daemon(DaemonOptions options = {});

  const std::string& address() const { return address_; }
  const std::string& admin_address() const { return admin_address_; }
  const std::string& ready_line() const { return ready_line_; }
  Process& process() { return process_; }

  // Runs `weft` with these arguments to its end.
  Ended weft(std::vector<std::string> arguments) const;
  // Starts it and leaves its standard input open.
  Process start_weft(std::vector<std::string> arguments) const;
  // Submits and returns the id.
  std::string submit(const std::string& type, const std::string& payload,
                     std::vector<std::string> more = {}) const;

 private:
  // A value of the ready line.
  std::string field(const std::string& name) const;

  Process process_;
  std::string ready_line_;
  std::string address_;
  std::string admin_address_;
};

// The command line of a daemon, for those that are not expected to start.
std::vector<std::string> daemon_command(const DaemonOptions& options);

// Under a sanitizer, memory and speed say nothing.
constexpr bool kSanitized =
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer) || \
    __has_feature(thread_sanitizer)
    true;
#else
    false;
#endif

}  // namespace weft::testing
