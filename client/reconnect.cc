// Back-off and sequence arithmetic of streams that reconnect.
#include <algorithm>
#include <string>

#include <weft/client/reconnect.h>

namespace weft {
namespace {

constexpr int64_t kFirstPauseMs = 20;
constexpr int64_t kLongestPauseMs = 1'000;

}  // namespace

std::optional<std::chrono::milliseconds> Backoff::next(int64_t limit_ms) {
  const auto now = std::chrono::steady_clock::now();
  if (!give_up_from_) give_up_from_ = now;
  const auto left_ms =
      limit_ms -
      std::chrono::duration_cast<std::chrono::milliseconds>(now - *give_up_from_).count();
  if (left_ms <= 0) return std::nullopt;
  pause_ms_ = std::clamp(pause_ms_ * 2, kFirstPauseMs, kLongestPauseMs);
  const int64_t half_ms = pause_ms_ / 2;
  const auto jitter_ms =
      static_cast<int64_t>(random_.below(static_cast<uint64_t>(pause_ms_ - half_ms + 1)));
  return std::chrono::milliseconds(std::min<int64_t>(half_ms + jitter_ms, left_ms));
}

void Backoff::reset() {
  pause_ms_ = 0;
  give_up_from_.reset();
}

Status SequenceCursor::accept(v1::Event& event) {
  if (event.has_attempt_started()) {
    // Superseded chunks before it are skipped, so it may be ahead of what was expected.
    next_ = std::max(next_, event.attempt_started().sequence() + 1);
    return absl::OkStatus();
  }
  if (!event.has_chunks()) return absl::OkStatus();
  v1::Chunks& chunks = *event.mutable_chunks();
  const uint64_t first = chunks.first_sequence();
  const auto count = static_cast<uint64_t>(chunks.data_size());
  if (next_ != 0 && first > next_) {
    return make_status(StatusCode::kDataLoss,
                       "the server skipped from chunk " + std::to_string(next_) + " to chunk " +
                           std::to_string(first) + ": read the stream again from the start");
  }
  if (next_ > first) {
    const uint64_t repeated = std::min(next_ - first, count);
    chunks.mutable_data()->DeleteSubrange(0, static_cast<int>(repeated));
    chunks.set_first_sequence(first + repeated);
  }
  next_ = std::max(next_, first + count);
  return absl::OkStatus();
}

}  // namespace weft
