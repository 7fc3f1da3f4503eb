// What a real server refuses, and what callers are told.
#include <gtest/gtest.h>

#include <string>

#include <weft/store/redis/redis_connection.h>
#include <weft/store/redis/redis_refusal.h>

#include "tests/redis/redis_bed.h"
#include "tests/support/coro_test.h"
#include "tests/support/redis_server.h"

namespace weft {
namespace {

using testing::comes_true;
using testing::health;
using testing::RedisAnswers;
using testing::RedisProcess;
using testing::refused;
using testing::start_call;
using testing::with_redis;
using testing::words;

// SET is refused so, counted under `kind`, and goes through after `mend`.
void expect_refusal(RedisProcess& server, const std::string& kind, StatusCode code,
                    std::vector<std::string> mend) {
  with_redis(server.url(), {}, [&](RedisConnection& redis) -> Task<void> {
    co_await redis.wait_connected();
    const auto reply = co_await redis.call(words({"SET", "k", "v"}));
    EXPECT_EQ(reply.status().code(), code) << reply.status();
    EXPECT_GT(retry_ms_of(reply.status()), 0);
    EXPECT_NE(reply.status().ToString().find(kind), std::string::npos);
    EXPECT_GE(refused(redis, kind), 1u);
    server.command(mend);
    const auto again = co_await redis.call(words({"SET", "k", "v"}));
    EXPECT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(redis.stats().connects, 1u);
  });
}

TEST(RedisRefusal, IsToldByItsFirstWord) {
  EXPECT_EQ(refusal_of("OOM command not allowed"), RedisRefusal::kOom);
  EXPECT_EQ(refusal_of("OOM"), RedisRefusal::kOom);
  EXPECT_EQ(refusal_of("ERR OOM"), RedisRefusal::kOther);
  EXPECT_EQ(refusal_of("OTHER"), RedisRefusal::kOther);
  EXPECT_EQ(refusal_of(""), RedisRefusal::kOther);
  for (size_t i = 0; i < kRedisRefusals; ++i) {
    const auto refusal = static_cast<RedisRefusal>(i);
    EXPECT_EQ(refusal_of(to_string(refusal)), refusal);
    EXPECT_FALSE(status_of(refusal, "redis://host", "why").ok());
  }
}

TEST(RedisRefusal, OfAFullServerIsResourceExhausted) {
  RedisProcess server({.arguments = {"--maxmemory", "1"}});
  expect_refusal(server, "OOM", StatusCode::kResourceExhausted,
                 {"CONFIG", "SET", "maxmemory", "0"});
}

TEST(RedisRefusal, OfAServerThatCannotSaveIsUnavailable) {
  RedisProcess server;
  // A folder where the snapshot belongs.
  std::filesystem::create_directory(server.folder() / "dump.rdb");
  server.command({"CONFIG", "SET", "save", "3600 1"});
  server.command({"BGSAVE"});
  ASSERT_TRUE(server.await_field("rdb_last_bgsave_status", "err"));
  expect_refusal(server, "MISCONF", StatusCode::kUnavailable,
                 {"CONFIG", "SET", "stop-writes-on-bgsave-error", "no"});
}

TEST(RedisRefusal, OfAServerWithoutItsReplicasIsUnavailable) {
  RedisProcess server({.arguments = {"--min-replicas-to-write", "1"}});
  expect_refusal(server, "NOREPLICAS", StatusCode::kUnavailable,
                 {"CONFIG", "SET", "min-replicas-to-write", "0"});
}

TEST(RedisRefusal, OfAReplicaEndsTheConnectionUntilItIsTheMaster) {
  RedisProcess server;
  with_redis(server.url(), {}, [&](RedisConnection& redis) -> Task<void> {
    co_await redis.wait_connected();
    EXPECT_EQ(server.command({"REPLICAOF", "127.0.0.1", "1"}), "OK");
    RedisAnswers answers;
    auto block = [&](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < 2; ++i) start_call(group, redis, words({"SET", "k", "v"}), answers);
      co_return;
    };
    co_await with_group(block);
    WEFT_ASSERT(answers.size() == 2);
    for (const auto& answer : answers) {
      EXPECT_EQ(answer.status().code(), StatusCode::kUnavailable);
      EXPECT_NE(answer.status().ToString().find("READONLY"), std::string::npos);
    }
    EXPECT_EQ(refused(redis, "READONLY"), 1u);
    const bool said = co_await comes_true(
        [&] { return health(redis).find("is a replica, not a master") != std::string::npos; });
    EXPECT_TRUE(said) << health(redis);
    EXPECT_EQ(server.command({"REPLICAOF", "NO", "ONE"}), "OK");
    co_await redis.wait_connected();
    EXPECT_EQ(redis.stats().connects, 2u);
    const auto set = co_await redis.call(words({"SET", "k", "v"}));
    EXPECT_TRUE(set.ok());
  });
}

TEST(RedisRefusal, OfAServerThatLoadsKeepsTheConnectionAway) {
  RedisProcess server({.arguments = {"--loading-process-events-interval-bytes", "1024",
                                     "--key-load-delay", "2000"}});
  server.command(
      {"EVAL", "for i = 1, 3000 do redis.call('SET', i, string.rep('x', 100)) end return 1", "0"});
  ASSERT_EQ(server.command({"SAVE"}), "OK");
  server.kill();
  server.start(false);
  with_redis(server.url(), {}, [&](RedisConnection& redis) -> Task<void> {
    const bool said =
        co_await comes_true([&] { return health(redis).find("LOADING") != std::string::npos; });
    EXPECT_TRUE(said) << health(redis);
    const auto reply = co_await redis.call(words({"GET", "1"}));
    EXPECT_EQ(reply.status().code(), StatusCode::kUnavailable);
    EXPECT_GE(refused(redis, "LOADING"), 1u);
    EXPECT_EQ(server.command({"CONFIG", "SET", "key-load-delay", "0"}), "OK");
    co_await redis.wait_connected();
    const auto there = co_await redis.call(RedisCommand("DBSIZE"));
    WEFT_ASSERT(there.ok());
    EXPECT_EQ(there->integer(), 3000);
  });
}

TEST(RedisRefusal, OfAServerThatAScriptHoldsUpIsUnavailable) {
  RedisProcess server({.arguments = {"--busy-reply-threshold", "10"}});
  with_redis(server.url(), {}, [&](RedisConnection& redis) -> Task<void> {
    co_await redis.wait_connected();
    RedisAnswers endless;
    RedisConnection other(testing::redis_at(server.url()), "other");
    auto block = [&](TaskGroup& group) -> Task<void> {
      group.start([](RedisConnection* to) { return to->run(); }, &other);
      co_await other.wait_connected();
      start_call(group, redis, words({"EVAL", "while true do end", "0"}), endless);
      // The server is asked until the script has run for long enough.
      StatusCode code = StatusCode::kOk;
      while (code == StatusCode::kOk && !::testing::Test::HasFailure()) {
        const auto reply = co_await other.call(words({"SET", "k", "v"}));
        code = reply.status().code();
      }
      EXPECT_EQ(code, StatusCode::kUnavailable);
      EXPECT_GE(refused(other, "BUSY"), 1u);
      EXPECT_EQ(server.command({"SCRIPT", "KILL"}), "OK");
      const bool ended = co_await comes_true([&] { return endless.size() == 1; });
      EXPECT_TRUE(ended);
      const auto reply = co_await other.call(words({"SET", "k", "v"}));
      EXPECT_TRUE(reply.ok()) << reply.status();
      group.cancel(CancelReason::kShutdown);
    };
    co_await with_group(block);
    WEFT_ASSERT(endless.size() == 1);
    EXPECT_EQ(endless[0].status().code(), StatusCode::kInternal);
  });
}

}  // namespace
}  // namespace weft
