// The loop thread of a TestServer.
#include "tests/rpc/test_server.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <weft/runtime/combinators.h>

#include "tests/support/function_mail.h"

namespace weft::testing {
void ScriptedService::listen(CallDomain& domain) {
  if (get) {
    methods_.push_back(std::make_unique<Method<GetCall>>(
        domain, name() + "/Get",
        [this](GetCall& call, grpc::ServerCompletionQueue* queue, void* tag) {
          service_.RequestGet(&call.context(), &call.request(), call.responder(), queue, queue,
                              tag);
        },
        get));
  }
  if (submit) {
    methods_.push_back(std::make_unique<Method<SubmitCall>>(
        domain, name() + "/Submit",
        [this](SubmitCall& call, grpc::ServerCompletionQueue* queue, void* tag) {
          service_.RequestSubmit(&call.context(), &call.request(), call.responder(), queue, queue,
                                 tag);
        },
        submit));
  }
  if (watch) {
    methods_.push_back(std::make_unique<Method<WatchCall>>(
        domain, name() + "/Watch",
        [this](WatchCall& call, grpc::ServerCompletionQueue* queue, void* tag) {
          service_.RequestWatch(&call.context(), &call.request(), call.responder(), queue, queue,
                                tag);
        },
        watch));
  }
  if (attach) {
    methods_.push_back(std::make_unique<Method<AttachCall>>(
        domain, name() + "/Attach",
        [this](AttachCall& call, grpc::ServerCompletionQueue* queue, void* tag) {
          service_.RequestAttach(&call.context(), call.responder(), queue, queue, tag);
        },
        attach));
  }
}

TestServer::TestServer(RpcService& service, RpcServerOptions options) {
  thread_ = std::thread([this, &service, options] { run(service, options); });
  ready_.get_future().wait();
}

void TestServer::run(RpcService& service, RpcServerOptions options) {
  const int64_t frames_before = live_frames();
  EventLoop loop;
  loop_ = &loop;
  auto serve = [](TestServer* self, RpcService* scripted, RpcServerOptions wanted) -> Task<void> {
    auto body = [&](TaskGroup& group) -> Task<void> {
      Event stop;
      auto server = RpcServer::start(std::move(wanted), {scripted}, group);
      if (!server.ok()) throw std::runtime_error(server.status().ToString());
      self->stop_ = &stop;
      self->server_ = server->get();
      self->port_ = (*server)->port();
      self->ready_.set_value();
      co_await stop.wait();
      co_await (*server)->shutdown(self->grace_);
      const RpcServerStats stats = (*server)->stats();
      EXPECT_EQ(stats.calls, 0u) << "calls were left over";
    };
    co_await with_group(body);
  };
  loop.run(serve(this, &service, std::move(options)));
  EXPECT_EQ(live_frames(), frames_before) << "coroutine frames were left over";
}

void TestServer::begin_stop(std::chrono::milliseconds grace) {
  stopping_ = true;
  on_loop([this, grace] {
    grace_ = grace;
    stop_->set();
  });
}

void TestServer::stop(std::chrono::milliseconds grace) {
  if (!thread_.joinable()) return;
  if (!stopping_) begin_stop(grace);
  thread_.join();
}

std::shared_ptr<grpc::Channel> TestServer::channel() const {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(address(), grpc::InsecureChannelCredentials(), arguments);
}

int TestServer::connect_raw() const {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port_);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) return fd;
  close(fd);
  return -1;
}

void TestServer::post(std::function<void()> function) {
  loop_->post(*new FunctionMail(std::move(function)));
}

bool TestServer::wait_for(std::function<bool()> condition) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!on_loop(condition)) {
    if (std::chrono::steady_clock::now() > limit) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace weft::testing
