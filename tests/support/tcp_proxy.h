// TcpProxy: a bad network between a client and a server on this machine.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <thread>

namespace weft::testing {

// Forwards connections of a free port of 127.0.0.1 to another port, on a thread of its own.
// Thread: any. Each call has had its effect when it returns.
// Limits: 256 connections at once, 1 MiB held back per direction of each; the kernel's buffers and
// then the sender hold more.
class TcpProxy {
 public:
  enum Direction { kToServer, kToClient };

  explicit TcpProxy(uint16_t server_port);
  ~TcpProxy();
  TcpProxy(const TcpProxy&) = delete;
  TcpProxy& operator=(const TcpProxy&) = delete;

  uint16_t port() const { return port_; }

  // What comes from now on arrives so much later.
  void delay(Direction direction, std::chrono::milliseconds delay);
  // Nothing passes in this direction until resume(), as if packets were lost: senders see nothing
  // of it, and new connections are accepted too. hold_all() is a black hole.
  void hold(Direction direction);
  void hold_all();
  // Ends holds, delays and refusals. What was held arrives.
  void resume();
  // Resets all connections. Later ones are served.
  void cut();
  // The next bytes that come from the server are lost, and their connection is reset: what they
  // answer was done, but the client cannot know. Once; keep_answers() takes it back.
  void lose_answer();
  void keep_answers();
  // What comes from the server has `to` for each `from` that comes in one piece.
  void replace(std::string from, std::string to);
  // Later connections go to this port.
  void lead_to(uint16_t server_port);
  // New connections are reset at once, until resume().
  void refuse();

  size_t connections() const;
  uint64_t accepted() const;
  uint64_t bytes(Direction direction) const;

 private:
  struct Link;  // one connection and its counterpart
  void run();
  void accept_one();
  void forward(Link& link, Direction direction, bool readable, bool writable);
  void reset(Link& link);
  void wake();

  uint16_t port_ = 0;
  int listen_fd_ = -1;
  int wake_fd_ = -1;

  mutable std::mutex mutex_;  // guards what follows; not held while the thread waits
  uint16_t server_port_;
  std::list<Link> links_;
  std::array<std::chrono::milliseconds, 2> delays_{};
  std::array<bool, 2> held_{};
  std::array<uint64_t, 2> bytes_{};
  std::string replaced_;  // empty: nothing is
  std::string replacement_;
  bool losing_ = false;
  bool refusing_ = false;
  bool stop_ = false;
  uint64_t accepted_ = 0;

  std::thread thread_;
};

}  // namespace weft::testing
