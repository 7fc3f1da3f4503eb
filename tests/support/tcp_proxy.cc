// One poll() loop over all connections.
#include "tests/support/tcp_proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <string>
#include <utility>
#include <vector>

namespace weft::testing {
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kLinks = 256;
constexpr size_t kHeldBytes = 1 << 20;

sockaddr_in loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

// So that the peer sees the end at once, whatever is unread.
void close_reset(int fd) {
  const linger now{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  ::close(fd);
}

}  // namespace

struct TcpProxy::Link {
  struct Chunk {
    Clock::time_point due;
    std::string bytes;
  };
  struct Lane {
    int from = -1;
    int to = -1;
    std::deque<Chunk> chunks;
    size_t buffered = 0;
    bool ended = false;   // nothing more will come
    bool passed = false;  // …and the other side knows
  };
  std::array<Lane, 2> lanes;
  bool gone = false;
};

TcpProxy::TcpProxy(uint16_t server_port) : server_port_(server_port) {
  listen_fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t length = sizeof(address);
  const bool listening =
      ::bind(listen_fd_, reinterpret_cast<sockaddr*>(&address), length) == 0 &&
      ::listen(listen_fd_, 128) == 0 &&
      ::getsockname(listen_fd_, reinterpret_cast<sockaddr*>(&address), &length) == 0;
  EXPECT_TRUE(listening) << "the proxy has no port";
  port_ = ntohs(address.sin_port);
  wake_fd_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  thread_ = std::thread([this] { run(); });
}

TcpProxy::~TcpProxy() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake();
  thread_.join();
  for (Link& link : links_) reset(link);
  ::close(listen_fd_);
  ::close(wake_fd_);
}

void TcpProxy::wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_fd_, &one, sizeof(one));
}

void TcpProxy::delay(Direction direction, std::chrono::milliseconds delay) {
  const std::lock_guard lock(mutex_);
  delays_[direction] = delay;
}

void TcpProxy::hold(Direction direction) {
  const std::lock_guard lock(mutex_);
  held_[direction] = true;
  wake();
}

void TcpProxy::hold_all() {
  const std::lock_guard lock(mutex_);
  held_ = {true, true};
  wake();
}

void TcpProxy::resume() {
  const std::lock_guard lock(mutex_);
  held_ = {};
  delays_ = {};
  refusing_ = false;
  wake();
}

void TcpProxy::cut() {
  const std::lock_guard lock(mutex_);
  for (Link& link : links_) reset(link);
  wake();
}

void TcpProxy::lose_answer() {
  const std::lock_guard lock(mutex_);
  losing_ = true;
}

void TcpProxy::keep_answers() {
  const std::lock_guard lock(mutex_);
  losing_ = false;
}

void TcpProxy::replace(std::string from, std::string to) {
  const std::lock_guard lock(mutex_);
  replaced_ = std::move(from);
  replacement_ = std::move(to);
}

void TcpProxy::lead_to(uint16_t server_port) {
  const std::lock_guard lock(mutex_);
  server_port_ = server_port;
}

void TcpProxy::refuse() {
  const std::lock_guard lock(mutex_);
  refusing_ = true;
}

size_t TcpProxy::connections() const {
  const std::lock_guard lock(mutex_);
  return static_cast<size_t>(
      std::count_if(links_.begin(), links_.end(), [](const Link& link) { return !link.gone; }));
}

uint64_t TcpProxy::accepted() const {
  const std::lock_guard lock(mutex_);
  return accepted_;
}

uint64_t TcpProxy::bytes(Direction direction) const {
  const std::lock_guard lock(mutex_);
  return bytes_[direction];
}

void TcpProxy::reset(Link& link) {
  if (link.gone) return;
  link.gone = true;
  close_reset(link.lanes[kToServer].from);
  close_reset(link.lanes[kToServer].to);
}

void TcpProxy::accept_one() {
  const int client = ::accept4(listen_fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (client < 0) return;
  ++accepted_;
  const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(server_port_);
  const auto* to = reinterpret_cast<const sockaddr*>(&address);
  if (refusing_ || links_.size() >= kLinks || ::connect(server, to, sizeof(address)) != 0) {
    close_reset(client);
    ::close(server);
    return;
  }
  const int on = 1;
  ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  ::setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  Link& link = links_.emplace_back();
  link.lanes[kToServer].from = link.lanes[kToClient].to = client;
  link.lanes[kToServer].to = link.lanes[kToClient].from = server;
}

void TcpProxy::forward(Link& link, Direction direction, bool readable, bool writable) {
  Link::Lane& lane = link.lanes[direction];
  if (link.gone || held_[direction]) return;
  if (readable) {
    char buffer[64 << 10];
    const ssize_t got = ::recv(lane.from, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (got > 0 && direction == kToClient && std::exchange(losing_, false)) return reset(link);
    if (got > 0) {
      std::string bytes(buffer, static_cast<size_t>(got));
      if (direction == kToClient && !replaced_.empty()) {
        for (size_t at = 0; (at = bytes.find(replaced_, at)) != std::string::npos;) {
          bytes.replace(at, replaced_.size(), replacement_);
          at += replacement_.size();
        }
      }
      lane.buffered += bytes.size();
      lane.chunks.push_back({Clock::now() + delays_[direction], std::move(bytes)});
    } else if (got == 0) {
      lane.ended = true;
    } else if (errno != EAGAIN && errno != EINTR) {
      return reset(link);
    }
  }
  // What has just come is written at once, mostly without another poll().
  while ((readable || writable) && !lane.chunks.empty() &&
         lane.chunks.front().due <= Clock::now()) {
    std::string& bytes = lane.chunks.front().bytes;
    const ssize_t sent = ::send(lane.to, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return reset(link);
    if (sent <= 0) break;
    bytes_[direction] += static_cast<uint64_t>(sent);
    lane.buffered -= static_cast<size_t>(sent);
    bytes.erase(0, static_cast<size_t>(sent));
    if (!bytes.empty()) break;
    lane.chunks.pop_front();
  }
  if (lane.ended && lane.chunks.empty() && !lane.passed) {
    lane.passed = true;
    ::shutdown(lane.to, SHUT_WR);
  }
  if (link.lanes[kToServer].passed && link.lanes[kToClient].passed) reset(link);
}

void TcpProxy::run() {
  struct Watched {
    Link* link;
    Direction direction;
    bool reads;  // else it writes
  };
  std::vector<pollfd> fds;
  std::vector<Watched> watched;
  while (true) {
    int timeout_ms = -1;
    {
      const std::lock_guard lock(mutex_);
      if (stop_) return;
      links_.remove_if([](const Link& link) { return link.gone; });
      fds = {{listen_fd_, POLLIN, 0}, {wake_fd_, POLLIN, 0}};
      watched.clear();
      const auto now = Clock::now();
      for (Link& link : links_) {
        for (const Direction direction : {kToServer, kToClient}) {
          const Link::Lane& lane = link.lanes[direction];
          if (held_[direction]) continue;
          if (!lane.ended && lane.buffered < kHeldBytes) {
            fds.push_back({lane.from, POLLIN, 0});
            watched.push_back({&link, direction, true});
          }
          if (lane.chunks.empty()) continue;
          const auto left = lane.chunks.front().due - now;
          if (left <= left.zero()) {
            fds.push_back({lane.to, POLLOUT, 0});
            watched.push_back({&link, direction, false});
          } else {
            const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
            const int wait_ms = static_cast<int>(std::min<int64_t>(ms, 1000));
            timeout_ms = timeout_ms < 0 ? wait_ms : std::min(timeout_ms, wait_ms);
          }
        }
      }
    }
    // Only this thread removes links, so they stay where they are; their descriptors may not.
    ::poll(fds.data(), fds.size(), timeout_ms);
    const std::lock_guard lock(mutex_);
    if (fds[1].revents != 0) {
      uint64_t ignored;
      [[maybe_unused]] const ssize_t got = ::read(wake_fd_, &ignored, sizeof(ignored));
    }
    for (size_t i = 0; i < watched.size(); ++i) {
      if (fds[i + 2].revents == 0) continue;
      forward(*watched[i].link, watched[i].direction, watched[i].reads, !watched[i].reads);
    }
    if (fds[0].revents != 0) accept_one();
  }
}

}  // namespace weft::testing
