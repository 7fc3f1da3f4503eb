// The server as a whole: its limits, health, reflection, and how it stops.
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpc/health/v1/health.grpc.pb.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>

#include <weft/runtime/sleep.h>

#include "tests/rpc/test_server.h"

namespace weft::testing {
namespace {

using GetCall = ScriptedService::GetCall;
using SubmitCall = ScriptedService::SubmitCall;
using WatchCall = ScriptedService::WatchCall;

Task<void> answer(GetCall& call) {
  call.finish(v1::Job());
  co_return;
}

Task<void> wait_for_ever(WatchCall& call) {
  co_await call.write(v1::Event());
  co_await sleep_for(std::chrono::hours(1));
}

grpc::Status get(v1::JobService::Stub& stub) {
  grpc::ClientContext context;
  v1::Job job;
  return stub.Get(&context, {}, &job);
}

TEST(RpcServer, RefusesAMessageOverTheLimitAndStaysUp) {
  ScriptedService service;
  service.submit = [](SubmitCall& call) -> Task<void> {
    call.finish(v1::SubmitResponse());
    co_return;
  };
  TestServer server(service);
  auto stub = server.stub();
  for (const bool fits : {true, false, true}) {
    grpc::ClientContext context;
    v1::SubmitRequest request;
    request.mutable_spec()->set_payload(
        std::string(limits::kMessageBytes + (fits ? -1000 : 1), 'x'));
    v1::SubmitResponse response;
    const grpc::Status status = stub->Submit(&context, request, &response);
    EXPECT_EQ(status.error_code(), fits ? grpc::OK : grpc::RESOURCE_EXHAUSTED)
        << status.error_message();
  }
}

TEST(RpcServer, RefusesRequestsBeyondTheBytesItHolds) {
  std::atomic<int> held{0};
  Event answer_now;
  ScriptedService service;
  service.submit = [&](SubmitCall& call) {
    return [](SubmitCall& waiting, std::atomic<int>* count, Event* event) -> Task<void> {
      ++*count;
      if (waiting.request().spec().payload().size() > 100) co_await event->wait();
      waiting.finish(v1::SubmitResponse());
    }(call, &held, &answer_now);
  };
  v1::SubmitRequest request;
  request.mutable_spec()->set_payload(std::string(10'000, 'x'));
  RpcServerOptions options;
  options.held_bytes = request.ByteSizeLong();
  TestServer server(service, options);
  auto stub = server.stub();
  const auto submit = [&](size_t bytes) {
    grpc::ClientContext context;
    v1::SubmitRequest asked;
    asked.mutable_spec()->set_payload(std::string(bytes, 'x'));
    v1::SubmitResponse response;
    return stub->Submit(&context, asked, &response);
  };
  EXPECT_EQ(submit(10'001).error_code(), grpc::RESOURCE_EXHAUSTED);
  std::thread holder([&] { EXPECT_TRUE(submit(10'000).ok()) << "the limit itself fits"; });
  EXPECT_TRUE(server.wait_for([&] { return held.load() == 1; }));
  const grpc::Status refused = submit(1);
  EXPECT_EQ(refused.error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_FALSE(refused.error_details().empty()) << "it says when to try again";
  server.on_loop([&] { answer_now.set(); });
  holder.join();
  EXPECT_TRUE(server.wait_for([&] { return server.server().stats().calls == 0; }));
  EXPECT_TRUE(submit(1).ok());
}

TEST(RpcServer, EndsAStreamWhoseMessageIsMoreThanItHolds) {
  ScriptedService service;
  service.attach = [](ScriptedService::AttachCall& call) -> Task<void> {
    for (;;) {
      auto request = co_await call.read();
      if (!request) break;
      v1::Event event;
      co_await call.write(event);
    }
    call.finish(call.read_refused());
  };
  RpcServerOptions options;
  options.held_bytes = 10'000;
  TestServer server(service, options);
  auto stub = server.stub();
  grpc::ClientContext context;
  auto stream = stub->Attach(&context);
  v1::AttachRequest request;
  v1::Event event;
  request.mutable_send()->set_value(std::string(9'000, 'x'));
  for (int i = 0; i < 3; ++i) {  // each fits: one read is let go at the next
    stream->Write(request);
    ASSERT_TRUE(stream->Read(&event));
  }
  request.mutable_send()->set_value(std::string(10'001, 'x'));
  stream->Write(request);
  EXPECT_FALSE(stream->Read(&event));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_FALSE(status.error_details().empty()) << "it says when to try again";
  EXPECT_TRUE(server.wait_for([&] { return server.server().stats().held_bytes == 0; }));
}

TEST(RpcServer, CountsCallsByMethodAndCode) {
  ScriptedService service;
  service.get = [](GetCall& call) -> Task<void> {
    if (call.request().id().empty()) {
      call.finish(v1::Job());
    } else {
      call.finish(make_status(StatusCode::kNotFound, "no such job"));
    }
    co_return;
  };
  service.watch = wait_for_ever;
  TestServer server(service);
  auto stub = server.stub();
  for (const char* id : {"", "", "other"}) {
    grpc::ClientContext context;
    v1::GetRequest request;
    request.set_id(id);
    v1::Job job;
    stub->Get(&context, request, &job);
  }
  grpc::ClientContext context;
  auto reader = stub->Watch(&context, {});
  v1::Event event;
  ASSERT_TRUE(reader->Read(&event));
  context.TryCancel();
  reader->Finish();
  ASSERT_TRUE(server.wait_for([&] { return server.server().stats().calls == 0; }));
  std::map<std::string, uint64_t> counts;
  for (const FinishedCalls& entry : server.stats().finished) {
    counts[entry.method + " " + std::to_string(entry.code)] = entry.count;
  }
  const std::map<std::string, uint64_t> expected = {{"weft.v1.JobService/Get 0", 2},
                                                    {"weft.v1.JobService/Get 5", 1},
                                                    {"weft.v1.JobService/Watch 1", 1}};
  EXPECT_EQ(counts, expected);
}

TEST(RpcServer, ClosesTheConnectionBeyondItsCapAndTakesOneAgainLater) {
  ScriptedService service;
  service.get = answer;
  RpcServerOptions options;
  options.connections = 3;
  TestServer server(service, options);
  std::vector<std::unique_ptr<v1::JobService::Stub>> stubs;
  for (int i = 0; i < 3; ++i) {
    stubs.push_back(server.stub());
    EXPECT_TRUE(get(*stubs.back()).ok());
  }
  EXPECT_EQ(get(*server.stub()).error_code(), grpc::UNAVAILABLE);
  EXPECT_EQ(server.stats().connections, 3u);
  EXPECT_GE(server.stats().connections_refused, 1u);
  EXPECT_TRUE(get(*stubs.front()).ok()) << "those within the cap go on";
  stubs.pop_back();
  EXPECT_TRUE(server.wait_for([&] { return server.server().stats().connections == 2; }));
  EXPECT_TRUE(get(*server.stub()).ok());
}

TEST(RpcServer, RefusesTheCallBeyondItsCapWithARetryTime) {
  ScriptedService service;
  service.get = answer;
  service.watch = wait_for_ever;
  RpcServerOptions options;
  options.calls = 4;
  TestServer server(service, options);
  auto stub = server.stub();
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::Event>>> readers;
  v1::Event event;
  for (int i = 0; i < 4; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    readers.push_back(stub->Watch(contexts.back().get(), {}));
    ASSERT_TRUE(readers.back()->Read(&event));
  }
  const grpc::Status refused = get(*stub);
  EXPECT_EQ(refused.error_code(), grpc::RESOURCE_EXHAUSTED);
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(refused.error_details()));
  google::rpc::RetryInfo retry;
  ASSERT_GE(details.details_size(), 1);
  EXPECT_TRUE(details.details(0).UnpackTo(&retry));
  EXPECT_GE(server.stats().calls_refused, 1u);
  contexts.front()->TryCancel();
  readers.front()->Finish();
  EXPECT_TRUE(server.wait_for([&] { return server.server().stats().calls == 3; }));
  EXPECT_TRUE(get(*stub).ok());
}

TEST(RpcServer, SilentConnectionIsClosedAfterTheHandshakeTime) {
  ScriptedService service;
  service.get = answer;
  RpcServerOptions options;
  options.handshake_ms = 100;
  TestServer server(service, options);
  const int fd = server.connect_raw();
  ASSERT_GE(fd, 0);
  char byte;
  // The server's settings frame may come first; then the end of the connection.
  ssize_t count;
  do {
    count = recv(fd, &byte, 1, 0);
  } while (count == 1);
  EXPECT_LE(count, 0);
  close(fd);
  EXPECT_TRUE(server.wait_for([&] { return server.server().stats().connections == 0; }));
}

TEST(RpcServer, HealthNamesEachServiceAndFollowsTheServer) {
  ScriptedService service;
  service.get = answer;
  TestServer server(service);
  auto health = grpc::health::v1::Health::NewStub(server.channel());
  using Response = grpc::health::v1::HealthCheckResponse;
  const auto check = [&](const std::string& name, Response& response) {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(name);
    return health->Check(&context, request, &response).error_code();
  };
  Response response;
  for (const char* name : {"", "weft.v1.JobService", "grpc.health.v1.Health"}) {
    EXPECT_EQ(check(name, response), grpc::OK) << name;
    EXPECT_EQ(response.status(), Response::SERVING) << name;
  }
  EXPECT_EQ(check("no.such.Service", response), grpc::NOT_FOUND);
  grpc::ClientContext context;
  auto watch = health->Watch(&context, {});
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), Response::SERVING);
  server.on_loop([&] { server.server().set_serving(false); });
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), Response::NOT_SERVING);
  EXPECT_EQ(check("", response), grpc::OK);
  EXPECT_EQ(response.status(), Response::NOT_SERVING);
  context.TryCancel();
}

TEST(RpcServer, ReflectionListsEveryService) {
  ScriptedService service;
  service.get = answer;
  TestServer server(service);
  grpc::GenericStub stub(server.channel());
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  auto stream = stub.PrepareCall(
      &context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  const auto wait = [&] {
    void* tag;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  stream->StartCall(nullptr);
  ASSERT_TRUE(wait());
  const grpc::Slice list_services(std::string("\x3a\x01*", 3));  // field 7, one byte
  stream->Write(grpc::ByteBuffer(&list_services, 1), nullptr);
  ASSERT_TRUE(wait());
  grpc::ByteBuffer answered;
  stream->Read(&answered, nullptr);
  ASSERT_TRUE(wait());
  grpc::Slice flat;
  ASSERT_TRUE(answered.DumpToSingleSlice(&flat).ok());
  const std::string text(reinterpret_cast<const char*>(flat.begin()), flat.size());
  EXPECT_NE(text.find("weft.v1.JobService"), std::string::npos);
  EXPECT_NE(text.find("grpc.health.v1.Health"), std::string::npos);
  context.TryCancel();
  grpc::Status status;
  stream->Finish(&status, nullptr);
  wait();
  queue.Shutdown();
  void* tag;
  bool ok;
  while (queue.Next(&tag, &ok)) {
  }
}

TEST(RpcServer, UnknownMethodIsUnimplemented) {
  ScriptedService service;
  service.get = answer;
  TestServer server(service);
  grpc::GenericStub stub(server.channel());
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  auto call = stub.PrepareUnaryCall(&context, "/weft.v1.NoService/Nothing", {}, &queue);
  call->StartCall();
  grpc::ByteBuffer answered;
  grpc::Status status;
  call->Finish(&answered, &status, nullptr);
  void* tag;
  bool ok;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_EQ(status.error_code(), grpc::UNIMPLEMENTED);
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
}

TEST(RpcServer, PortInUseIsOneClearError) {
  ScriptedService service;
  service.get = answer;
  TestServer server(service);
  ScriptedService other;
  const Status status = server.on_loop([&] {
    RpcServerOptions options;
    options.port = server.port();
    TaskGroup group;
    return RpcServer::start(options, {&other}, group).status();
  });
  EXPECT_EQ(status.code(), StatusCode::kAlreadyExists);
  EXPECT_NE(status.ToString().find("in use"), std::string::npos);
}

TEST(RpcServer, ShutdownAnswersUnaryCallsAndEndsStreamsAsUnavailable) {
  std::atomic<int> waiting{0};
  Event go;
  ScriptedService service;
  service.get = [&](GetCall& call) {
    return [](GetCall& slow, std::atomic<int>* count, Event* event) -> Task<void> {
      ++*count;
      co_await event->wait();
      slow.finish(v1::Job());
    }(call, &waiting, &go);
  };
  service.watch = wait_for_ever;
  TestServer server(service);
  auto stub = server.stub();
  grpc::ClientContext watch_context;
  auto reader = stub->Watch(&watch_context, {});
  v1::Event event;
  ASSERT_TRUE(reader->Read(&event));
  std::vector<std::thread> callers;
  std::atomic<int> answered{0};
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&] { answered += get(*stub).ok() ? 1 : 0; });
  }
  ASSERT_TRUE(server.wait_for([&] { return waiting == 8; }));
  server.begin_stop(std::chrono::seconds(20));
  EXPECT_FALSE(reader->Read(&event));
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::UNAVAILABLE);
  EXPECT_FALSE(status.error_details().empty()) << "a retry time";
  server.on_loop([&] { go.set(); });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(answered, 8);
  server.stop();
}

TEST(RpcServer, ShutdownUnderLoadLeavesNothing) {
  ScriptedService service;
  service.get = answer;
  service.watch = wait_for_ever;
  TestServer server(service);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> calls{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&, i] {
      auto stub = server.stub();
      while (!stop) {
        if (i % 2 == 0) {
          get(*stub);
        } else {
          grpc::ClientContext context;
          auto reader = stub->Watch(&context, {});
          v1::Event event;
          reader->Read(&event);
          context.TryCancel();
          reader->Finish();
        }
        ++calls;
      }
    });
  }
  ASSERT_TRUE(server.wait_for([&] { return calls > 500; }));
  server.stop(std::chrono::milliseconds(200));
  stop = true;
  for (std::thread& client : clients) client.join();
}

}  // namespace
}  // namespace weft::testing
