// The sweep loop.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>

#include <weft/base/limits.h>
#include <weft/runtime/sleep.h>
#include <weft/worker/janitor.h>

namespace weft {
namespace {

constexpr std::chrono::milliseconds kPause(limits::kSweepMs);
constexpr std::chrono::milliseconds kPauseMax = 32 * kPause;

}  // namespace

Task<void> Janitor::run() {
  std::chrono::milliseconds pause = kPause;
  for (;;) {
    Task<StatusOr<size_t>> sweep = store_.sweep(limits::kSweepBatch);
    const StatusOr<size_t> swept = co_await sweep;
    if (!swept.ok()) {
      // Once: the store itself says how its outage goes on.
      if (pause == kPause) {
        spdlog::warn("finished jobs are kept longer than they should be: {}",
                     from_absl(swept.status().message()));
      }
      pause = std::min(2 * pause, kPauseMax);
    } else {
      pause = kPause;
      if (*swept >= limits::kSweepBatch) {
        co_await yield_now();
        continue;
      }
    }
    co_await sleep_for(pause);
  }
}

}  // namespace weft
