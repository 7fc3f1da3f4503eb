// Non-blocking sockets over FdWatch.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <weft/runtime/sleep.h>
#include <weft/runtime/socket.h>

namespace weft {
namespace {

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

StatusOr<Address> parse_address(const std::string& text, uint16_t port) {
  Address address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    address.length = sizeof(sockaddr_in);
    return address;
  }
  if (inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    address.length = sizeof(sockaddr_in6);
    return address;
  }
  return make_status(StatusCode::kInvalidArgument,
                     "'" + text + "' is not an IP address: use one like 127.0.0.1 or ::1");
}

Status system_error(const std::string& what) {
  return make_status(StatusCode::kUnavailable, what + ": " + strerror(errno));
}

// The port a socket is bound to; 0: it has none.
uint16_t port_of(int fd) {
  Address address;
  address.length = sizeof(address.storage);
  if (getsockname(fd, address.get(), &address.length) < 0) return 0;
  switch (address.storage.ss_family) {
    case AF_INET:
      return ntohs(reinterpret_cast<sockaddr_in*>(&address.storage)->sin_port);
    case AF_INET6:
      return ntohs(reinterpret_cast<sockaddr_in6*>(&address.storage)->sin6_port);
    default:
      return 0;
  }
}

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK; }

}  // namespace

Socket::Socket(int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  watch_ = std::make_unique<FdWatch>(fd);
}

Socket::~Socket() {
  if (watch_ == nullptr) return;
  const int fd = watch_->fd();
  watch_.reset();
  close(fd);
}

Task<StatusOr<Socket>> Socket::connect(std::string address, uint16_t port) {
  auto parsed = parse_address(address, port);
  if (!parsed.ok()) co_return parsed.status();
  const int fd = socket(parsed->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) co_return system_error("cannot make a socket");
  const int result = ::connect(fd, parsed->get(), parsed->length);
  const bool pending = result < 0 && errno == EINPROGRESS;
  const int failure = result < 0 && !pending ? errno : 0;
  Socket socket(fd);
  const std::string what = "cannot connect to " + address + ":" + std::to_string(port);
  if (failure != 0) {
    errno = failure;
    co_return system_error(what);
  }
  if (pending) {
    socket.watch_->clear_writable();
    co_await socket.watch_->writable();
    int error = 0;
    socklen_t length = sizeof(error);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) {
      errno = error;
      co_return system_error(what);
    }
  }
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  co_return std::move(socket);
}

Task<StatusOr<size_t>> Socket::read(char* buffer, size_t size) {
  for (;;) {
    co_await watch_->readable();
    const ssize_t count = recv(fd(), buffer, size, 0);
    if (count >= 0) co_return static_cast<size_t>(count);
    if (would_block()) {
      watch_->clear_readable();
    } else if (errno != EINTR) {
      co_return system_error("cannot read from the peer");
    }
  }
}

Task<Status> Socket::write_all(std::string_view data) {
  while (!data.empty()) {
    co_await watch_->writable();
    const ssize_t count = send(fd(), data.data(), data.size(), MSG_NOSIGNAL);
    if (count >= 0) {
      data.remove_prefix(static_cast<size_t>(count));
    } else if (would_block()) {
      watch_->clear_writable();
    } else if (errno != EINTR) {
      co_return system_error("cannot write to the peer");
    }
  }
  co_return absl::OkStatus();
}

void Socket::shutdown_write() { shutdown(fd(), SHUT_WR); }

StatusOr<std::unique_ptr<Listener>> Listener::open(const std::string& address, uint16_t port) {
  auto parsed = parse_address(address, port);
  if (!parsed.ok()) return parsed.status();
  const int fd = socket(parsed->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return system_error("cannot make a socket");
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  const std::string where = address + ":" + std::to_string(port);
  if (bind(fd, parsed->get(), parsed->length) < 0 || ::listen(fd, 1024) < 0) {
    const int error = errno;
    close(fd);
    if (error == EADDRINUSE) {
      return make_status(StatusCode::kAlreadyExists,
                         where +
                             " is in use: stop the other program or choose another port "
                             "(port 0 picks a free one)");
    }
    if (error == EACCES) {
      return make_status(StatusCode::kPermissionDenied,
                         "may not listen on " + where + ": choose a port above 1023");
    }
    errno = error;
    return system_error("cannot listen on " + where);
  }
  return std::unique_ptr<Listener>(new Listener(fd, port_of(fd)));
}

StatusOr<std::unique_ptr<Listener>> Listener::adopt(int fd) {
  int listens = 0;
  socklen_t length = sizeof(listens);
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) < 0 || listens == 0 ||
      port_of(fd) == 0) {
    return make_status(StatusCode::kInvalidArgument,
                       "descriptor " + std::to_string(fd) +
                           " is not a listening TCP socket: check what passes it on (ListenStream "
                           "with a port in a .socket unit)");
  }
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  return std::unique_ptr<Listener>(new Listener(fd, port_of(fd)));
}

Task<int> Listener::accept() {
  for (;;) {
    co_await watch_.readable();
    const int fd = accept4(watch_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) co_return fd;
    if (would_block()) {
      watch_.clear_readable();
    } else if (errno != EINTR && errno != ECONNABORTED) {
      // No descriptor or no memory left, or a network that is down.
      co_await sleep_for(std::chrono::milliseconds(100));
    }
  }
}

}  // namespace weft
