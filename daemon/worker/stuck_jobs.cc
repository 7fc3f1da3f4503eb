// The look at each attempt in turn.
#include <spdlog/spdlog.h>

#include <chrono>

#include <weft/base/limits.h>
#include <weft/runtime/sleep.h>
#include <weft/worker/stuck_jobs.h>

namespace weft {

using internal::JobContext;

void StuckJobs::remove(JobContext& context) {
  static_cast<ListNode<StuckJobs>&>(context).unlink();
  if (context.stuck) --count_;
  context.stuck = false;
}

Task<void> StuckJobs::watch() {
  for (;;) {
    co_await sleep_for(std::chrono::milliseconds(limits::kStuckLookMs));
    const int64_t now_ns = EventLoop::current()->now_ns();
    IntrusiveList<JobContext, StuckJobs> seen;
    for (size_t n = 0; n < limits::kStuckLook; ++n) {
      JobContext* context = all_.pop_front();
      if (context == nullptr) break;
      look_at(*context, now_ns);
      seen.push_back(*context);
    }
    while (JobContext* context = seen.pop_front()) all_.push_back(*context);
  }
}

void StuckJobs::look_at(JobContext& context, int64_t now_ns) {
  if (context.stuck || !context.scope().cancelled()) return;
  if (context.cancelled_seen_ns < 0) context.cancelled_seen_ns = now_ns;
  if (now_ns - context.cancelled_seen_ns < limits::kStuckMs * 1'000'000) return;
  context.stuck = true;
  ++count_;
  spdlog::warn(
      "job {} ({}) goes on and keeps its slot {} s after it was cancelled ({}): its handler "
      "catches "
      "the cancellation, or work it offloaded does not ask its token",
      context.token().job_id, context.record().spec().type(), limits::kStuckMs / 1000,
      to_string(context.scope().reason()));
}

}  // namespace weft
