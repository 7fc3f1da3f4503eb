// blocking_call: one call of a Client, repeated while that is safe and may help.
#pragma once

#include <weft/client/call_retry.h>
#include <weft/client/client_core.h>

namespace weft {

inline Status stopped_status() {
  return make_status(StatusCode::kCancelled, "the client was stopped: make another one to go on");
}

// `maybe_done`: set when an earlier try may have been carried out. Thread: any.
template <typename Stub, typename Request, typename Response>
Status blocking_call(ClientCore& core, Stub& stub,
                     grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                     const Request& request, Response* response, bool* maybe_done = nullptr) {
  CallRetry retry(core.options, core.random());
  for (;;) {
    grpc::ClientContext context;
    context.set_deadline(retry.deadline());
    if (!core.begin_call(&context)) return stopped_status();
    const grpc::Status answer = (stub.*method)(&context, request, response);
    core.end_call(&context);
    if (!answer.ok() && core.stopped()) return stopped_status();
    Status status;
    const auto pause = retry.after(answer, &status);
    if (!pause) {
      if (maybe_done != nullptr) *maybe_done = retry.maybe_done();
      return status;
    }
    core.wait_to_reconnect(*pause);
  }
}

}  // namespace weft
