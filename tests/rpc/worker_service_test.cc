// WorkerService: the one worker of a process, by name or without.
#include "daemon/rpc/worker_service.h"

#include <gtest/gtest.h>

#include "tests/rpc/test_server.h"

namespace weft::testing {
namespace {

v1::Worker describe() {
  v1::Worker worker;
  worker.set_name("host-1");
  worker.set_slots(7);
  return worker;
}

TEST(WorkerService, ListsItsOneWorker) {
  WorkerService service(describe, [](size_t) { return std::string(); });
  TestServer server(service);
  auto stub = v1::WorkerService::NewStub(server.channel());
  grpc::ClientContext context;
  v1::ListWorkersResponse response;
  ASSERT_TRUE(stub->List(&context, {}, &response).ok());
  ASSERT_EQ(response.workers_size(), 1);
  EXPECT_EQ(response.workers(0).name(), "host-1");
  EXPECT_EQ(response.workers(0).slots(), 7u);
}

TEST(WorkerService, DumpsItsTasksByNameOrWithout) {
  WorkerService service(describe, [](size_t) { return std::string("task a\n  task b\n"); });
  TestServer server(service);
  auto stub = v1::WorkerService::NewStub(server.channel());
  for (const char* name : {"", "host-1"}) {
    grpc::ClientContext context;
    v1::DumpWorkerRequest request;
    request.set_name(name);
    v1::DumpWorkerResponse response;
    ASSERT_TRUE(stub->Dump(&context, request, &response).ok());
    EXPECT_EQ(response.text(), "task a\n  task b\n");
  }
  grpc::ClientContext context;
  v1::DumpWorkerRequest request;
  request.set_name("host-2");
  v1::DumpWorkerResponse response;
  const grpc::Status status = stub->Dump(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::NOT_FOUND);
  EXPECT_NE(status.error_message().find("host-1"), std::string::npos);
}

TEST(WorkerService, ADumpOfAnySizeAndBytesFitsAClientsUsualMessage) {
  WorkerService service(describe, [](size_t max_bytes) {
    EXPECT_LE(max_bytes, limits::kDumpBytes);
    return std::string(max_bytes + 100, '\xff');
  });
  TestServer server(service);
  auto stub = v1::WorkerService::NewStub(
      grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  v1::DumpWorkerResponse response;
  const grpc::Status status = stub->Dump(&context, {}, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_GT(response.text().size(), limits::kDumpBytes - 100);
}

}  // namespace
}  // namespace weft::testing
