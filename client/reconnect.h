// What a stream needs to survive the loss of its server: a bounded, jittered back-off, and the
// place in the stream where it goes on.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include <weft/base/random.h>
#include <weft/base/status.h>
#include <weft/v1/job_service.pb.h>

namespace weft {

// Pauses that double from 20 ms to 1 s, each cut by up to half at random so that many clients of
// one server do not come back at once.
class Backoff {
 public:
  explicit Backoff(uint64_t seed) : random_(seed) {}

  // How long to wait before the next try; nothing when tries have failed for `limit_ms`.
  std::optional<std::chrono::milliseconds> next(int64_t limit_ms);
  void reset();

 private:
  Random random_;
  int64_t pause_ms_ = 0;
  std::optional<std::chrono::steady_clock::time_point> give_up_from_;
};

// Follows the sequences of one stream.
class SequenceCursor {
 public:
  // `next`: the first sequence wanted; 0: whatever comes first.
  explicit SequenceCursor(uint64_t next) : next_(next) {}

  // Takes what the server sent: chunks that came before are cut from `event`, which may leave none.
  // Errors: DATA_LOSS when a chunk is missing.
  Status accept(v1::Event& event);
  uint64_t next() const { return next_; }

 private:
  uint64_t next_;
};

}  // namespace weft
