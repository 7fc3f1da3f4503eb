// The mix of operations.
#include "tests/differential/operation.h"

#include <weft/base/random.h>

#include "tests/differential/subject.h"

namespace weft::testing {
namespace {

struct Share {
  Operation::Kind kind;
  uint64_t weight;
};
constexpr Share kMix[] = {
    {Operation::Kind::kSubmit, 26},   {Operation::Kind::kSettleAndTake, 26},
    {Operation::Kind::kRelease, 6},   {Operation::Kind::kSaveProgress, 4},
    {Operation::Kind::kCancel, 6},    {Operation::Kind::kAppend, 14},
    {Operation::Kind::kTrim, 5},      {Operation::Kind::kSend, 9},
    {Operation::Kind::kConsumed, 3},  {Operation::Kind::kRead, 4},
    {Operation::Kind::kReadSends, 2}, {Operation::Kind::kGet, 2},
    {Operation::Kind::kList, 4},      {Operation::Kind::kRetry, 6},
    {Operation::Kind::kRemove, 4},    {Operation::Kind::kSweep, 4},
    {Operation::Kind::kWait, 4},
};

Operation::Kind draw_kind(Random& random) {
  uint64_t total = 0;
  for (const Share& share : kMix) total += share.weight;
  uint64_t left = random.below(total);
  for (const Share& share : kMix) {
    if (left < share.weight) return share.kind;
    left -= share.weight;
  }
  return kMix[0].kind;
}

}  // namespace

std::vector<Operation> make_trace(uint64_t seed, size_t length) {
  Random random(seed);
  std::vector<Operation> trace;
  for (size_t i = 0; i < length; ++i) {
    Operation operation{};
    operation.kind = draw_kind(random);
    const uint64_t fault = random.below(10);
    operation.fault = fault == 0   ? Operation::Fault::kRepeated
                      : fault == 1 ? Operation::Fault::kReplyLost
                                   : Operation::Fault::kNone;
    operation.process = random.below(kProcesses);
    operation.seed = random.next();
    trace.push_back(operation);
  }
  return trace;
}

}  // namespace weft::testing
