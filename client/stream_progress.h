// StreamProgress: how far one pass over a job's stream has come, and what the loss of its server
// means to it.
#pragma once

#include <grpcpp/support/status.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include <weft/base/status.h>
#include <weft/client/client_options.h>
#include <weft/client/reconnect.h>
#include <weft/v1/job_service.pb.h>

namespace weft {

// Pure: its owner opens calls, reads and waits. Thread: its owner's.
class StreamProgress {
 public:
  using Deadline = std::optional<std::chrono::system_clock::time_point>;

  // `deadline_ms` of the whole pass; 0: none.
  StreamProgress(const ClientOptions& options, uint64_t seed, const std::string& job_id,
                 uint64_t from_sequence, int64_t deadline_ms);

  // Not OK: the pass is over, with this.
  const Status& failure() const { return failure_; }
  // The job's end was seen.
  bool ended() const { return ended_; }
  Deadline deadline() const { return deadline_; }
  uint64_t next_sequence() const { return cursor_.next(); }

  // A call begins at next_sequence().
  void on_open() { opened_at_ = std::chrono::steady_clock::now(); }
  // What the call delivered, without what came before. False: nothing is left of it. An error is
  // kept as failure().
  StatusOr<bool> on_event(v1::Event& event);
  // The call is over. Nothing: the pass has failed. Else: wait so long and open another.
  std::optional<std::chrono::milliseconds> on_lost(grpc::Status ended);
  // Ends the pass.
  const Status& fail(Status status);

 private:
  const ClientOptions& options_;
  const Deadline deadline_;
  SequenceCursor cursor_;
  Backoff backoff_;
  bool met_server_ = false;  // from then on a lost server is waited for longer
  bool ended_ = false;
  Status failure_;
  std::chrono::steady_clock::time_point opened_at_;
};

}  // namespace weft
