// Operation: one step of a random trace; everything about it follows from a few numbers, so that a
// trace can be printed, cut and run again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace weft::testing {

struct Operation {
  enum class Kind : uint8_t {
    kSubmit,
    kSettleAndTake,
    kRelease,
    kSaveProgress,
    kCancel,
    kAppend,
    kTrim,
    kSend,
    kConsumed,
    kRead,
    kReadSends,
    kGet,
    kList,
    kRetry,
    kRemove,
    kSweep,
    kPromote,
    kLoseLease,
    kWait,
  };
  enum class Fault : uint8_t {
    kNone,
    kRepeated,   // asked for twice, answered twice
    kReplyLost,  // asked for twice: it was done the first time, but nobody was told
  };

  Kind kind;
  Fault fault;
  size_t process;  // which of the processes that share a store asks for it
  uint64_t seed;   // of all its arguments
  bool times;      // jobs may be due later, expire, and be put off
};

std::vector<Operation> make_trace(uint64_t seed, size_t length);

}  // namespace weft::testing
