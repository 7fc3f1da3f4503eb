// The promotion loop.
#include <spdlog/spdlog.h>

#include <algorithm>

#include <weft/base/limits.h>
#include <weft/runtime/sleep.h>
#include <weft/worker/promoter.h>

namespace weft {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPoll(limits::kPromotePollMs);
// Nothing tells it that the store is back.
constexpr milliseconds kPauseMax = 2 * kPoll;
// What is due at a time of the wall clock is looked for so often: that clock may have been set.
constexpr milliseconds kClockPoll = 60 * kPoll;
// Also the least time between two calls: a yield alone would keep the kernel waiting for many.
constexpr milliseconds kTick(1);

}  // namespace

Promoter::~Promoter() { EventLoop::current()->disarm(*this); }

void Promoter::on_scheduled(milliseconds in) { look_after(in); }

void Promoter::look_after(milliseconds in) {
  EventLoop* loop = EventLoop::current();
  const int64_t at_ns = loop->after_ns(std::clamp(in, kTick, kClockPoll));
  if (at_ns >= look_ns_) return;
  look_ns_ = at_ns;
  loop->disarm(*this);
  loop->arm(*this, at_ns);
}

void Promoter::fire() {
  look_ns_ = INT64_MAX;
  due_.set();
}

Task<void> Promoter::run() {
  milliseconds pause = kPoll;
  for (;;) {
    due_.reset();
    Task<StatusOr<Promoted>> call = store_.promote(limits::kPromoteBatch);
    const StatusOr<Promoted> promoted = co_await call;
    if (!promoted.ok()) {
      // Once: the store itself says how its outage goes on.
      if (pause == kPoll) {
        spdlog::warn("jobs that are due wait for the store: {}",
                     from_absl(promoted.status().message()));
      }
      co_await sleep_for(pause);
      pause = std::min(2 * pause, kPauseMax);
      continue;
    }
    pause = kPoll;
    if (promoted->jobs >= limits::kPromoteBatch) {
      co_await sleep_for(kTick);
      continue;
    }
    if (promoted->next_in) look_after(*promoted->next_in);
    if (shared_) look_after(kPoll);
    co_await due_.wait();
  }
}

}  // namespace weft
