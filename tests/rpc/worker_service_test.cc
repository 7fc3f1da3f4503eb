// WorkerService: the one worker of a process, by name or without.
#include "daemon/rpc/worker_service.h"

#include <gtest/gtest.h>

#include <atomic>

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

// Knows of this process and of another one.
class SharedWorkers final : public WorkerStore {
 public:
  bool shared() const override { return true; }
  Task<StatusOr<std::vector<v1::Worker>>> workers() override {
    if (down) co_return retry_error(StatusCode::kUnavailable, "no connection", 10);
    std::vector<v1::Worker> all(2);
    all[0].set_name("host-0");
    all[0].set_host("far.example");
    all[0].set_incarnation("a");
    all[1].set_name("host-1");
    all[1].set_incarnation("b");
    all[1].mutable_last_heard()->set_seconds(5);
    co_return StatusOr<std::vector<v1::Worker>>(std::move(all));
  }
  std::atomic<bool> down = false;
};

TEST(WorkerService, ListsThoseItSharesAStoreWithAndSaysWhereTheyAre) {
  SharedWorkers store;
  const auto own = [] {
    v1::Worker worker = describe();
    worker.set_incarnation("b");
    return worker;
  };
  WorkerService service(own, [](size_t) { return std::string(); }, &store);
  TestServer server(service);
  auto stub = v1::WorkerService::NewStub(server.channel());
  {
    grpc::ClientContext context;
    v1::ListWorkersResponse response;
    ASSERT_TRUE(stub->List(&context, {}, &response).ok());
    ASSERT_EQ(response.workers_size(), 2);
    EXPECT_EQ(response.workers(0).name(), "host-0");
    EXPECT_EQ(response.workers(1).slots(), 7u);  // as it is now, not as it was when last heard of
    EXPECT_EQ(response.workers(1).last_heard().seconds(), 5);
  }
  {
    grpc::ClientContext context;
    v1::DumpWorkerRequest request;
    request.set_name("host-0");
    v1::DumpWorkerResponse response;
    const grpc::Status status = stub->Dump(&context, request, &response);
    EXPECT_EQ(status.error_code(), grpc::FAILED_PRECONDITION);
    EXPECT_NE(status.error_message().find("far.example"), std::string::npos);
  }
  store.down = true;
  grpc::ClientContext context;
  v1::ListWorkersResponse response;
  EXPECT_EQ(stub->List(&context, {}, &response).error_code(), grpc::UNAVAILABLE);
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
