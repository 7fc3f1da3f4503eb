// ChunkCursor: the chunks inside the events of one pass, one after the other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <weft/base/status.h>
#include <weft/proto/codec.h>
#include <weft/v1/job_service.pb.h>

namespace weft {

// One partial result and its number in the job's stream.
struct Chunk {
  uint64_t sequence = 0;
  std::string bytes;

  // T: nlohmann::json or a protobuf message. Errors: throws std::runtime_error naming the fault.
  template <typename T>
  T as() const {
    return Codec<T>::decode(bytes);
  }
};

// Pure: its owner reads the events.
class ChunkCursor {
 public:
  // Another event must come before next() can tell.
  bool needs_event() const { return !ended_ && at_ == batch_.data_size(); }
  void take_event(StatusOr<std::optional<v1::Event>> event) {
    if (!event.ok()) {
      status_ = event.status();
      ended_ = true;
    } else if (!event->has_value()) {
      ended_ = true;
    } else if ((*event)->has_finished()) {
      finished_ = std::move(*(*event)->mutable_finished());
      ended_ = true;
    } else if ((*event)->has_chunks()) {
      batch_ = std::move(*(*event)->mutable_chunks());
      at_ = 0;
    }
  }
  // Nothing: the end; then either finished() says how the job ended, or status() why the chunks
  // stopped coming.
  std::optional<Chunk> next() {
    if (ended_) return std::nullopt;
    Chunk chunk{batch_.first_sequence() + static_cast<uint64_t>(at_),
                std::move(*batch_.mutable_data(at_))};
    ++at_;
    return chunk;
  }
  const std::optional<v1::Finished>& finished() const { return finished_; }
  const Status& status() const { return status_; }

 private:
  v1::Chunks batch_;
  int at_ = 0;
  bool ended_ = false;
  std::optional<v1::Finished> finished_;
  Status status_;
};

}  // namespace weft
