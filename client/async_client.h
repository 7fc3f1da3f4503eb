// AsyncClient: submits jobs of a weftd over gRPC, from coroutines on an EventLoop.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include <weft/base/limits.h>
#include <weft/base/status.h>
#include <weft/client/client_options.h>
#include <weft/client/job_handle.h>
#include <weft/proto/codec.h>
#include <weft/runtime/task.h>
#include <weft/v1/job.pb.h>
#include <weft/v1/job_service.pb.h>

namespace weft {

// A job of `type` with a payload of bytes, JSON or a protobuf message.
template <typename T>
v1::JobSpec make_spec(std::string type, const T& payload) {
  v1::JobSpec spec;
  spec.set_type(std::move(type));
  spec.set_payload(Codec<T>::encode(payload));
  return spec;
}
inline v1::JobSpec make_spec(std::string type, const char* payload = "") {
  return make_spec(std::move(type), std::string(payload));
}

// As Client, with calls that are awaited: repeats what is safe to repeat, and gives every
// submission the names that make it so.
// Thread: that of the loop it was made on. Lifetime: goes before the loop; its tasks, handles and
// streams keep the connection as long as they need it.
// Cancellation: of the awaiting task; the call is cancelled, what it asked for may have happened.
// Errors: as Client. Limits: so many calls and streams under way; more wait for their turn.
class AsyncClient {
 public:
  struct Limits {
    size_t calls = 1000;
    size_t streams = limits::kReaders;
  };

  explicit AsyncClient(ClientOptions options = {});
  AsyncClient(ClientOptions options, Limits limits);
  ~AsyncClient();
  AsyncClient(AsyncClient&&) noexcept;
  AsyncClient& operator=(AsyncClient&&) noexcept;

  // Goes on after the server's commit: an acknowledged job is not lost.
  Task<StatusOr<JobHandle>> submit(v1::JobSpec spec);
  // One answer for each spec, in their order; a refused one does not keep the others out.
  Task<StatusOr<v1::SubmitBatchResponse>> submit_batch(std::vector<v1::JobSpec> specs);
  // A job that was submitted before; nothing is asked of the server.
  JobHandle job(std::string id);
  // One page of jobs, newest first.
  Task<StatusOr<v1::ListJobsResponse>> list(v1::ListJobsRequest request);

 private:
  std::shared_ptr<AsyncCore> core_;
};

}  // namespace weft
