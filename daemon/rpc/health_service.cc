// Check and Watch of grpc.health.v1.
#include "daemon/rpc/health_service.h"

namespace weft {

void HealthService::set_serving(bool serving) {
  if (serving_ == serving) return;
  serving_ = serving;
  changed_.notify_all();
}

void HealthService::listen(CallDomain& domain) {
  methods_.push_back(std::make_unique<Method<CheckCall>>(
      domain, name() + "/Check",
      [this](CheckCall& call, grpc::ServerCompletionQueue* queue, void* tag) {
        service_.RequestCheck(&call.context(), &call.request(), call.responder(), queue, queue,
                              tag);
      },
      [this](CheckCall& call) { return check(call); }));
  methods_.push_back(std::make_unique<Method<WatchCall>>(
      domain, name() + "/Watch",
      [this](WatchCall& call, grpc::ServerCompletionQueue* queue, void* tag) {
        service_.RequestWatch(&call.context(), &call.request(), call.responder(), queue, queue,
                              tag);
      },
      [this](WatchCall& call) { return watch(call); }));
}

HealthService::Response HealthService::status_of(const std::string& service) const {
  Response response;
  response.set_status(!names_.contains(service) ? Response::SERVICE_UNKNOWN
                      : serving_                ? Response::SERVING
                                                : Response::NOT_SERVING);
  return response;
}

Task<void> HealthService::check(CheckCall& call) {
  const Response response = status_of(call.request().service());
  if (response.status() == Response::SERVICE_UNKNOWN) {
    call.finish(make_status(StatusCode::kNotFound,
                            "no service of this name here: ask for \"\" or weft.v1.JobService"));
  } else {
    call.finish(response);
  }
  co_return;
}

Task<void> HealthService::watch(WatchCall& call) {
  Response::ServingStatus told = Response::UNKNOWN;
  for (;;) {
    const Response response = status_of(call.request().service());
    if (response.status() != told) {
      told = response.status();
      const bool there = co_await call.write(response);
      if (!there) co_return;
    } else {
      co_await changed_.wait();
    }
  }
}

}  // namespace weft
