// Snooze: how a handler puts its job off.
#pragma once

#include <chrono>

namespace weft {

// throw Snooze(10min): the attempt ends here and the job runs again that much later. It is no
// failure and counts against no limit but its own, limits::kSnoozes. Like Cancelled it is not a
// std::exception: `catch (const std::exception&)` lets it pass.
// Limits: 0 to 30 days; anything else fails the attempt.
class Snooze {
 public:
  explicit Snooze(std::chrono::nanoseconds duration) : duration_(duration) {}
  std::chrono::nanoseconds duration() const { return duration_; }

 private:
  std::chrono::nanoseconds duration_;
};

}  // namespace weft
