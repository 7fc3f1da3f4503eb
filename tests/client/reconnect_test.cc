// The arithmetic of reconnecting: pauses and sequences.
#include <gtest/gtest.h>

#include <weft/client/reconnect.h>

#include "tests/client/fake_server.h"

namespace weft {
namespace {

using testing::attempt_event;
using testing::chunks_event;

TEST(Backoff, PausesGrowToASecondAndAreCutByAtMostHalf) {
  Backoff backoff(1);
  int64_t full_ms = 20;
  for (int i = 0; i < 10; ++i) {
    const auto pause = backoff.next(3'600'000);
    ASSERT_TRUE(pause.has_value());
    EXPECT_GE(pause->count(), full_ms / 2);
    EXPECT_LE(pause->count(), full_ms);
    full_ms = std::min<int64_t>(full_ms * 2, 1'000);
  }
}

TEST(Backoff, GivesUpAtItsLimitAndResetStartsAgain) {
  Backoff backoff(1);
  EXPECT_FALSE(backoff.next(0).has_value());
  backoff.reset();
  const auto pause = backoff.next(3'600'000);
  ASSERT_TRUE(pause.has_value());
  EXPECT_LE(pause->count(), 20);
}

TEST(Backoff, TwoClientsDoNotComeBackTogether) {
  Backoff one(1), two(2);
  int same = 0;
  for (int i = 0; i < 20; ++i) same += one.next(3'600'000) == two.next(3'600'000);
  EXPECT_LT(same, 5);
}

TEST(SequenceCursor, CutsWhatCameBefore) {
  SequenceCursor cursor(3);
  v1::Event event = chunks_event(1, {"a", "b", "c", "d"});
  ASSERT_TRUE(cursor.accept(event).ok());
  EXPECT_EQ(event.chunks().first_sequence(), 3u);
  ASSERT_EQ(event.chunks().data_size(), 2);
  EXPECT_EQ(event.chunks().data(0), "c");
  EXPECT_EQ(cursor.next(), 5u);
  v1::Event again = chunks_event(3, {"c", "d"});
  ASSERT_TRUE(cursor.accept(again).ok());
  EXPECT_EQ(again.chunks().data_size(), 0);
  EXPECT_EQ(cursor.next(), 5u);
}

TEST(SequenceCursor, RefusesAMissingChunk) {
  SequenceCursor cursor(3);
  v1::Event event = chunks_event(4, {"d"});
  EXPECT_EQ(cursor.accept(event).code(), StatusCode::kDataLoss);
}

TEST(SequenceCursor, TakesAnyFirstSequenceWhenNoneWasAskedFor) {
  SequenceCursor cursor(0);
  v1::Event event = chunks_event(100, {"x"});
  EXPECT_TRUE(cursor.accept(event).ok());
  EXPECT_EQ(cursor.next(), 101u);
}

TEST(SequenceCursor, ANewAttemptMaySkipChunksItReplaces) {
  SequenceCursor cursor(2);
  v1::Event attempt = attempt_event(2, 9);
  EXPECT_TRUE(cursor.accept(attempt).ok());
  v1::Event event = chunks_event(10, {"x"});
  EXPECT_TRUE(cursor.accept(event).ok());
  EXPECT_EQ(cursor.next(), 11u);
}

}  // namespace
}  // namespace weft
