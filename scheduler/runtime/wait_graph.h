// Wait graph: who waits for whom. A cycle is a deadlock, and is refused instead of hung.
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

struct WaitCycle {
  std::string description;       // "'a' waits for mutex 'm' held by 'b', which waits for …"
  Waiter* mutex_wait = nullptr;  // a wait on a mutex in the cycle, which can be failed to break it
};

// Looks for a chain of waits from `from` (with `first` as what it waits for) back to `from`. An
// empty description: none. Limits: gives up after limits::kDeadlockSearch waits.
WaitCycle find_wait_cycle(TaskContext& from, Waiter& first);

}  // namespace weft
