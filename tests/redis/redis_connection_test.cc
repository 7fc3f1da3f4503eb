// RedisConnection against a real redis-server.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <weft/runtime/combinators.h>
#include <weft/store/redis/redis_connection.h>

#include "tests/redis/redis_bed.h"
#include "tests/support/coro_test.h"
#include "tests/support/redis_server.h"

namespace weft {
namespace {

using testing::comes_true;
using testing::RedisProcess;
using testing::with_redis;
using testing::words;

TEST(RedisConnection, AnswersEveryTypeOfReply) {
  RedisProcess server;
  with_redis(server.url(), {}, [](RedisConnection& redis) -> Task<void> {
    co_await redis.wait_connected();
    const auto pong = co_await redis.call(RedisCommand("PING"));
    WEFT_ASSERT(pong.ok());
    EXPECT_EQ(pong->type(), RedisReply::Type::kStatus);
    EXPECT_EQ(pong->text(), "PONG");
    const auto nested = co_await redis.call(words(
        {"EVAL", "return {1, 'two', false, {'a', {}, {'b'}}, redis.error_reply('E inner')}", "0"}));
    WEFT_ASSERT(nested.ok());
    WEFT_ASSERT(nested->size() == 5);
    EXPECT_EQ((*nested)[0].integer(), 1);
    EXPECT_EQ((*nested)[1].text(), "two");
    EXPECT_TRUE((*nested)[2].is_nil());
    EXPECT_EQ((*nested)[3][0].text(), "a");
    EXPECT_EQ((*nested)[3][1].type(), RedisReply::Type::kArray);
    EXPECT_EQ((*nested)[3][1].size(), 0u);
    EXPECT_EQ((*nested)[3][2][0].text(), "b");
    EXPECT_TRUE((*nested)[4].is_error());
    EXPECT_TRUE((*nested)[5].is_nil());
  });
}

}  // namespace
}  // namespace weft
