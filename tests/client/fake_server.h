// FakeServer: a JobService on a free port that answers as a test tells it, for the client's sake.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <weft/v1/job_service.grpc.pb.h>

namespace weft::testing {

// Thread: the functions run on gRPC's threads. Lifetime: the destructor ends all calls.
class FakeServer final : public v1::JobService::Service {
 public:
  FakeServer() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~FakeServer() override { server_->Shutdown(std::chrono::system_clock::now()); }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  using WatchWriter = grpc::ServerWriter<v1::Event>;
  using AttachStream = grpc::ServerReaderWriter<v1::Event, v1::AttachRequest>;
  std::function<grpc::Status(const v1::SubmitRequest&, v1::SubmitResponse*)> on_submit;
  std::function<grpc::Status(const v1::SendRequest&, v1::SendResponse*)> on_send;
  std::function<grpc::Status(grpc::ServerContext&, const v1::WatchRequest&, WatchWriter&)> on_watch;
  std::function<grpc::Status(grpc::ServerContext&, AttachStream&)> on_attach;

 private:
  grpc::Status Submit(grpc::ServerContext*, const v1::SubmitRequest* request,
                      v1::SubmitResponse* response) override {
    return on_submit(*request, response);
  }
  grpc::Status Send(grpc::ServerContext*, const v1::SendRequest* request,
                    v1::SendResponse* response) override {
    return on_send(*request, response);
  }
  grpc::Status Watch(grpc::ServerContext* context, const v1::WatchRequest* request,
                     WatchWriter* writer) override {
    return on_watch(*context, *request, *writer);
  }
  grpc::Status Attach(grpc::ServerContext* context, AttachStream* stream) override {
    return on_attach(*context, *stream);
  }

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

inline v1::Event chunks_event(uint64_t first, const std::vector<std::string>& chunks) {
  v1::Event event;
  event.mutable_chunks()->set_first_sequence(first);
  for (const std::string& chunk : chunks) event.mutable_chunks()->add_data(chunk);
  return event;
}

inline v1::Event attempt_event(uint64_t attempt, uint64_t sequence) {
  v1::Event event;
  event.mutable_attempt_started()->set_attempt(attempt);
  event.mutable_attempt_started()->set_sequence(sequence);
  return event;
}

inline v1::Event finished_event(v1::JobState state, uint64_t last_sequence) {
  v1::Event event;
  event.mutable_finished()->set_state(state);
  event.mutable_finished()->set_last_sequence(last_sequence);
  return event;
}

inline grpc::Status restarting() {
  return {grpc::StatusCode::UNAVAILABLE, "this server is shutting down: connect again"};
}

}  // namespace weft::testing
