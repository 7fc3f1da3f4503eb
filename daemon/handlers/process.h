// Process: a child process as a coroutine sees it, from its start to its reaping.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <weft/base/status.h>
#include <weft/runtime/event.h>
#include <weft/runtime/fd_watch.h>
#include <weft/runtime/task.h>

namespace weft::handlers {

// Our end of a pipe to or from a child, without blocking.
// Thread: the loop's. Limits: one task reads or writes.
class Pipe {
 public:
  explicit Pipe(int fd) : fd_(fd), watch_(fd) {}

  // Waits for bytes and puts them into `into`: how many, 0 at the end.
  Task<size_t> read(char* into, size_t size);
  // False: nobody reads the other end any more.
  Task<bool> write(std::string bytes);
  // From now on read() gives what is in the pipe already, and then the end.
  void finish();
  // The same; and what comes later is thrown away up to the end, so that whoever writes goes on.
  Task<void> discard();

 private:
  Task<void> wait_readable();
  size_t take_rest(char* into, size_t size);

  OwnedFd fd_;
  FdWatch watch_;
  CancelScope waiting_;
  size_t left_ = SIZE_MAX;  // bytes that read() may still give
  bool discarding_ = false;
  std::string rest_;  // what was in the pipe when discard() began
};

struct ProcessOptions {
  std::string program;                   // absolute path
  std::vector<std::string> arguments;    // [0] is the name it is called by
  std::vector<std::string> environment;  // NAME=VALUE, all there is
  std::string directory = "/";           // absolute path
  int folder = -1;  // open descriptor that is entered instead: no name is looked up
  std::optional<uint64_t> descriptors;  // soft limit of them; nothing: that of this process
};

// The child leads a process group of its own, has the default signal mask and dispositions and no
// descriptor but the three pipes, and is killed by the kernel when this process dies.
// Thread: the loop's, which must be the thread that lives as long as the process: the kernel kills
// the child when the thread that started it ends. The program ignores SIGPIPE and not SIGCHLD.
// Lifetime: the destructor kills and reaps a child that was not waited for.
class Process {
 public:
  // Blocks until the child has become the program. Errors: one sentence that names the program.
  static StatusOr<std::unique_ptr<Process>> start(const ProcessOptions& options);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Waits for the end of the child, then kills what it left in its group, reaps it and lets
  // readers of its output come to an end. Cancellation: throws; the child goes on.
  Task<void> wait();
  // To the whole group.
  void signal(int number) const;

  // Set once wait() has returned.
  const Event& ended() const { return ended_; }
  Event& ended() { return ended_; }
  // As waitpid() gives it, once ended.
  int wait_status() const { return wait_status_; }

  // Nothing: closed.
  std::optional<Pipe>& in() { return in_; }
  Pipe& out() { return *out_; }
  Pipe& err() { return *err_; }

 private:
  Process(pid_t pid, int pidfd, int in, int out, int err);
  void reap(int options);

  const pid_t pid_;
  OwnedFd pidfd_;
  FdWatch exit_;
  std::optional<Pipe> in_;
  std::optional<Pipe> out_;
  std::optional<Pipe> err_;
  Event ended_;
  int wait_status_ = 0;
};

}  // namespace weft::handlers
