// Poller: readiness of file descriptors by edge-triggered epoll, and the wake-up from other
// threads.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weft {

// Told when a registered descriptor's readiness changes.
class PollTarget {
 public:
  // `events` is a mask of EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR. Only takes note and
  // makes tasks ready: must not remove() a registration, whose event may be next in the same batch.
  virtual void on_events(uint32_t events) = 0;

 protected:
  ~PollTarget() = default;
};

// Thread: the loop's, except wake().
class Poller {
 public:
  Poller();
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // Registers for all events, edge-triggered, until remove(). A level-triggered registration
  // (`edge` false, reading only) is for descriptors that other libraries drain, like a nested
  // epoll.
  void add(int fd, PollTarget& target, bool edge = true);
  void remove(int fd);
  size_t registered() const { return registered_; }

  // Waits at most `timeout_ns` (-1: for ever, 0: not at all) and tells the targets. Returns how
  // many events there were.
  int poll(int64_t timeout_ns);
  // Ends a poll() that runs, or the next one. Thread: any.
  void wake();

 private:
  int epoll_fd_;
  int wake_fd_;
  size_t registered_ = 0;
  bool telling_ = false;
  bool coarse_ = false;  // the kernel counts a timeout in milliseconds only
};

}  // namespace weft
