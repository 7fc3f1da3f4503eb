// SubmitStream: bulk submission over one call, many jobs under way at once.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <weft/base/status.h>
#include <weft/v1/job_service.pb.h>

namespace weft {

class ClientCore;

// What is written goes out in messages of many jobs, at once while nothing is under way and
// otherwise when a message is full or all before it are answered. It does not reconnect: after
// UNAVAILABLE an unanswered job may be stored or not; writing it again on a new stream, with the
// same id, is safe.
// Thread: one writes; stop() may be called from any. Lifetime: the destructor ends the call, and
// no answer comes after it. Cancellation: stop() makes the others return CANCELLED.
// Limits: limits::kSubmitStreamJobs written and not answered, with limits::kBatchBytes waiting to
// go out; write() blocks for room.
class SubmitStream {
 public:
  // The answer to one job, after its commit, in any order; `index` counts what was written, from 0.
  // Thread: the stream's own, one answer at a time; it must not call the stream.
  using OnAnswer = std::function<void(const v1::SubmitAnswer& answer)>;

  class Impl;
  explicit SubmitStream(std::unique_ptr<Impl> impl);
  ~SubmitStream();
  SubmitStream(SubmitStream&&) noexcept;
  SubmitStream& operator=(SubmitStream&&) noexcept;

  // Returns the id the job is sent with; OK means that it is on its way. When its idempotency key
  // names a job that is there already, that one's id is in the answer, and no job has this one.
  // Errors: INVALID_ARGUMENT as Client::submit, and for a job of more than limits::kBatchBytes, and
  // the stream goes on; else what ended the stream.
  StatusOr<std::string> write(v1::JobSpec spec);
  // Sends the rest and returns when every job has its answer. Nothing is written after it.
  Status finish();
  void stop();
  // How many jobs are written and not answered.
  size_t unanswered() const;

 private:
  std::unique_ptr<Impl> impl_;
};

SubmitStream open_submit_stream(std::shared_ptr<ClientCore> core, SubmitStream::OnAnswer on_answer);

}  // namespace weft
