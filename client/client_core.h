// ClientCore: the connection that a client and its streams share.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <weft/base/random.h>
#include <weft/client/client_options.h>
#include <weft/v1/job_service.grpc.pb.h>
#include <weft/v1/schedule_service.grpc.pb.h>
#include <weft/v1/worker_service.grpc.pb.h>

namespace weft {

// Thread: any.
class ClientCore {
 public:
  explicit ClientCore(ClientOptions client_options);

  std::string new_job_id();
  static std::string new_sender();
  uint64_t random();
  // Waits before another try, shorter when the connection comes back. gRPC makes no progress with a
  // connection while no thread is in one of its calls, so this waits inside of one.
  void wait_to_reconnect(std::chrono::milliseconds duration);

  // Between these two, stop() cancels the call. False: stopped already.
  bool begin_call(grpc::ClientContext* context);
  void end_call(grpc::ClientContext* context);
  void stop();
  bool stopped();

  const ClientOptions options;
  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<v1::JobService::Stub> stub;
  const std::unique_ptr<v1::WorkerService::Stub> worker_stub;
  const std::unique_ptr<v1::ScheduleService::Stub> schedule_stub;
  const std::string sender;  // names this client, so that a repeated send is taken once

  std::mutex
      send_mutex;  // held for a whole send: a lower number must not arrive after a higher one
  uint64_t sends = 0;

 private:
  std::mutex mutex_;
  Random random_ = Random::from_system();
  std::vector<grpc::ClientContext*> calls_;  // as many as threads are in a call
  bool stopped_ = false;
};

}  // namespace weft
