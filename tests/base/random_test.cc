// Random must repeat itself from a seed: replaying a simulation rests on it.
#include <gtest/gtest.h>

#include <array>

#include <weft/base/random.h>

namespace weft {
namespace {

TEST(Random, SameSeedGivesSameNumbers) {
  Random a(7), b(7);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(a.next(), b.next());
}

TEST(Random, OtherSeedsGiveOtherNumbers) {
  Random a(7), b(8);
  int same = 0;
  for (int i = 0; i < 1000; ++i) same += a.next() == b.next();
  EXPECT_EQ(same, 0);
}

TEST(Random, KnownSequenceOfSplitMix64) {
  Random random(1234567);
  EXPECT_EQ(random.next(), 6457827717110365317u);
  EXPECT_EQ(random.next(), 3203168211198807973u);
}

TEST(Random, BelowStaysBelowAndReachesEveryValue) {
  Random random(1);
  std::array<int, 10> hits{};
  for (int i = 0; i < 10'000; ++i) {
    const uint64_t value = random.below(hits.size());
    ASSERT_LT(value, hits.size());
    ++hits[value];
  }
  for (int count : hits) EXPECT_GT(count, 800);
  EXPECT_EQ(random.below(1), 0u);
}

TEST(Random, SystemBitsDifferInBothHalves) {
  const auto a = system_random_bits(), b = system_random_bits();
  EXPECT_NE(a[0], b[0]);
  EXPECT_NE(a[1], b[1]);
}

TEST(Random, SystemSeedsDiffer) {
  Random a = Random::from_system(), b = Random::from_system();
  EXPECT_NE(a.next(), b.next());
}

}  // namespace
}  // namespace weft
