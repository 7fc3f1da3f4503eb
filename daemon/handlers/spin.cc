// spin: burns CPU, to see what a busy executor does to everything else.
#include <time.h>

#include <algorithm>

#include <weft/base/limits.h>

#include "daemon/handlers/handlers.h"
#include "daemon/handlers/payload.h"

namespace weft::handlers {
namespace {

constexpr int64_t kSliceNs = 10'000'000;  // then others have their turn, and a cancel is seen

int64_t thread_cpu_ns() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

// Returns how much CPU time went by, a little more than asked for.
int64_t burn(int64_t ns) {
  const int64_t start_ns = thread_cpu_ns();
  volatile uint64_t value = 1;
  for (;;) {
    for (int i = 0; i < 1000; ++i) value = value * 6364136223846793005u + 1;
    const int64_t burnt_ns = thread_cpu_ns() - start_ns;
    if (burnt_ns >= ns) return burnt_ns;
  }
}

}  // namespace

// Payload: {"ms": N}. Uses N milliseconds of CPU on the executor; returns {"ms": N}.
Task<nlohmann::json> spin(Job job) {
  const int64_t ms = read_payload(job, {"ms"}, [](const Fields& fields) {
    return fields.required_integer("ms", 0, limits::kSpinMsMax);
  });
  int64_t left_ns = ms * 1'000'000;
  while (left_ns > 0) {
    const int64_t slice_ns = std::min(left_ns, kSliceNs);
    auto piece = [slice_ns] { return burn(slice_ns); };
    left_ns -= co_await job.offload(piece);
  }
  co_return nlohmann::json{{"ms", ms}};
}

}  // namespace weft::handlers
