// Client: submits, reads, steers and cancels jobs of a weftd over gRPC, with blocking calls.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <weft/base/status.h>
#include <weft/client/attachment.h>
#include <weft/client/result_stream.h>
#include <weft/v1/job.pb.h>
#include <weft/v1/job_service.pb.h>

namespace weft {

struct ClientOptions {
  std::string server = "127.0.0.1:7070";
  int64_t call_deadline_ms = 10'000;  // of one call, with all its tries; streams have their own
  int64_t retry_for_ms = 2'000;       // a call is tried again while the server cannot be reached
  int64_t reconnect_for_ms = 60'000;  // a stream that lost its server tries to come back
};

// Every call is safe to repeat, so UNAVAILABLE is tried again within the limits above: submit fills
// in the job's id and send its number before the first try, and the server takes each once.
// Thread: any, several at once. Lifetime: streams may outlive their client.
// Cancellation: stop(). Errors: the server's code and sentence; INVALID_ARGUMENT for text that is
// not UTF-8; UNAVAILABLE when it cannot be reached; DEADLINE_EXCEEDED.
class Client {
 public:
  explicit Client(ClientOptions options = {});
  ~Client();
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;

  // Returns after the server's commit: an acknowledged job is not lost.
  // Errors: INVALID_ARGUMENT for what the server refuses; RESOURCE_EXHAUSTED when the queue is
  // full.
  StatusOr<v1::SubmitResponse> submit(v1::JobSpec spec);
  // Errors: NOT_FOUND.
  StatusOr<v1::Job> get(const std::string& job_id);
  // Gives a running job a value; sends of one client arrive in the order of the calls.
  // Errors: NOT_FOUND; FAILED_PRECONDITION when the job has ended; RESOURCE_EXHAUSTED when it does
  // not look at its sends.
  StatusOr<uint64_t> send(const std::string& job_id, std::string value);
  // Errors: NOT_FOUND.
  StatusOr<v1::CancelResponse> cancel(const std::string& job_id, const std::string& reason);

  // Ends the calls above, those in progress and later ones, with CANCELLED; what they asked for may
  // have happened. Streams have a stop() of their own. Thread: any.
  void stop();

  // Reads a job's stream; asks the job for nothing. Errors come from its next().
  ResultStream watch(ResultStream::Options options);
  // Reads a job's stream, opens its window and steers it. Errors come from its next().
  Attachment attach(Attachment::Options options);

 private:
  std::shared_ptr<class ClientCore> core_;
};

}  // namespace weft
