// Start and stop of the gRPC server.
#include "daemon/rpc/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/resource_quota.h>
#include <pthread.h>

#include <weft/runtime/event.h>

namespace weft {
namespace {

// A scope and task for the accept loop alone, so that shutdown can end it before all else.
Task<void> accept_in(CancelScope* scope, Connections* connections,
                     Connections::Acceptor* acceptor) {
  co_await scope->run(connections->run(acceptor));
}

// Runs a blocking function on a thread of its own while the loop goes on.
class SideThread final : private Mail {
 public:
  template <typename F>
  explicit SideThread(F function)
      : loop_(*EventLoop::current()), thread_([this, function] {
          function();
          loop_.post(*this);
        }) {}
  ~SideThread() { thread_.join(); }
  Event::EventWaiter done() { return done_.wait(); }

 private:
  void deliver() override { done_.set(); }
  EventLoop& loop_;
  Event done_;
  std::thread thread_;  // last: it uses the rest
};

}  // namespace

RpcServer::RpcServer(RpcServerOptions options, std::unique_ptr<Listener> listener,
                     std::vector<RpcService*> services, TaskGroup& group)
    : options_(std::move(options)),
      services_(std::move(services)),
      domain_(*EventLoop::current(), group, options_.calls, options_.held_bytes),
      connections_(std::move(listener), options_.connections) {}

RpcServer::~RpcServer() {
  WEFT_CHECK(!rpc_thread_.joinable(), "a server is shut down before it is destroyed");
}

StatusOr<std::unique_ptr<RpcServer>> RpcServer::start(RpcServerOptions options,
                                                      std::vector<RpcService*> services,
                                                      TaskGroup& group) {
  auto listener = options.listening_fd >= 0 ? Listener::adopt(options.listening_fd)
                                            : Listener::open(options.address, options.port);
  if (!listener.ok()) return listener.status();
  std::unique_ptr<RpcServer> server(
      new RpcServer(std::move(options), *std::move(listener), std::move(services), group));
  if (!server->serve(group)) {
    return make_status(StatusCode::kInternal, "gRPC did not start: its messages on stderr say why");
  }
  return server;
}

bool RpcServer::serve(TaskGroup& group) {
  services_.push_back(&health_);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  for (RpcService* service : services_) builder.RegisterService(&service->service());
  builder.SetMaxReceiveMessageSize(limits::kMessageBytes);
  builder.SetMaxSendMessageSize(limits::kMessageBytes);
  // The excess of this limit would queue silently in the client; our own cap answers instead.
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, static_cast<int>(limits::kCalls) + 1);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, options_.handshake_ms);
  // A stopped peer shows nothing else.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, options_.keepalive_ms);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, options_.keepalive_timeout_ms);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             limits::kMinPingMs);
  grpc::ResourceQuota quota("weft");
  quota.SetMaxThreads(limits::kReflectionThreads);
  builder.SetResourceQuota(quota);
  acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      grpc::InsecureServerCredentials());
  queue_ = builder.AddCompletionQueue();
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) {
    queue_->Shutdown();
    return false;
  }
  domain_.set_queue(queue_.get());
  for (RpcService* service : services_) {
    service->listen(domain_);
    health_.add(service->name());
  }
  rpc_thread_ = std::thread(&RpcServer::run_rpc_thread, this);
  group.start(&accept_in, &accept_scope_, &connections_, acceptor_.get()).set_name("rpc: accepts");
  return true;
}

void RpcServer::run_rpc_thread() {
  pthread_setname_np(pthread_self(), "rpc");
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) static_cast<RpcTag*>(tag)->on_event(ok);
}

RpcServerStats RpcServer::stats() const {
  return {.connections = connections_.open(),
          .connections_refused = connections_.refused(),
          .calls = domain_.live(),
          .calls_arrived = domain_.arrived(),
          .calls_refused = domain_.refused(),
          .held_bytes = domain_.held_bytes(),
          .finished = domain_.finished()};
}

// The order matters: gRPC aborts the process on an operation after its queue was shut down, and an
// answer owed to a call needs the loop.
Task<void> RpcServer::shutdown(std::chrono::milliseconds grace) {
  health_.set_serving(false);
  accept_scope_.cancel(CancelReason::kShutdown);
  domain_.stop_accepting();
  domain_.cancel_streams();
  {
    // Blocks until every call is over, so on a thread of its own while the loop finishes them.
    const auto deadline = std::chrono::system_clock::now() + grace;
    SideThread stop([this, deadline] { server_->Shutdown(deadline); });
    co_await domain_.wait_until_empty();
    connections_.shut_all();
    co_await stop.done();
  }
  // A call that came last may be in the queue still, unseen by the rpc thread.
  co_await domain_.wait_until_closed();
  queue_->Shutdown();
  rpc_thread_.join();
  co_await domain_.wait_for_mail();
  server_.reset();
  for (RpcService* service : services_) service->close();
}

}  // namespace weft
