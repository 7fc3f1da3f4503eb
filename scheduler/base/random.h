// Random: one seedable source, injected wherever chance is used, so that a run can be replayed.
#pragma once

#include <array>
#include <cstdint>

namespace weft {

// 128 bits from the kernel: for what must never be drawn twice, anywhere.
std::array<uint64_t, 2> system_random_bits();

// SplitMix64 (Steele, Lea, Flood 2014): small state, any seed is good. Not for secrets.
// Thread: one at a time.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  // A source seeded by the kernel.
  static Random from_system();

  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  // Uniform in [0, bound); bound > 0.
  uint64_t below(uint64_t bound) {
    return static_cast<uint64_t>((static_cast<Wide>(next()) * bound) >> 64);
  }

 private:
  __extension__ using Wide = unsigned __int128;
  uint64_t state_;
};

}  // namespace weft
