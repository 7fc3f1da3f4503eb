// RpcService: what the server needs to know of a gRPC service.
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>

#include "daemon/rpc/call_domain.h"

namespace weft {

// Lifetime: outlives the server it is given to.
class RpcService {
 public:
  virtual ~RpcService() = default;
  // The generated asynchronous service, which makes gRPC list it.
  virtual grpc::Service& service() = 0;
  virtual std::string name() const = 0;
  // The server runs: make the methods, which take calls from now on.
  virtual void listen(CallDomain& domain) = 0;
  // No call is left: free the methods.
  virtual void close() = 0;
};

}  // namespace weft
