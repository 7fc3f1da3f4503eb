// OwnLoop: a store belongs to the loop that used it first; debug builds check every entry.
#pragma once

#include <weft/base/check.h>
#include <weft/runtime/event_loop.h>

namespace weft {

class OwnLoop {
 public:
  // At the start of every verb.
  void enter() {
    EventLoop* loop = EventLoop::current();
    WEFT_DCHECK(loop != nullptr && (loop_ == nullptr || loop_ == loop),
                "a store is used on one loop, and on its thread");
    loop_ = loop;
  }

 private:
  EventLoop* loop_ = nullptr;
};

}  // namespace weft
