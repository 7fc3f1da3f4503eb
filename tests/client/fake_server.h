// FakeServer: a JobService on a free port that answers as a test tells it, for the client's sake.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <weft/v1/job_service.grpc.pb.h>
#include <weft/v1/worker_service.grpc.pb.h>

namespace weft::testing {

// Thread: the functions run on gRPC's threads. Lifetime: the destructor ends all calls.
class FakeServer final : public v1::JobService::Service {
 public:
  explicit FakeServer(const std::string& address = "127.0.0.1:0") {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    builder.RegisterService(&workers);
    server_ = builder.BuildAndStart();
  }
  ~FakeServer() override { server_->Shutdown(std::chrono::system_clock::now()); }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  using WatchWriter = grpc::ServerWriter<v1::Event>;
  using AttachStream = grpc::ServerReaderWriter<v1::Event, v1::AttachRequest>;
  std::function<grpc::Status(const v1::SubmitRequest&, v1::SubmitResponse*)> on_submit;
  using BulkStream = grpc::ServerReaderWriter<v1::SubmitStreamResponse, v1::SubmitStreamRequest>;
  std::function<grpc::Status(const v1::SubmitBatchRequest&, v1::SubmitBatchResponse*)> on_batch;
  std::function<grpc::Status(BulkStream&)> on_bulk;
  std::function<grpc::Status(const v1::GetRequest&, v1::Job*)> on_get;
  std::function<grpc::Status(const v1::ListJobsRequest&, v1::ListJobsResponse*)> on_list;
  std::function<grpc::Status(const v1::ChangeJobsRequest&,
                             grpc::ServerWriter<v1::ChangeJobsProgress>*)>
      on_change_jobs;
  std::function<grpc::Status(const v1::RetryRequest&, v1::Job*)> on_retry;
  std::function<grpc::Status(const v1::DeleteRequest&)> on_delete;
  std::function<grpc::Status(const v1::CancelRequest&, v1::CancelResponse*)> on_cancel;
  std::function<grpc::Status(const v1::SendRequest&, v1::SendResponse*)> on_send;
  std::function<grpc::Status(grpc::ServerContext&, const v1::WatchRequest&, WatchWriter&)> on_watch;
  std::function<grpc::Status(grpc::ServerContext&, AttachStream&)> on_attach;

  class Workers final : public v1::WorkerService::Service {
   public:
    std::function<grpc::Status(v1::ListWorkersResponse*)> on_list;
    std::function<grpc::Status(const v1::DumpWorkerRequest&, v1::DumpWorkerResponse*)> on_dump;

   private:
    grpc::Status List(grpc::ServerContext*, const v1::ListWorkersRequest*,
                      v1::ListWorkersResponse* response) override {
      return on_list(response);
    }
    grpc::Status Dump(grpc::ServerContext*, const v1::DumpWorkerRequest* request,
                      v1::DumpWorkerResponse* response) override {
      return on_dump(*request, response);
    }
  };
  Workers workers;

 private:
  grpc::Status Submit(grpc::ServerContext*, const v1::SubmitRequest* request,
                      v1::SubmitResponse* response) override {
    return on_submit(*request, response);
  }
  grpc::Status SubmitBatch(grpc::ServerContext*, const v1::SubmitBatchRequest* request,
                           v1::SubmitBatchResponse* response) override {
    return on_batch(*request, response);
  }
  grpc::Status SubmitStream(grpc::ServerContext*, BulkStream* stream) override {
    return on_bulk(*stream);
  }
  grpc::Status Get(grpc::ServerContext*, const v1::GetRequest* request,
                   v1::Job* response) override {
    return on_get(*request, response);
  }
  grpc::Status ChangeJobs(grpc::ServerContext*, const v1::ChangeJobsRequest* request,
                          grpc::ServerWriter<v1::ChangeJobsProgress>* writer) override {
    return on_change_jobs(*request, writer);
  }
  grpc::Status List(grpc::ServerContext*, const v1::ListJobsRequest* request,
                    v1::ListJobsResponse* response) override {
    return on_list(*request, response);
  }
  grpc::Status Retry(grpc::ServerContext*, const v1::RetryRequest* request,
                     v1::Job* response) override {
    return on_retry(*request, response);
  }
  grpc::Status Delete(grpc::ServerContext*, const v1::DeleteRequest* request,
                      v1::DeleteResponse*) override {
    return on_delete(*request);
  }
  grpc::Status Cancel(grpc::ServerContext*, const v1::CancelRequest* request,
                      v1::CancelResponse* response) override {
    return on_cancel(*request, response);
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

// Says yes to each spec of `request`, whose first has the index `*next`.
inline v1::SubmitStreamResponse accept_all(const v1::SubmitStreamRequest& request, uint64_t* next) {
  v1::SubmitStreamResponse response;
  for (const v1::JobSpec& spec : request.specs()) {
    v1::SubmitAnswer& answer = *response.add_answers();
    answer.set_index((*next)++);
    answer.mutable_accepted()->set_id(spec.id());
  }
  return response;
}

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
