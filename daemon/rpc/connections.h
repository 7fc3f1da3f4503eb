// Connections: our own accept loop, because gRPC's has no bound on connections.
#pragma once

#include <grpcpp/server_builder.h>

#include <cstdint>
#include <memory>
#include <unordered_set>

#include <weft/runtime/poller.h>
#include <weft/runtime/socket.h>

namespace weft {

// Takes connections and hands them to gRPC. A duplicate of each descriptor tells when gRPC or the
// peer has closed it; the duplicates sit in an epoll of their own that reports nothing else, so
// that traffic on a connection does not wake the loop.
// Thread: the loop's. Lifetime: destroyed before the gRPC server.
// Limits: `max_connections`; one more is closed at once, which its client sees as UNAVAILABLE.
class Connections final : private PollTarget {
 public:
  using Acceptor = grpc::experimental::ExternalConnectionAcceptor;

  Connections(std::unique_ptr<Listener> listener, size_t max_connections);
  ~Connections();
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;

  // Accepts until cancelled, then closes the listening socket.
  Task<void> run(Acceptor* acceptor);

  // Ends every connection; what was written before still reaches the peer. gRPC alone would wait
  // for idle clients to notice that it goes away.
  void shut_all();

  uint16_t port() const { return port_; }
  size_t open() const { return duplicates_.size(); }
  uint64_t refused() const { return refused_; }

 private:
  void on_events(uint32_t events) override;
  bool watch(int fd);

  std::unique_ptr<Listener> listener_;
  const uint16_t port_;
  const size_t max_connections_;
  int epoll_fd_;
  std::unordered_set<int> duplicates_;
  uint64_t refused_ = 0;
};

}  // namespace weft
