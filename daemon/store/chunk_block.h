// ChunkBlock: neighbouring chunks of one stream.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

// Neighbouring entries of one stream, in one piece of memory that producer, store and readers
// share.
class ChunkBlock {
 public:
  enum class Kind : uint8_t {
    kChunks = 0,
    kAttemptStarted = 1,  // one entry: a serialized v1::AttemptStarted
  };

  explicit ChunkBlock(uint64_t first, Kind entry_kind = Kind::kChunks)
      : first_sequence(first), kind(entry_kind) {}

  void add(std::string_view chunk) {
    bytes.append(chunk);
    ends.push_back(static_cast<uint32_t>(bytes.size()));
  }
  size_t count() const { return ends.size(); }
  uint64_t last_sequence() const { return first_sequence + ends.size() - 1; }
  std::string_view chunk(size_t index) const {
    const uint32_t begin = index == 0 ? 0 : ends[index - 1];
    return std::string_view(bytes).substr(begin, ends[index] - begin);
  }

  uint64_t first_sequence;
  Kind kind;
  std::string bytes;
  std::vector<uint32_t> ends;  // where each entry ends in `bytes`
};
using ChunkBlockPtr = std::shared_ptr<const ChunkBlock>;

}  // namespace weft
