// Histogram: counts durations in fixed buckets; one adding costs a few nanoseconds.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace weft {

// Bucket i counts values up to 2^i microseconds; the last one all that is longer (above 2^32 µs,
// more than an hour). Thread: one at a time.
class Histogram {
 public:
  static constexpr size_t kBuckets = 34;

  void add_ns(int64_t ns) {
    const uint64_t us = ns <= 0 ? 0 : (static_cast<uint64_t>(ns) + 999) / 1000;
    const size_t bucket = us <= 1 ? 0 : static_cast<size_t>(std::bit_width(us - 1));
    ++counts_[bucket < kBuckets ? bucket : kBuckets - 1];
    ++count_;
    sum_ns_ += ns;
  }
  uint64_t count() const { return count_; }
  int64_t sum_ns() const { return sum_ns_; }
  uint64_t in_bucket(size_t bucket) const { return counts_[bucket]; }
  // Upper bound of a bucket, in microseconds. REQUIRES: bucket < kBuckets - 1.
  static uint64_t upper_us(size_t bucket) { return uint64_t{1} << bucket; }
  // Upper bound of the bucket in which the value at `fraction` (0 to 1) lies; 0 when empty.
  uint64_t percentile_us(double fraction) const {
    const double wanted = fraction * static_cast<double>(count_);
    uint64_t seen = 0;
    for (size_t i = 0; i < kBuckets; ++i) {
      seen += counts_[i];
      if (seen > 0 && static_cast<double>(seen) >= wanted) return upper_us(i);
    }
    return 0;
  }

 private:
  std::array<uint64_t, kBuckets> counts_{};
  uint64_t count_ = 0;
  int64_t sum_ns_ = 0;
};

}  // namespace weft
