// HealthService: grpc.health.v1, for load balancers and for `weft` to see whether a daemon serves.
#pragma once

#include <grpc/health/v1/health.grpc.pb.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include <weft/runtime/event.h>

#include "daemon/rpc/method.h"
#include "daemon/rpc/rpc_service.h"

namespace weft {

// Thread: the loop's.
class HealthService final : public RpcService {
 public:
  // `service` is one that clients may ask for; the empty name stands for the whole server.
  void add(const std::string& service) { names_.insert(service); }
  void set_serving(bool serving);

  grpc::Service& service() override { return service_; }
  std::string name() const override { return "grpc.health.v1.Health"; }
  void listen(CallDomain& domain) override;
  void close() override { methods_.clear(); }

 private:
  using Request = grpc::health::v1::HealthCheckRequest;
  using Response = grpc::health::v1::HealthCheckResponse;
  using CheckCall = UnaryCall<Request, Response>;
  using WatchCall = ServerStreamCall<Request, Response>;
  Response status_of(const std::string& service) const;
  Task<void> check(CheckCall& call);
  Task<void> watch(WatchCall& call);

  grpc::health::v1::Health::AsyncService service_;
  std::vector<std::unique_ptr<MethodBase>> methods_;
  std::set<std::string> names_{""};
  bool serving_ = true;
  Event changed_;
};

}  // namespace weft
