// SignalSet: process signals as awaitable values.
#pragma once

#include <initializer_list>

#include <weft/runtime/fd_watch.h>
#include <weft/runtime/task.h>

namespace weft {

// Blocks the signals for the whole process and reads them from a descriptor on the loop.
// Thread: make it on the loop thread before any other thread starts, so that all inherit the mask.
class SignalSet {
 public:
  explicit SignalSet(std::initializer_list<int> signals);
  SignalSet(const SignalSet&) = delete;
  SignalSet& operator=(const SignalSet&) = delete;

  // The number of the next signal.
  Task<int> next();

 private:
  OwnedFd fd_;
  FdWatch watch_;
};

}  // namespace weft
