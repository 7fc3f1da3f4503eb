// JobServiceBed: JobService over a real store, hub and worker on a loop thread of its own, and a
// real client.
#pragma once

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "daemon/handlers/handlers.h"
#include "daemon/rpc/job_service.h"
#include "daemon/rpc/server.h"
#include "tests/support/function_mail.h"
#include "tests/support/worker_bed.h"

namespace weft::testing {

struct BedSettings {
  RpcServerOptions server;
  std::function<std::unique_ptr<Store>()> make_store;  // on the loop thread; empty: in memory
};

class JobServiceBed : public ::testing::Test {
 protected:
  explicit JobServiceBed(BedSettings settings = {}) : settings_(std::move(settings)) {
    thread_ = std::thread([this] { run(); });
    ready_.get_future().wait();
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(limits::kMessageBytes);
    channel_ = channel(arguments);
    stub_ = v1::JobService::NewStub(channel_);
  }
  ~JobServiceBed() override {
    stop_server();
    thread_.join();
  }

  std::shared_ptr<grpc::Channel> channel(grpc::ChannelArguments arguments) const {
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port_),
                                     grpc::InsecureChannelCredentials(), arguments);
  }
  // Begins the shutdown and does not wait for its end.
  void stop_server() {
    if (stopping_) return;
    stopping_ = true;
    on_loop([this] { stop_->set(); });
  }

  template <typename F>
  std::invoke_result_t<F> on_loop(F function) {
    // Shared: the result is here before the other thread is out of the task.
    auto task =
        std::make_shared<std::packaged_task<std::invoke_result_t<F>()>>(std::move(function));
    auto result = task->get_future();
    loop_->post(*new FunctionMail([task] { (*task)(); }));
    return result.get();
  }
  // Returns when `condition`, asked on the loop thread again and again, holds. False: not within a
  // minute.
  bool wait_for(std::function<bool()> condition) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!on_loop(condition)) {
      if (std::chrono::steady_clock::now() > limit) return false;
      std::this_thread::yield();
    }
    return true;
  }
  RpcServerStats stats() {
    return on_loop([this] { return server_->stats(); });
  }

  grpc::Status submit(v1::JobSpec spec, v1::SubmitResponse* response) {
    grpc::ClientContext context;
    v1::SubmitRequest request;
    *request.mutable_spec() = std::move(spec);
    return stub_->Submit(&context, request, response);
  }
  std::string submit(const std::string& type, const std::string& payload,
                     v1::StreamPolicy policy = v1::STREAM_POLICY_RUN) {
    v1::JobSpec spec;
    spec.set_type(type);
    spec.set_payload(payload);
    spec.set_stream_policy(policy);
    v1::SubmitResponse response;
    const grpc::Status status = submit(std::move(spec), &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.id();
  }
  grpc::Status watch(v1::WatchRequest request, Read* read) {
    grpc::ClientContext context;
    auto reader = stub_->Watch(&context, request);
    v1::Event event;
    while (reader->Read(&event)) read->add(event);
    return reader->Finish();
  }

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::JobService::Stub> stub_;
  RpcServer* server_ = nullptr;
  JobService* service_ = nullptr;
  StreamHub* hub_ = nullptr;
  TaskGroup* group_ = nullptr;

 private:
  void run() {
    EventLoop loop;
    loop_ = &loop;
    Registry registry;
    register_stock_handlers(registry, {});
    auto body = [this](WorkerBed& bed) { return serve(bed); };
    BedOptions options;
    if (settings_.make_store) options.store = settings_.make_store();
    loop.run(with_bed(std::move(options), std::move(registry), body));
  }
  Task<void> serve(WorkerBed& bed) {
    Event stop;
    JobService service(*bed.store, bed.hub, &bed.registry, Random(7));
    std::unique_ptr<RpcServer> server;
    auto body = [&](TaskGroup& group) -> Task<void> {
      auto started = RpcServer::start(settings_.server, {&service}, group);
      server = *std::move(started);
      server_ = server.get();
      stop_ = &stop;
      service_ = &service;
      hub_ = &bed.hub;
      group_ = &group;
      port_ = server->port();
      ready_.set_value();
      co_await stop.wait();
      co_await server->shutdown(std::chrono::milliseconds(500));
    };
    co_await with_group(body);
  }

  BedSettings settings_;
  EventLoop* loop_ = nullptr;
  Event* stop_ = nullptr;
  bool stopping_ = false;
  uint16_t port_ = 0;
  std::promise<void> ready_;
  std::thread thread_;
};

inline std::string violated_field(const grpc::Status& status) {
  google::rpc::Status details;
  google::rpc::BadRequest detail;
  if (!details.ParseFromString(status.error_details()) || details.details_size() == 0) return "";
  details.details(0).UnpackTo(&detail);
  return detail.field_violations(0).field();
}

inline std::string violated_field(const google::rpc::Status& status) {
  return violated_field(grpc::Status(static_cast<grpc::StatusCode>(status.code()), status.message(),
                                     status.SerializeAsString()));
}

}  // namespace weft::testing
