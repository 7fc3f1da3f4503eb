// Clock: where time comes from. Injected, so that tests and simulation own it.
#pragma once

#include <cstdint>

namespace weft {

// Nanoseconds. Monotonic time has no epoch; wall time counts from 1970 and may jump.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t monotonic_ns() const = 0;
  virtual int64_t wall_ns() const = 0;
};

// The system's clocks. Thread: any.
class RealClock final : public Clock {
 public:
  static RealClock& instance();
  int64_t monotonic_ns() const override;
  int64_t wall_ns() const override;
};

// Stands still until advanced. An EventLoop on a VirtualClock advances it to the next timer when
// nothing else can happen, so tests never wait. Thread: the loop's.
class VirtualClock final : public Clock {
 public:
  int64_t monotonic_ns() const override { return now_ns_; }
  int64_t wall_ns() const override { return kWallStart_ns + now_ns_; }
  void advance_to(int64_t monotonic_ns) {
    if (monotonic_ns > now_ns_) now_ns_ = monotonic_ns;
  }

 private:
  static constexpr int64_t kWallStart_ns = 1'700'000'000'000'000'000;
  int64_t now_ns_ = 0;
};

}  // namespace weft
