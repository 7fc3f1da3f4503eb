// Socket and Listener: a small awaitable stream socket.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <weft/base/status.h>
#include <weft/runtime/fd_watch.h>
#include <weft/runtime/task.h>

namespace weft {

// A connected stream socket. Thread: the loop's. Lifetime: closes its descriptor; must not be
// destroyed while a task waits on it. Limits: one reader and one writer at a time.
class Socket {
 public:
  // Takes over a connected descriptor and makes it non-blocking.
  explicit Socket(int fd);
  ~Socket();
  Socket(Socket&&) noexcept = default;

  // Connects to an IPv4 or IPv6 address (not a host name: resolving would block the loop).
  static Task<StatusOr<Socket>> connect(std::string address, uint16_t port);

  // At most `size` bytes; 0 means the peer will send no more. Errors: UNAVAILABLE.
  Task<StatusOr<size_t>> read(char* buffer, size_t size);
  // All of `data`. Errors: UNAVAILABLE.
  Task<Status> write_all(std::string_view data);
  // No more will be written; the peer reads its end.
  void shutdown_write();
  int fd() const { return watch_->fd(); }

 private:
  std::unique_ptr<FdWatch> watch_;
};

// Listens on an IPv4 or IPv6 address; port 0 picks a free one.
class Listener {
 public:
  // Errors: INVALID_ARGUMENT for an address that does not parse, ALREADY_EXISTS when the port is in
  // use, PERMISSION_DENIED, each with what to do.
  static StatusOr<std::unique_ptr<Listener>> open(const std::string& address, uint16_t port);
  // Takes over a listening TCP socket that somebody else opened, and makes it non-blocking. Errors:
  // INVALID_ARGUMENT for a descriptor that is none; it stays open then.
  static StatusOr<std::unique_ptr<Listener>> adopt(int fd);
  uint16_t port() const { return port_; }
  // The next connection's descriptor, non-blocking. When the process has no descriptor left it
  // waits 100 ms and tries again, so a flood cannot end the server.
  Task<int> accept();

 private:
  Listener(int fd, uint16_t port) : port_(port), fd_(fd), watch_(fd) {}
  uint16_t port_;
  OwnedFd fd_;
  FdWatch watch_;
};

}  // namespace weft
