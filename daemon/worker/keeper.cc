// What the keeper sees at each look, and what it says.
#include <pthread.h>
#include <signal.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>

#include <weft/base/clock.h>
#include <weft/worker/keeper.h>

namespace weft {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kLongestPeriodMs = 1000;
constexpr int64_t kLeaseRetryMs = 250;  // after a question that was not answered

// Often enough to be late by a fourth at most.
std::chrono::milliseconds period_of(const KeeperOptions& options) {
  int64_t ms = std::min(options.stall_ms / 4, kLongestPeriodMs);
  if (options.watchdog_ms > 0) ms = std::min(ms, options.watchdog_ms / 6);
  if (options.lease) ms = std::min(ms, options.renew_ms / 8);
  return std::chrono::milliseconds(std::max<int64_t>(ms, 1));
}

int64_t monotonic_ns() { return RealClock::instance().monotonic_ns(); }

}  // namespace

Keeper::Keeper(EventLoop& loop, KeeperOptions options)
    : loop_(loop), options_(std::move(options)), probe_(loop), thread_([this] { run(); }) {}

Keeper::~Keeper() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
  loop_.withdraw_urgent(lease_gone_);
}

KeeperStats Keeper::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

void Keeper::run() {
  pthread_setname_np(pthread_self(), "keeper");
  const std::chrono::milliseconds period = period_of(options_);
  std::unique_lock lock(mutex_);
  while (!stop_) {
    lock.unlock();
    look(monotonic_ns());
    lock.lock();
    wake_.wait_for(lock, period, [this] { return stop_; });
  }
}

void Keeper::look(int64_t now_ns) {
  const int64_t since_ns = probe_.busy_since_ns();
  if (since_ns != stretch_.since_ns) {
    if (stretch_.stalled) end(since_ns == EventLoop::kIdle ? now_ns : since_ns);
    begin(since_ns, now_ns);
  } else if (probe_.running_id() != stretch_.runner) {
    stretch_.runner = probe_.running_id();
    stretch_.runner_since_ns = now_ns;
  }
  const int64_t held_ns = since_ns == EventLoop::kIdle ? 0 : now_ns - since_ns;
  if (held_ns >= options_.stall_ms * kMs) report(now_ns);
  const bool hung = held_ns >= options_.hung_ms * kMs;
  if (hung && !stretch_.hung) {
    stretch_.hung = true;
    spdlog::error("the loop hangs: it has not asked the kernel for {} ms{}", held_ns / kMs,
                  options_.watchdog_ms > 0 ? ", so the service watchdog is not fed any more" : "");
  }
  if (options_.watchdog_ms > 0 && !hung && now_ns - fed_ns_ >= options_.watchdog_ms * kMs / 3) {
    fed_ns_ = now_ns;
    options_.feed_watchdog();
  }
  // The loop's own last renewal may be as old as renew_ms by then.
  if (options_.lease && held_ns >= options_.renew_ms * kMs / 2) keep_lease(now_ns);
}

void Keeper::keep_lease(int64_t now_ns) {
  if (now_ns - renewed_ns_ < options_.renew_ms * kMs) return;
  const int64_t since_ns = stretch_.since_ns;
  const bool renew = now_ns - since_ns < options_.renew_limit_ms * kMs;
  if (!renew && !stretch_.lease_left) {
    stretch_.lease_left = true;
    spdlog::error(
        "the loop is held for {} ms: its lease is not renewed any more, so that others can run its "
        "jobs",
        (now_ns - since_ns) / kMs);
  }
  const LeaseState state = options_.lease(renew);
  // Nobody knows how much of the lease is left by then, so it does not wait as after an answer.
  const int64_t early_ms = std::max<int64_t>(options_.renew_ms - kLeaseRetryMs, 0);
  renewed_ns_ = state == LeaseState::kUnknown ? monotonic_ns() - early_ms * kMs : now_ns;
  if (state == LeaseState::kGone) loop_.post_urgent(lease_gone_);
  std::lock_guard lock(mutex_);
  if (renew && state == LeaseState::kHeld) ++stats_.renewals;
}

void Keeper::begin(int64_t since_ns, int64_t now_ns) {
  stretch_ = Stretch();
  stretch_.since_ns = since_ns;
  if (since_ns == EventLoop::kIdle) return;
  stretch_.first_seen_ns = now_ns;
  stretch_.cpu_ns = probe_.cpu_ns();
  stretch_.runner = probe_.running_id();
  stretch_.runner_since_ns = now_ns;
}

void Keeper::report(int64_t now_ns) {
  const int64_t held_ns = now_ns - stretch_.since_ns;
  {
    std::lock_guard lock(mutex_);
    if (!stretch_.stalled) ++stats_.stalls;
    stats_.longest_stall_ns = std::max(stats_.longest_stall_ns, held_ns);
  }
  stretch_.stalled = true;
  if (now_ns < next_log_ns_) return;
  const std::string whom = blame(now_ns);
  // While it was asked, it may have gone on: then there is nobody left to blame.
  if (probe_.busy_since_ns() != stretch_.since_ns) return;
  next_log_ns_ = now_ns + std::max(limits::kStallLogMs * kMs, held_ns);
  stretch_.logged = true;
  spdlog::warn("{}", whom);
}

void Keeper::end(int64_t now_ns) {
  const int64_t held_ns = now_ns - stretch_.since_ns;
  {
    std::lock_guard lock(mutex_);
    stats_.longest_stall_ns = std::max(stats_.longest_stall_ns, held_ns);
  }
  if (stretch_.logged) spdlog::warn("the loop goes on after {} ms", held_ns / kMs);
}

std::string Keeper::blame(int64_t now_ns) {
  const std::string held = std::to_string((now_ns - stretch_.since_ns) / kMs) + " ms";
  const char state = probe_.thread_state();  // asked first: the next question wakes the thread
  const int64_t seen_ns = now_ns - stretch_.first_seen_ns;
  const int64_t cpu_ns = probe_.cpu_ns() - stretch_.cpu_ns;
  if (now_ns - stretch_.runner_since_ns < options_.stall_ms * kMs / 4) {
    return "the loop is busy for " + held +
           " with many tasks that never wait: let them co_await yield_now(), or move their work to "
           "the executor (job.offload)";
  }
  std::string name = probe_.running_name();
  if (name.empty()) name = stretch_.runner == nullptr ? "weft itself" : "a task without a name";
  const std::string by = "the loop is held for " + held + " by " + name;
  if (state == 'S' || state == 'D') {
    return by + ", which waits in a blocking call: move that to the executor (job.offload)";
  }
  if (cpu_ns < seen_ns / 4) {
    return by + ", but the machine gave it only " + std::to_string(cpu_ns / kMs) +
           " ms of CPU in " + std::to_string(seen_ns / kMs) + " ms: let it run beside fewer others";
  }
  return by + ": move CPU work to the executor (job.offload)";
}

}  // namespace weft
