// List and Dump.
#include "daemon/rpc/worker_service.h"

#include <algorithm>
#include <utility>

#include <weft/base/limits.h>
#include <weft/base/utf8.h>

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

// All of them by name, this one as it is now.
Task<StatusOr<std::vector<v1::Worker>>> WorkerService::workers() {
  using Answer = StatusOr<std::vector<v1::Worker>>;
  std::vector<v1::Worker> all;
  if (store_ != nullptr && store_->shared()) {
    Task<Answer> call = store_->workers();
    Answer stored = co_await call;
    if (!stored.ok()) co_return stored.status();
    all = *std::move(stored);
  }
  v1::Worker own = describe_();
  const auto same = [&](const v1::Worker& worker) {
    return worker.incarnation() == own.incarnation();
  };
  const auto there = std::ranges::find_if(all, same);
  if (there == all.end()) {
    all.push_back(std::move(own));  // also while it has no lease
  } else {
    *own.mutable_last_heard() = there->last_heard();
    *there = std::move(own);
  }
  co_return Answer(std::move(all));
}

Task<void> WorkerService::list(ListCall& call) {
  Task<StatusOr<std::vector<v1::Worker>>> ask = workers();
  StatusOr<std::vector<v1::Worker>> all = co_await ask;
  if (!all.ok()) {
    call.finish(all.status());
    co_return;
  }
  v1::ListWorkersResponse response;
  for (v1::Worker& worker : *all) *response.add_workers() = std::move(worker);
  const Status room = call.hold(response.ByteSizeLong());
  if (room.ok()) {
    call.finish(std::move(response));
  } else {
    call.finish(room);
  }
}

Task<void> WorkerService::dump(DumpCall& call) {
  const std::string& asked = call.request().name();
  const std::string own = describe_().name();
  if (!asked.empty() && asked != own) {
    Task<StatusOr<std::vector<v1::Worker>>> ask = workers();
    const StatusOr<std::vector<v1::Worker>> all = co_await ask;
    for (const v1::Worker& worker : all.ok() ? *all : std::vector<v1::Worker>()) {
      if (worker.name() != asked) continue;
      call.finish(make_status(
          StatusCode::kFailedPrecondition,
          "worker '" + asked + "' is another process, on host '" + worker.host() +
              "': ask that daemon itself (--server HOST:PORT, " + "as its ready line says)"));
      co_return;
    }
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
