// Bounds of calls, bulk submissions and lists, besides those in <weft/base/limits.h>.
#pragma once

#include <weft/base/limits.h>

namespace weft::limits {

inline constexpr size_t kCrowdedQueueBytes = 64 << 10;  // queued in a call while much is held
inline constexpr size_t kSubmitStreamBytes = 16 << 20;  // unanswered bytes of one SubmitStream
inline constexpr size_t kListBytes = 3 << 20;  // one page: clients take 4 MiB unless told otherwise

}  // namespace weft::limits
