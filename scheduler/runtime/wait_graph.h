// Wait graph: who waits for whom. A cycle is a deadlock, and is refused instead of hung.
//
// Seen are the waits whose other side is known: a mutex has its holder, the end of a group its
// children, a task or a generator the one coroutine that awaits it. Anybody may set an event, send
// into a channel, give a permit back or let a timer pass: a cycle through one of those is not seen,
// and shows in a dump as tasks that wait for longer than they should.
#pragma once

#include <stdexcept>
#include <string>

#include <weft/runtime/cancellation.h>

namespace weft {

// Thrown to the task whose wait would close, or closed, a cycle. The message spells the cycle out.
class DeadlockError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// "'name'"; for a task without a name the next one around it that has one: "a task of 'name'".
std::string shown_name(const TaskContext& context);

struct WaitCycle {
  std::string description;       // "'a' waits for mutex 'm' held by 'b', which waits for …"
  Waiter* mutex_wait = nullptr;  // a wait on a mutex in the cycle, which can be failed to break it
};

// Looks for a chain of waits from `from` (with `first` as what it waits for) back to `from`. An
// empty description: none. Limits: gives up after limits::kDeadlockSearch waits.
WaitCycle find_wait_cycle(TaskContext& from, Waiter& first);

}  // namespace weft
