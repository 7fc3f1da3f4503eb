// AttachState: what an attachment has to tell the server, and what of it the server knows.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include <weft/base/status.h>
#include <weft/v1/job_service.pb.h>

namespace weft {

// OK, or INVALID_ARGUMENT over limits::kSendBytes.
Status check_send(const std::string& value);

// Pure: its owner opens calls and writes to them, one message at a time. Thread: its owner's; who
// has several guards it.
class AttachState {
 public:
  struct Options {
    std::string job_id;
    std::string sender;  // names the attachment, so that a repeated send is taken once
    uint64_t credit_ahead = 0;
    bool all_attempts = false;
  };
  explicit AttachState(Options options) : options_(std::move(options)) {}

  // The first message of a new call, which has been told nothing yet.
  v1::AttachRequest open(uint64_t from_sequence);
  // What the call has not been told yet; credit first, for the job may wait for it.
  std::optional<v1::AttachRequest> take_unwritten();

  // The consumer is ready for `next_sequence`: gives credit ahead of it.
  void consume(uint64_t next_sequence);
  void grant(uint64_t sequence);
  // A send needs room: at most limits::kUnconsumedSends are on their way.
  bool has_room() const;
  void send(std::string value);
  // A reason that is not UTF-8 is left out.
  void cancel(const std::string& reason);
  // The server has stored the sends up to `number`.
  void accepted(uint64_t number);
  size_t pending_sends() const { return sends_.size(); }

 private:
  const Options options_;
  uint64_t credit_ = 0;
  uint64_t credit_written_ = 0;  // this and the next two: to the present call
  size_t sends_written_ = 0;
  bool cancel_written_ = false;
  uint64_t last_number_ = 0;
  std::deque<v1::AttachRequest> sends_;  // those that are not known to be stored
  std::optional<v1::AttachRequest> cancel_;
};

}  // namespace weft
