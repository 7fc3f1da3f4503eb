// Attachment: reads a job's stream and steers the job, over one call in both directions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <weft/base/status.h>
#include <weft/v1/job_service.pb.h>

namespace weft {

// What next() has returned counts as consumed at the following next(): the job may then run
// `credit_ahead` chunks further. When the server goes away the attachment comes back, goes on at
// the next sequence and repeats the sends that the server has not said to be stored; it takes each
// once. Thread: one reads; send(), grant(), cancel() and stop() may be called from any.
// Cancellation: stop() makes next() return CANCELLED; the job itself goes on by its stream policy.
// Errors: as ResultStream. Limits: 64 sends that are not stored yet (limits::kUnconsumedSends).
class Attachment {
 public:
  struct Options {
    std::string job_id = {};
    uint64_t from_sequence = 0;    // 0: from the oldest chunk kept
    uint64_t credit_ahead = 1024;  // 0: only what grant() gives
    bool all_attempts = false;
    int64_t deadline_ms = 0;  // of the whole attachment; 0: none
  };

  class Impl;
  explicit Attachment(std::unique_ptr<Impl> impl);
  ~Attachment();
  Attachment(Attachment&&) noexcept;
  Attachment& operator=(Attachment&&) noexcept;

  // Blocks for the next events; nothing after the Finished event.
  StatusOr<std::optional<v1::Event>> next();
  // Hands a value to the job. OK means that it is on its way; a refusal comes from next(). Blocks
  // while 64 values are on their way: another thread must then be in next(), or call stop().
  // Errors: INVALID_ARGUMENT over 64 KiB; FAILED_PRECONDITION after the end.
  Status send(std::string value);
  // How many values are on their way: after the end, how many may never have reached the job.
  size_t pending_sends() const;
  // "I am ready up to this sequence." Lower than before: ignored.
  void grant(uint64_t sequence);
  // Asks the job to stop; next() goes on until its Finished event. A reason that is not UTF-8 is
  // left out.
  void cancel(const std::string& reason);
  void stop();
  uint64_t next_sequence() const;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft
