// LoopAffinity: what makes the entry points of a loop's objects refuse calls from other threads.
#pragma once

#include <weft/base/check.h>
#include <weft/runtime/event_loop.h>

namespace weft {

// A member of objects that belong to the loop they were made on. Costs a pointer; the check is
// gone from release builds.
class LoopAffinity {
 public:
  void check() const {
    WEFT_DCHECK(EventLoop::current() == loop_, "only on the thread of the loop it was made on");
  }

 private:
  [[maybe_unused]] const EventLoop* loop_ = EventLoop::current();
};

}  // namespace weft
