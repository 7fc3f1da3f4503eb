// Process: a real program under test, started with pipes, waited for with deadlines, and never left
// behind: the kernel kills it when the test's thread ends.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace weft::testing {

struct ProcessOptions {
  std::map<std::string, std::string> environment;  // added to the test's own
  std::string directory;                           // to start in; empty: the test's own
  bool keep_stdin = false;                         // a pipe for write(); else /dev/null
};

// What a program that ended has left.
struct Ended {
  int exit_code = -1;  // 128 + signal when a signal ended it
  std::string out;
  std::string err;
};

// Thread: the one that made it, for all calls. Lifetime: the destructor kills and reaps.
class Process {
 public:
  using Milliseconds = std::chrono::milliseconds;

  explicit Process(std::vector<std::string> arguments, ProcessOptions options = {});
  ~Process();
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;

  pid_t pid() const { return pid_; }
  // The next line of standard output without its newline; nothing at its end or the deadline.
  std::optional<std::string> read_line(Milliseconds deadline = kPatience);
  // What it wrote to standard output so far and nobody read as lines.
  const std::string& pending_out() const { return out_; }
  // Standard error so far.
  const std::string& err();
  bool write(const std::string& text);
  void close_stdin();
  // Stops reading its output, as a reader that leaves.
  void close_stdout();
  void signal(int number);
  // Reads both outputs to their ends and reaps; kills it at the deadline (exit code 128 + 9).
  Ended wait(Milliseconds deadline = kPatience);
  // SIGKILL and reap.
  void kill();
  bool running() const { return pid_ > 0; }
  // Resident memory.
  size_t rss_bytes() const;

  // Longer than anything takes on a loaded machine under a sanitizer.
  static constexpr Milliseconds kPatience{60'000};

 private:
  // Waits for output, at most until `until`; false: the deadline passed or both outputs ended.
  bool pump(std::chrono::steady_clock::time_point until);

  pid_t pid_ = -1;
  int pidfd_ = -1;
  int in_fd_ = -1;
  int out_fd_ = -1;
  int err_fd_ = -1;
  std::string out_;
  std::string err_;
};

// Starts a program and waits for its end.
Ended run_process(std::vector<std::string> arguments, ProcessOptions options = {});

}  // namespace weft::testing
