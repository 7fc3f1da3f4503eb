// Whom the death of a worker counts against.
#include <gtest/gtest.h>

#include <weft/jobs/crash_policy.h>

namespace weft {
namespace {

TEST(CrashPolicy, ADeathCountsAgainstAllUntilThereIsASuspect) {
  EXPECT_EQ(count_crash(0, false), 1u);
  EXPECT_EQ(count_crash(2, false), 3u);
  EXPECT_EQ(count_crash(0, true), 0u);
  EXPECT_EQ(count_crash(2, true), 2u);
  EXPECT_EQ(count_crash(3, true), 4u);
}

TEST(CrashPolicy, SuspectAtThreeDeadAtFive) {
  EXPECT_FALSE(is_suspect(2));
  EXPECT_TRUE(is_suspect(3));
  EXPECT_FALSE(is_crash_dead(4));
  EXPECT_TRUE(is_crash_dead(5));
}

}  // namespace
}  // namespace weft
