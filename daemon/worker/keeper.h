// Keeper: a thread of its own that watches the loop: it names the task that holds it, and feeds the
// service watchdog for as long as it beats.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include <weft/base/limits.h>
#include <weft/runtime/loop_probe.h>

namespace weft {

struct KeeperOptions {
  int64_t stall_ms = limits::kStallMs;  // a loop held longer is a stall
  int64_t hung_ms = limits::kHungMs;    // from here on the watchdog is not fed
  int64_t watchdog_ms = 0;              // it is fed three times in this time; 0: there is none
  // Called on the keeper's thread; must not block.
  std::function<void()> feed_watchdog = nullptr;
};

struct KeeperStats {
  uint64_t stalls = 0;
  int64_t longest_stall_ns = 0;
};

// Logs a line when the loop has not asked the kernel for stall_ms, more of them while that goes on,
// each after twice the time (and at least limits::kStallLogMs after the one before, of whatever
// stall), and one with the whole length when it is over. A loop that waits in the kernel is well.
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
  };

  void run();
  void look(int64_t now_ns);
  void begin(int64_t since_ns, int64_t now_ns);
  void end(int64_t now_ns);
  void report(int64_t now_ns);
  std::string blame(int64_t now_ns);

  const KeeperOptions options_;
  LoopProbe probe_;
  Stretch stretch_;
  int64_t next_log_ns_ = 0;
  int64_t fed_ns_ = 0;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  bool stop_ = false;
  KeeperStats stats_;
  std::thread thread_;  // last: it uses the rest
};

}  // namespace weft
