// The mix of operations.
#include "tests/differential/operation.h"

#include <weft/base/random.h>

#include "tests/differential/subject.h"

namespace weft::testing {
namespace {

struct Share {
  Operation::Kind kind;
  uint64_t of_many_jobs;
  uint64_t of_few_jobs;  // and much that happens to each
  bool of_times = false;
};
constexpr Share kMix[] = {
    {Operation::Kind::kSubmit, 26, 5},
    {Operation::Kind::kSettleAndTake, 26, 20},
    {Operation::Kind::kRelease, 6, 16},
    {Operation::Kind::kSaveProgress, 4, 4},
    {Operation::Kind::kCancel, 6, 3},
    {Operation::Kind::kAppend, 14, 22},
    {Operation::Kind::kTrim, 5, 10},
    {Operation::Kind::kSend, 9, 24},
    {Operation::Kind::kConsumed, 3, 14},
    {Operation::Kind::kRead, 4, 8},
    {Operation::Kind::kReadSends, 2, 4},
    {Operation::Kind::kGet, 2, 1},
    {Operation::Kind::kList, 4, 1},
    {Operation::Kind::kRetry, 6, 6},
    {Operation::Kind::kRemove, 4, 1},
    {Operation::Kind::kSweep, 4, 1},
    {Operation::Kind::kWait, 4, 1},
    {Operation::Kind::kLoseLease, 3, 4},
    {Operation::Kind::kPromote, 16, 16, true},
};

Operation::Kind draw_kind(Random& random, bool few_jobs, bool times) {
  const auto weight = [&](const Share& share) {
    if (share.of_times && !times) return uint64_t{0};
    return few_jobs ? share.of_few_jobs : share.of_many_jobs;
  };
  uint64_t total = 0;
  for (const Share& share : kMix) total += weight(share);
  uint64_t left = random.below(total);
  for (const Share& share : kMix) {
    if (left < weight(share)) return share.kind;
    left -= weight(share);
  }
  return kMix[0].kind;
}

}  // namespace

std::vector<Operation> make_trace(uint64_t seed, size_t length) {
  Random random(seed);
  const bool few_jobs = random.below(3) == 0;
  const bool times = random.below(3) != 0;
  std::vector<Operation> trace;
  for (size_t i = 0; i < length; ++i) {
    Operation operation{};
    operation.kind = draw_kind(random, few_jobs, times);
    operation.times = times;
    const uint64_t fault = random.below(10);
    operation.fault = fault == 0   ? Operation::Fault::kRepeated
                      : fault == 1 ? Operation::Fault::kReplyLost
                                   : Operation::Fault::kNone;
    if (operation.kind == Operation::Kind::kLoseLease) operation.fault = Operation::Fault::kNone;
    operation.process = random.below(kProcesses);
    operation.seed = random.next();
    trace.push_back(operation);
  }
  return trace;
}

}  // namespace weft::testing
