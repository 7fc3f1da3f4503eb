// LoopProbe: how another thread sees what a loop does, without touching what belongs to the loop.
#pragma once

#include <semaphore.h>
#include <sys/types.h>
#include <time.h>

#include <string>

#include <weft/runtime/event_loop.h>

namespace weft {

// Thread: made and destroyed on the loop's; the members are for one other thread, which is joined
// before. Lifetime: within the loop's. Limits: one in a process: it owns the handler of SIGURG,
// which is chosen because nobody sends out-of-band data, and because it is ignored where nobody
// handles it.
class LoopProbe {
 public:
  explicit LoopProbe(EventLoop& loop);
  ~LoopProbe();
  LoopProbe(const LoopProbe&) = delete;
  LoopProbe& operator=(const LoopProbe&) = delete;

  int64_t busy_since_ns() const { return loop_.busy_since_ns(); }
  const void* running_id() { return loop_.running_id(); }
  // CPU time that the loop's thread has had.
  int64_t cpu_ns() const;
  // How the kernel sees the thread: 'R' runs or would like to, 'S' and 'D' are blocked in a call.
  char thread_state() const;
  // The name of the task that runs, or of the next one around it that has a name. Interrupts the
  // loop's thread by a signal, so only for a loop that is in trouble: a handler's blocking call
  // that does not restart sees EINTR. Empty: no task runs, it has no name, or the thread gave no
  // answer.
  std::string running_name();

 private:
  EventLoop& loop_;
  pid_t thread_id_;
  clockid_t cpu_clock_;
};

}  // namespace weft
