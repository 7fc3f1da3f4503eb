// One question and its answer on the loop, tried again as the blocking client does.
#pragma once

#include <memory>
#include <utility>

#include <weft/base/status.h>
#include <weft/client/async_core.h>
#include <weft/client/call_retry.h>
#include <weft/runtime/sleep.h>

namespace weft {

template <typename Response>
class AsyncUnaryCall final : public AsyncCall {
 public:
  using AsyncCall::AsyncCall;
  using Reader = grpc::ClientAsyncResponseReader<Response>;

  void start(std::unique_ptr<Reader> reader) {
    reader_ = std::move(reader);
    reader_->StartCall();
    reader_->Finish(&response, &status, end_.start());
  }
  bool finished() const override { return finished_; }

  Response response;
  grpc::Status status;

 private:
  void on_end(bool) { finished_ = true; }
  void finish() override {}  // asked for from the start

  std::unique_ptr<Reader> reader_;
  Operation<AsyncUnaryCall> end_{this, &AsyncUnaryCall::on_end};
  bool finished_ = false;
};

// Cancellation: cancels the call.
template <typename Stub, typename Request, typename Response>
Task<StatusOr<Response>> call_async(std::shared_ptr<AsyncCore> core, Stub* stub,
                                    std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> (
                                        Stub::*prepare)(grpc::ClientContext*, const Request&,
                                                        grpc::CompletionQueue*),
                                    Request request) {
  CallRetry retry(core->client().options, core->client().random());
  for (;;) {
    Semaphore::Permit permit = co_await core->calls.acquire();
    CallPtr<AsyncUnaryCall<Response>> call(new AsyncUnaryCall<Response>(*core, std::move(permit)));
    call->context.set_deadline(retry.deadline());
    call->start((stub->*prepare)(&call->context, request, core->queue()));
    while (!call->finished()) co_await call->change();
    Status status;
    const auto pause = retry.after(call->status, &status);
    if (!pause) {
      if (!status.ok()) co_return status;
      co_return std::move(call->response);
    }
    call.reset();
    co_await sleep_for(*pause);
  }
}

}  // namespace weft
