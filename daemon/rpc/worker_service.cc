// List and Dump.
#include "daemon/rpc/worker_service.h"

#include <utility>

#include <weft/base/limits.h>
#include <weft/worker/text.h>

namespace weft {
namespace {

// Clients take answers of 4 MiB unless told otherwise, and the text is not all of an answer.
constexpr size_t kAroundText = 64;

}  // namespace

void WorkerService::listen(CallDomain& domain) {
  methods_.push_back(std::make_unique<Method<ListCall>>(
      domain, name() + "/List",
      [this](ListCall& call, grpc::ServerCompletionQueue* queue, void* tag) {
        service_.RequestList(&call.context(), &call.request(), call.responder(), queue, queue, tag);
      },
      [this](ListCall& call) { return list(call); }));
  methods_.push_back(std::make_unique<Method<DumpCall>>(
      domain, name() + "/Dump",
      [this](DumpCall& call, grpc::ServerCompletionQueue* queue, void* tag) {
        service_.RequestDump(&call.context(), &call.request(), call.responder(), queue, queue, tag);
      },
      [this](DumpCall& call) { return dump(call); }));
}

Task<void> WorkerService::list(ListCall& call) {
  v1::ListWorkersResponse response;
  *response.add_workers() = describe_();
  call.finish(std::move(response));
  co_return;
}

Task<void> WorkerService::dump(DumpCall& call) {
  const std::string& asked = call.request().name();
  const std::string own = describe_().name();
  if (!asked.empty() && asked != own) {
    call.finish(make_status(StatusCode::kNotFound, "no worker of this name here: ask for '" + own +
                                                       "', or for none to get this one"));
    co_return;
  }
  constexpr size_t kTextBytes = limits::kDumpBytes - kAroundText;
  v1::DumpWorkerResponse response;
  response.set_text(clean_utf8(dump_(kTextBytes), kTextBytes));
  const Status room = call.hold(response.ByteSizeLong());
  if (room.ok()) {
    call.finish(std::move(response));
  } else {
    call.finish(room);
  }
}

}  // namespace weft
