// WorkerService: weft.v1.WorkerService for the worker of this process and those it shares a store
// with.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <weft/store/worker_store.h>
#include <weft/v1/worker_service.grpc.pb.h>

#include "daemon/rpc/method.h"
#include "daemon/rpc/rpc_service.h"

namespace weft {

// Thread: the loop's. Lifetime: outlives the server.
class WorkerService final : public RpcService {
 public:
  using Describe = std::function<v1::Worker()>;
  using Dump = std::function<std::string(size_t max_bytes)>;  // every task of the loop, as text

  // `store`: where the others are known; null: there are none.
  WorkerService(Describe describe, Dump dump, WorkerStore* store = nullptr)
      : describe_(std::move(describe)), dump_(std::move(dump)), store_(store) {}

  grpc::Service& service() override { return service_; }
  std::string name() const override { return "weft.v1.WorkerService"; }
  void listen(CallDomain& domain) override;
  void close() override { methods_.clear(); }

 private:
  using ListCall = UnaryCall<v1::ListWorkersRequest, v1::ListWorkersResponse>;
  using DumpCall = UnaryCall<v1::DumpWorkerRequest, v1::DumpWorkerResponse>;
  Task<void> list(ListCall& call);
  Task<void> dump(DumpCall& call);
  Task<StatusOr<std::vector<v1::Worker>>> workers();

  const Describe describe_;
  const Dump dump_;
  WorkerStore* const store_;
  v1::WorkerService::AsyncService service_;
  std::vector<std::unique_ptr<MethodBase>> methods_;
};

}  // namespace weft
