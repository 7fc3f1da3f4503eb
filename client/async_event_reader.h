// AsyncEventReader: reads events of one job on the loop, over calls that are opened again when they
// break.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <weft/client/async_stream_call.h>
#include <weft/client/stream_progress.h>
#include <weft/runtime/task.h>

namespace weft {

// Thread: the loop's; one task calls next(). Lifetime: outlives its next().
// Cancellation: a next() that was cancelled has taken nothing; another one goes on.
class AsyncEventReader {
 public:
  // Starts a call that begins at a sequence.
  using Open = std::function<AsyncStreamCall*(Semaphore::Permit permit, uint64_t from_sequence,
                                              StreamProgress::Deadline deadline)>;

  AsyncEventReader(std::shared_ptr<AsyncCore> core, const std::string& job_id,
                   uint64_t from_sequence, int64_t deadline_ms, Open open)
      : core_(std::move(core)),
        open_(std::move(open)),
        progress_(core_->client().options, core_->client().random(), job_id, from_sequence,
                  deadline_ms) {}

  Task<StatusOr<std::optional<v1::Event>>> next();
  uint64_t next_sequence() const { return progress_.next_sequence(); }
  // The present call; null: none.
  AsyncStreamCall* call() { return call_.get(); }

 private:
  std::shared_ptr<AsyncCore> core_;
  Open open_;
  StreamProgress progress_;
  CallPtr<AsyncStreamCall> call_;
};

}  // namespace weft
