// The real clock.
#include <time.h>

#include <weft/base/clock.h>

namespace weft {
namespace {

int64_t read_ns(clockid_t id) {
  timespec t;
  clock_gettime(id, &t);
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

}  // namespace

RealClock& RealClock::instance() {
  static RealClock clock;
  return clock;
}

int64_t RealClock::monotonic_ns() const { return read_ns(CLOCK_MONOTONIC); }
int64_t RealClock::wall_ns() const { return read_ns(CLOCK_REALTIME); }

}  // namespace weft
