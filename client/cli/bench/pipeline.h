// Pipeline: keeps a number of unary calls of one kind in flight on one connection.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "client/cli/bench/bench.h"

namespace weft::cli {

template <typename Request, typename Response>
class Pipeline {
 public:
  using Reader = grpc::ClientAsyncResponseReader<Response>;
  using Prepare = std::function<std::unique_ptr<Reader>(grpc::ClientContext*, const Request&,
                                                        grpc::CompletionQueue*)>;
  // The next request, or nothing: no more calls are started.
  using Next = std::function<std::optional<Request>()>;

  Pipeline(Prepare prepare, Next next) : prepare_(std::move(prepare)), next_(std::move(next)) {}

  // Runs until next() has nothing more and every call is answered. Errors: the first call's that
  // failed; later ones are then not started.
  Status run(size_t in_flight) {
    for (size_t i = 0; i < in_flight; ++i) {
      calls_.push_back(std::make_unique<Call>());
      start(*calls_.back());
    }
    void* tag = nullptr;
    bool ok = false;
    while (running_ > 0 && queue_.Next(&tag, &ok)) {
      --running_;
      Call& call = *static_cast<Call*>(tag);
      if (call.status.ok()) {
        ++done_;
        micros_.push_back(seconds_since(call.begin) * 1e6);
        responses(call.response);
      } else if (error_.ok()) {
        error_ = make_status(static_cast<StatusCode>(call.status.error_code()),
                             call.status.error_message());
      }
      start(call);
    }
    queue_.Shutdown();
    while (queue_.Next(&tag, &ok)) {
    }
    return error_;
  }
  uint64_t done() const { return done_; }
  std::vector<double>& micros() { return micros_; }

  std::function<void(const Response&)> responses = [](const Response&) {};

 private:
  struct Call {
    std::optional<grpc::ClientContext> context;
    Response response;
    grpc::Status status;
    BenchClock::time_point begin;
    std::unique_ptr<Reader> reader;
  };

  void start(Call& call) {
    if (!error_.ok()) return;
    std::optional<Request> request = next_();
    if (!request) return;
    call.context.emplace();
    call.begin = BenchClock::now();
    call.reader = prepare_(&*call.context, *request, &queue_);
    call.reader->StartCall();
    call.reader->Finish(&call.response, &call.status, &call);
    ++running_;
  }

  const Prepare prepare_;
  const Next next_;
  grpc::CompletionQueue queue_;
  std::vector<std::unique_ptr<Call>> calls_;
  size_t running_ = 0;
  uint64_t done_ = 0;
  std::vector<double> micros_;
  Status error_;
};

}  // namespace weft::cli
