// accept, count, hand over.
#include "daemon/rpc/connections.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <weft/base/check.h>

namespace weft {

Connections::Connections(std::unique_ptr<Listener> listener, size_t max_connections)
    : listener_(std::move(listener)),
      port_(listener_->port()),
      max_connections_(max_connections),
      epoll_fd_(epoll_create1(EPOLL_CLOEXEC)) {
  WEFT_CHECK(epoll_fd_ >= 0, "the process may open one more descriptor");
  EventLoop::current()->poller().add(epoll_fd_, *this, /*edge=*/false);
}

Connections::~Connections() {
  EventLoop::current()->poller().remove(epoll_fd_);
  for (const int fd : duplicates_) close(fd);
  close(epoll_fd_);
}

Task<void> Connections::run(Acceptor* acceptor) {
  // Closed at the end of this frame, however it ends: a client that comes later is told at once.
  const std::unique_ptr<Listener> listener = std::move(listener_);
  for (;;) {
    const int fd = co_await listener->accept();
    if (duplicates_.size() >= max_connections_ || !watch(fd)) {
      ++refused_;
      close(fd);
      continue;
    }
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    Acceptor::NewConnectionParameters parameters;
    parameters.fd = fd;  // gRPC's from here on
    acceptor->HandleNewConnection(&parameters);
  }
}

bool Connections::watch(int fd) {
  const int duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (duplicate < 0) return false;
  epoll_event event{};
  event.events = EPOLLRDHUP | EPOLLHUP | EPOLLET;
  event.data.fd = duplicate;
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, duplicate, &event) != 0) {
    close(duplicate);
    return false;
  }
  duplicates_.insert(duplicate);
  return true;
}

void Connections::shut_all() {
  for (const int fd : duplicates_) ::shutdown(fd, SHUT_RDWR);
}

void Connections::on_events(uint32_t) {
  epoll_event events[64];
  const int count = epoll_wait(epoll_fd_, events, 64, 0);
  for (int i = 0; i < count; ++i) {
    const int duplicate = events[i].data.fd;
    // By hand: gRPC's descriptor of the same socket keeps the registration alive.
    epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, duplicate, nullptr);
    duplicates_.erase(duplicate);
    close(duplicate);
  }
}

}  // namespace weft
