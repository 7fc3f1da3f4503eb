// Keeper: a thread of its own that watches the loop: it names the task that holds it, feeds the
// service watchdog for as long as it beats, and keeps the worker's lease while it is held.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include <weft/base/limits.h>
#include <weft/runtime/loop_probe.h>
#include <weft/store/worker_store.h>

namespace weft {

struct KeeperOptions {
  int64_t stall_ms = limits::kStallMs;  // a loop held longer is a stall
  int64_t hung_ms = limits::kHungMs;    // from here on the watchdog is not fed
  int64_t watchdog_ms = 0;              // it is fed three times in this time; 0: there is none
  // Called on the keeper's thread; must not block.
  std::function<void()> feed_watchdog = nullptr;
  // Looks at the lease, and makes it last when asked to; null: there is none. Called on the
  // keeper's thread; blocks for a moment at most.
  std::function<LeaseState(bool renew)> lease = nullptr;
  // Called on the loop's thread before it resumes another task, when the lease is gone.
  std::function<void()> give_up_lease = nullptr;
  int64_t renew_ms = limits::kRenewMs;  // of a held loop the lease is renewed this often
  int64_t renew_limit_ms = limits::kKeeperRenewMs;  // …for so long; then it is only looked at
};

struct KeeperStats {
  uint64_t stalls = 0;
  int64_t longest_stall_ns = 0;
  uint64_t renewals = 0;  // of the lease
};

// Logs a line when the loop has not asked the kernel for stall_ms, more of them while that goes on,
// each after twice the time (and at least limits::kStallLogMs after the one before, of whatever
// stall), and one with the whole length when it is over. A loop that waits in the kernel is well.
// A loop that is held renews no lease, so this does, else its neighbours would run twice because of
// one bad handler; but not for ever, as a loop that hangs has to lose its jobs to others.
// Thread: made and destroyed on the loop's. stats(): any. Lifetime: within the loop's.
// Limits: one in a process, as the probe it holds.
class Keeper {
 public:
  Keeper(EventLoop& loop, KeeperOptions options);
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  KeeperStats stats() const;

 private:
  // The stretch of time without a beat that goes on now.
  struct Stretch {
    int64_t since_ns = EventLoop::kIdle;
    int64_t first_seen_ns = 0;
    int64_t cpu_ns = 0;            // of the loop's thread when first seen
    const void* runner = nullptr;  // the task that ran at the last look…
    int64_t runner_since_ns = 0;   // …and at every look since then
    bool stalled = false;
    bool logged = false;
    bool hung = false;
    bool lease_left = false;  // it is not renewed any more
  };
  // Tells the loop that its lease is gone.
  class LeaseGone final : public Mail {
   public:
    explicit LeaseGone(const KeeperOptions& options) : options_(options) {}
    void deliver() override { options_.give_up_lease(); }

   private:
    const KeeperOptions& options_;
  };

  void run();
  void look(int64_t now_ns);
  void begin(int64_t since_ns, int64_t now_ns);
  void end(int64_t now_ns);
  void report(int64_t now_ns);
  std::string blame(int64_t now_ns);
  void keep_lease(int64_t now_ns);

  EventLoop& loop_;
  const KeeperOptions options_;
  LeaseGone lease_gone_{options_};
  LoopProbe probe_;
  Stretch stretch_;
  int64_t next_log_ns_ = 0;
  int64_t fed_ns_ = 0;
  int64_t renewed_ns_ = 0;  // looked at, at least

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  bool stop_ = false;
  KeeperStats stats_;
  std::thread thread_;  // last: it uses the rest
};

}  // namespace weft
