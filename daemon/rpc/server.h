// RpcServer: one gRPC server whose calls run as coroutines on the loop.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <weft/base/limits.h>
#include <weft/base/status.h>
#include <weft/runtime/socket.h>
#include <weft/runtime/task_group.h>

#include "daemon/rpc/call_domain.h"
#include "daemon/rpc/connections.h"
#include "daemon/rpc/health_service.h"

namespace weft {

struct RpcServerOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 0;      // 0: a free one
  int listening_fd = -1;  // an inherited socket to use instead; -1: none
  size_t connections = limits::kConnections;
  size_t calls = limits::kCalls;
  size_t held_bytes = limits::kRequestBytes;  // requests and answers of all calls
  int handshake_ms = limits::kHandshakeMs;
  int keepalive_ms = limits::kKeepaliveMs;
  int keepalive_timeout_ms = limits::kKeepaliveTimeoutMs;
};

struct RpcServerStats {
  size_t connections = 0;
  uint64_t connections_refused = 0;
  size_t calls = 0;  // arrived and not over
  uint64_t calls_arrived = 0;
  uint64_t calls_refused = 0;
  size_t held_bytes = 0;                // requests and answers of those calls
  std::vector<FinishedCalls> finished;  // at most one entry a method and code
};

// Thread: the loop's; one thread of its own, "rpc", takes gRPC's completions.
// Lifetime: shutdown() must have returned before it is destroyed. Calls are children of `group`.
// Limits: connections, calls and the bytes they hold in the options, message sizes in limits.h.
class RpcServer {
 public:
  // Serves when it returns. Errors: those of Listener::open; INTERNAL when gRPC does not start.
  static StatusOr<std::unique_ptr<RpcServer>> start(RpcServerOptions options,
                                                    std::vector<RpcService*> services,
                                                    TaskGroup& group);
  ~RpcServer();
  RpcServer(const RpcServer&) = delete;
  RpcServer& operator=(const RpcServer&) = delete;

  uint16_t port() const { return connections_.port(); }
  // What grpc.health.v1 says of every service. Streams of health checks are told.
  void set_serving(bool serving) { health_.set_serving(serving); }
  RpcServerStats stats() const;

  // Takes no new connection or call, ends streams with UNAVAILABLE, answers unary calls; what is
  // not over after `grace` is cancelled. Cancellation: call it shielded.
  Task<void> shutdown(std::chrono::milliseconds grace);

 private:
  RpcServer(RpcServerOptions options, std::unique_ptr<Listener> listener,
            std::vector<RpcService*> services, TaskGroup& group);
  bool serve(TaskGroup& group);
  void run_rpc_thread();

  const RpcServerOptions options_;
  std::vector<RpcService*> services_;
  CallDomain domain_;
  HealthService health_;
  Connections connections_;
  CancelScope accept_scope_;
  std::unique_ptr<Connections::Acceptor> acceptor_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;  // destroyed after the server
  std::unique_ptr<grpc::Server> server_;
  std::thread rpc_thread_;
};

}  // namespace weft
