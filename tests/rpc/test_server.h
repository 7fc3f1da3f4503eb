// TestServer: a real gRPC server on a loop thread of its own, whose answers each test scripts.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <weft/runtime/event_loop.h>
#include <weft/runtime/frame_allocator.h>
#include <weft/v1/job_service.grpc.pb.h>

#include "daemon/rpc/server.h"

namespace weft::testing {

// Serves weft.v1.JobService; what the test does not script is unimplemented.
class ScriptedService final : public RpcService {
 public:
  using GetCall = UnaryCall<v1::GetRequest, v1::Job>;
  using SubmitCall = UnaryCall<v1::SubmitRequest, v1::SubmitResponse>;
  using WatchCall = ServerStreamCall<v1::WatchRequest, v1::Event>;
  using AttachCall = BidiCall<v1::AttachRequest, v1::Event>;

  std::function<Task<void>(GetCall&)> get;
  std::function<Task<void>(SubmitCall&)> submit;
  std::function<Task<void>(WatchCall&)> watch;
  std::function<Task<void>(AttachCall&)> attach;

  grpc::Service& service() override { return service_; }
  std::string name() const override { return "weft.v1.JobService"; }
  void close() override { methods_.clear(); }
  void listen(CallDomain& domain) override;

 private:
  v1::JobService::AsyncService service_;
  std::vector<std::unique_ptr<MethodBase>> methods_;
};

// Thread: the test's. Fails the test when coroutine frames or calls are left after stop().
class TestServer {
 public:
  explicit TestServer(RpcService& service, RpcServerOptions options = {});
  ~TestServer() { stop(); }

  // Shuts down, and returns when nothing of the server is left.
  void stop(std::chrono::milliseconds grace = std::chrono::milliseconds(500));
  // Begins the shutdown and does not wait for its end.
  void begin_stop(std::chrono::milliseconds grace);
  uint16_t port() const { return port_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  // A connection of its own, not shared with other channels.
  std::shared_ptr<grpc::Channel> channel() const;
  std::unique_ptr<v1::JobService::Stub> stub() const { return v1::JobService::NewStub(channel()); }
  // A bare TCP connection that says nothing. The caller closes it.
  int connect_raw() const;
  // Runs `function` on the loop thread and returns what it does.
  template <typename F>
  auto on_loop(F function) {
    // Shared: the result is here before the other thread is out of the task.
    auto task =
        std::make_shared<std::packaged_task<std::invoke_result_t<F>()>>(std::move(function));
    auto result = task->get_future();
    post([task] { (*task)(); });
    return result.get();
  }
  RpcServerStats stats() {
    return on_loop([this] { return server_->stats(); });
  }
  // Returns when `condition`, asked on the loop thread at every turn it gets, holds. False: not
  // within a minute.
  bool wait_for(std::function<bool()> condition);
  RpcServer& server() { return *server_; }

 private:
  void post(std::function<void()> function);
  void run(RpcService& service, RpcServerOptions options);

  EventLoop* loop_ = nullptr;
  RpcServer* server_ = nullptr;
  Event* stop_ = nullptr;
  std::chrono::milliseconds grace_{0};
  bool stopping_ = false;
  uint16_t port_ = 0;
  std::promise<void> ready_;
  std::thread thread_;
};

}  // namespace weft::testing
