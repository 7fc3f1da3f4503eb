// JobHandle: one job, as a client on the loop holds it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <weft/base/status.h>
#include <weft/client/async_attachment.h>
#include <weft/client/async_result_stream.h>
#include <weft/proto/codec.h>
#include <weft/runtime/async_range.h>
#include <weft/runtime/task.h>
#include <weft/v1/job.pb.h>
#include <weft/v1/job_service.pb.h>

namespace weft {

class AsyncCore;

// A cheap name for a job: its stream can be gone through any number of times, each open() or
// watch() begins a pass of its own.
// Thread: the loop's. Lifetime: may outlive its client, not the loop; its tasks keep what they use.
// Cancellation: cancels the call; what it asked for may have happened. The job goes on.
// Errors: as the blocking Client's.
class JobHandle {
 public:
  JobHandle(std::shared_ptr<AsyncCore> core, std::string id)
      : core_(std::move(core)), id_(std::move(id)) {}

  const std::string& id() const { return id_; }

  Task<StatusOr<v1::Job>> get() const;
  // From this sequence on; 0: from the oldest chunk kept.
  AsyncResultStream watch(uint64_t from_sequence = 0) const;
  Task<AsyncResultStream> open(uint64_t from_sequence = 0) const;
  AsyncAttachment attach(Attachment::Options options = {}) const;

  // Waits for the job's end, whatever it is.
  Task<StatusOr<v1::Finished>> wait() const;
  // Waits for what the job returns: bytes, JSON or a protobuf message.
  // Errors: ABORTED when it is dead, CANCELLED, DEADLINE_EXCEEDED when it expired, each with the
  // job's own sentence; DATA_LOSS when the result cannot be read as a T.
  template <typename T = std::string>
  Task<StatusOr<T>> result() const {
    return decode_result<T>(result_bytes());
  }

  Task<StatusOr<v1::CancelResponse>> cancel(std::string reason) const;
  // Gives the job a value; its number among the job's sends. Sends of one client arrive in the
  // order of the calls.
  Task<StatusOr<uint64_t>> send(std::string value) const;
  template <typename T>
    requires requires(const T& value) { Codec<T>::encode(value); }
  Task<StatusOr<uint64_t>> send(const T& value) const {
    return send(std::string(Codec<T>::encode(value)));
  }

 private:
  Task<StatusOr<std::string>> result_bytes() const;
  template <typename T>
  static Task<StatusOr<T>> decode_result(Task<StatusOr<std::string>> read) {
    StatusOr<std::string> bytes = co_await read;
    if (!bytes.ok()) co_return bytes.status();
    try {
      co_return Codec<T>::decode(*bytes);
    } catch (const std::exception& error) {
      co_return make_status(StatusCode::kDataLoss,
                            "the result is " + std::string(error.what()) + ": read it as bytes");
    }
  }

  std::shared_ptr<AsyncCore> core_;
  std::string id_;
};

static_assert(AsyncIterable<JobHandle, uint64_t>);

}  // namespace weft
