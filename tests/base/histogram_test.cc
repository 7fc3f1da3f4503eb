// Histogram: which bucket a duration falls into, and what is read from the buckets.
#include <gtest/gtest.h>

#include <weft/base/histogram.h>

namespace weft {
namespace {

// The bucket the one value is in.
size_t bucket_of(int64_t ns) {
  Histogram histogram;
  histogram.add_ns(ns);
  size_t bucket = 0;
  while (bucket < Histogram::kBuckets && histogram.in_bucket(bucket) == 0) ++bucket;
  return bucket;
}

TEST(Histogram, ABucketHoldsItsUpperBoundAndNothingAbove) {
  for (size_t i = 0; i < Histogram::kBuckets - 1; ++i) {
    const auto upper_ns = static_cast<int64_t>(Histogram::upper_us(i)) * 1000;
    EXPECT_EQ(bucket_of(upper_ns), i) << upper_ns;
    EXPECT_EQ(bucket_of(upper_ns + 1), i + 1) << upper_ns;
  }
}

TEST(Histogram, TheEndsTakeWhatIsBeyondThem) {
  EXPECT_EQ(bucket_of(-5), 0u);
  EXPECT_EQ(bucket_of(0), 0u);
  EXPECT_EQ(bucket_of(1), 0u);
  EXPECT_EQ(bucket_of(INT64_MAX), Histogram::kBuckets - 1);
}

TEST(Histogram, CountsAndAddsUp) {
  Histogram histogram;
  EXPECT_EQ(histogram.count(), 0u);
  EXPECT_EQ(histogram.percentile_us(0.99), 0u);
  for (int i = 0; i < 99; ++i) histogram.add_ns(3'000);
  histogram.add_ns(900'000);
  EXPECT_EQ(histogram.count(), 100u);
  EXPECT_EQ(histogram.sum_ns(), 99 * 3'000 + 900'000);
  EXPECT_EQ(histogram.in_bucket(2), 99u);
  EXPECT_EQ(histogram.in_bucket(10), 1u);
}

TEST(Histogram, PercentilesAreUpperBounds) {
  Histogram histogram;
  for (int i = 0; i < 99; ++i) histogram.add_ns(3'000);
  histogram.add_ns(900'000);
  EXPECT_EQ(histogram.percentile_us(0), 4u) << "empty buckets below hold no value";
  EXPECT_EQ(histogram.percentile_us(0.5), 4u);
  EXPECT_EQ(histogram.percentile_us(0.99), 4u);
  EXPECT_EQ(histogram.percentile_us(0.995), 1024u);
  EXPECT_EQ(histogram.percentile_us(1), 1024u);
}

}  // namespace
}  // namespace weft
