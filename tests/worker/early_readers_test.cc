// Readers that are told of before their job is here.
#include <gtest/gtest.h>

#include <weft/worker/early_readers.h>

namespace weft {
namespace {

RemoteReaders readers(const std::string& job_id, uint64_t process, uint64_t credit,
                      uint64_t attempt = 0) {
  StreamReaders one;
  one.attached = 1;
  one.credit = credit;
  return RemoteReaders(job_id, {1, process}, one, attempt);
}

TEST(EarlyReaders, WhatCameBesideAnAnswerIsNewerThanWhatItSays) {
  EarlyReaders early;
  early.add(readers("a", 1, 20), EarlyReaders::kNewer);
  early.add(readers("a", 1, 10), EarlyReaders::kOlder);
  early.add(readers("a", 2, 30), EarlyReaders::kOlder);
  early.add(readers("b", 1, 1), EarlyReaders::kNewer);
  early.add(readers("b", 1, 2), EarlyReaders::kNewer);
  ASSERT_EQ(early.of("a").size(), 2u);
  EXPECT_EQ(early.of("a")[0].readers.credit, 20u);
  EXPECT_EQ(early.of("a")[1].readers.credit, 30u);
  ASSERT_EQ(early.of("b").size(), 1u);
  EXPECT_EQ(early.of("b")[0].readers.credit, 2u);
  EXPECT_TRUE(early.of("c").empty());
  EXPECT_FALSE(early.clear());
  EXPECT_TRUE(early.of("a").empty());
}

TEST(EarlyReaders, ThoseOfAnEarlierAttemptAreOlderWheneverTheyCome) {
  EarlyReaders early;
  early.add(readers("a", 1, 99, 1), EarlyReaders::kNewer);
  early.add(readers("a", 1, 10, 2), EarlyReaders::kOlder);
  early.add(readers("a", 1, 98, 1), EarlyReaders::kNewer);
  ASSERT_EQ(early.of("a").size(), 1u);
  EXPECT_EQ(early.of("a")[0].readers.credit, 10u);
  early.add(readers("a", 1, 20, 2), EarlyReaders::kNewer);
  EXPECT_EQ(early.of("a")[0].readers.credit, 20u);
}

TEST(EarlyReaders, WhoeverFindsNoRoomIsSaidToBeLeftOut) {
  EarlyReaders early;
  for (uint64_t i = 1; i <= limits::kReaders; ++i) {
    early.add(readers("a", i, i), EarlyReaders::kNewer);
  }
  EXPECT_FALSE(EarlyReaders(early).clear());
  early.add(readers("b", 1, 1), EarlyReaders::kNewer);
  EXPECT_TRUE(early.of("b").empty());
  EXPECT_TRUE(early.clear());
  EXPECT_FALSE(early.clear());
}

}  // namespace
}  // namespace weft
