// How much room the answers of the reading verbs take at most: the same in every store.
#pragma once

#include <cstddef>

#include <weft/base/limits.h>

namespace weft {

// Of one job beside its payload, its result and its errors; and of those.
inline constexpr size_t kBriefRecordBytes = 64 << 10;
inline constexpr size_t kErrorBytes = limits::kAttemptErrors * (limits::kAttemptErrorBytes + 512);

inline constexpr size_t get_bytes(bool with_payload) {
  return kBriefRecordBytes + kErrorBytes + limits::kResultBytes +
         (with_payload ? limits::kPayloadBytes : 0);
}

}  // namespace weft
