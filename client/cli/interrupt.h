// Interrupt: Ctrl-C and SIGTERM as an event that ends a read, instead of the process.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

namespace weft::cli {

// Make it before anything starts threads: they inherit the blocked signals. A second signal ends
// the process at once, for when the first one cannot get through a blocked terminal.
// Thread: made and destroyed on one; on_signal's function runs on the watcher's.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  // What the first signal does; at once if it came before. nullptr: nothing.
  void on_signal(std::function<void()> action);
  bool received() const { return received_; }
  // Readable from the destructor on: for threads that have to end with it.
  int end_fd() const { return end_fd_; }
  // Tells those threads earlier.
  void end();

 private:
  void watch();

  int signal_fd_;
  int end_fd_;
  std::atomic<bool> received_ = false;
  std::mutex mutex_;
  std::function<void()> action_;
  std::thread watcher_;
};

}  // namespace weft::cli
