// RedisSync and the checks before the start, against a real redis-server.
#include <gtest/gtest.h>

#include <string>

#include <weft/store/redis/redis_sync.h>

#include "tests/redis/redis_bed.h"
#include "tests/support/redis_server.h"

namespace weft {
namespace {

using testing::redis_at;
using testing::RedisProcess;
using testing::words;

constexpr int64_t kPatienceMs = testing::Process::kPatience.count();

std::unique_ptr<RedisSync> connected(const std::string& url, int64_t timeout_ms = kPatienceMs) {
  auto redis = RedisSync::connect(redis_at(url), "test", timeout_ms);
  EXPECT_TRUE(redis.ok()) << redis.status();
  return redis.ok() ? std::move(*redis) : nullptr;
}

StatusOr<RedisFacts> check(const std::string& url) {
  const auto redis = connected(url);
  if (redis == nullptr) return make_status(StatusCode::kUnavailable, "not connected");
  return check_redis(*redis);
}

TEST(RedisSync, CallsAndLoadsScripts) {
  RedisProcess server({.tcp = true});
  for (const std::string& url : {server.url(), server.unix_url()}) {
    const auto redis = connected(url);
    ASSERT_NE(redis, nullptr);
    const auto set = redis->call(words({"SET", "k", std::string(1 << 20, 'x')}));
    EXPECT_TRUE(set.ok()) << set.status();
    const auto get = redis->call(words({"GET", "k"}));
    ASSERT_TRUE(get.ok()) << get.status();
    EXPECT_EQ(get->text().size(), 1u << 20);
    server.command({"SCRIPT", "FLUSH"});
    const std::string text = "return {KEYS[1], ARGV[1]}";
    RedisScript script{"pair", text, server.command({"SCRIPT", "LOAD", text})};
    server.command({"SCRIPT", "FLUSH"});
    RedisCommand arguments = RedisConnection::start_script(script);
    arguments.add("1").add("key").add("value");
    const auto pair = redis->call_script(script, std::move(arguments));
    ASSERT_TRUE(pair.ok()) << pair.status();
    EXPECT_EQ((*pair)[1].text(), "value");
    const auto wrong = redis->call(words({"INCR", "k"}));
    EXPECT_EQ(wrong.status().code(), StatusCode::kInternal);
    const auto pong = redis->call(RedisCommand("PING"));
    EXPECT_TRUE(pong.ok()) << "an error reply does not end the connection";
  }
}

TEST(RedisSync, IsOverWhenAnAnswerIsLate) {
  RedisProcess server;
  const auto redis = connected(server.url(), 1000);
  ASSERT_NE(redis, nullptr);
  server.pause();
  const auto late = redis->call(words({"INCR", "n"}));
  EXPECT_EQ(late.status().code(), StatusCode::kUnavailable);
  server.resume();
  // Else it would read the late answer as its own.
  const auto after = redis->call(words({"GET", "other"}));
  EXPECT_EQ(after.status().code(), StatusCode::kUnavailable);
  const auto anew = connected(server.url());
  ASSERT_NE(anew, nullptr);
  EXPECT_TRUE(anew->call(RedisCommand("PING")).ok());
}

TEST(RedisSync, SaysWhyItCannotConnect) {
  RedisProcess server({.password = "word"});
  const auto code = [&](const std::string& url) {
    return RedisSync::connect(redis_at(url), "test", kPatienceMs).status().code();
  };
  const std::string path = server.socket_path();
  EXPECT_EQ(code("redis+unix://" + path), StatusCode::kPermissionDenied);
  EXPECT_EQ(code("redis+unix://:wrong@" + path), StatusCode::kPermissionDenied);
  EXPECT_EQ(code("redis+unix://:word@" + path + "?db=77"), StatusCode::kFailedPrecondition);
  EXPECT_EQ(code("redis+unix:///no/such.sock"), StatusCode::kUnavailable);
  EXPECT_EQ(code("redis://no-such-host.invalid"), StatusCode::kUnavailable);
  server.pause();
  const auto held = RedisSync::connect(redis_at(server.url()), "test", 50);
  EXPECT_EQ(held.status().code(), StatusCode::kUnavailable);
  server.resume();
}

TEST(RedisSync, SaysWhatTheAppendOnlyFileIsWorth) {
  for (const std::string mode : {"", "no", "everysec", "always"}) {
    RedisProcess server({.appendfsync = mode});
    const auto facts = check(server.url());
    ASSERT_TRUE(facts.ok()) << facts.status();
    EXPECT_EQ(facts->aof, mode.empty() ? "off" : mode);
    EXPECT_EQ(facts->version.substr(0, 2), "7.");
    EXPECT_EQ(facts->max_bulk_bytes, 512u << 20);
    EXPECT_EQ(facts->warning.empty(), mode == "everysec" || mode == "always") << facts->warning;
    EXPECT_FALSE(facts->durability.empty());
  }
}

TEST(RedisSync, RefusesAServerThatEvicts) {
  RedisProcess server({.arguments = {"--maxmemory-policy", "volatile-lru"}});
  const auto facts = check(server.url());
  EXPECT_EQ(facts.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(facts.status().ToString().find("CONFIG SET maxmemory-policy noeviction"),
            std::string::npos);
  server.command({"CONFIG", "SET", "maxmemory-policy", "noeviction"});
  EXPECT_TRUE(check(server.url()).ok());
}

TEST(RedisSync, RefusesAReplica) {
  RedisProcess server;
  const auto redis = connected(server.url());
  ASSERT_NE(redis, nullptr);
  server.command({"REPLICAOF", "127.0.0.1", "1"});
  EXPECT_EQ(check_redis(*redis).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(RedisSync::connect(redis_at(server.url()), "test", kPatienceMs).status().code(),
            StatusCode::kFailedPrecondition);
  EXPECT_EQ(redis->call(words({"SET", "k", "v"})).status().code(), StatusCode::kUnavailable);
}

TEST(RedisSync, UsesAServerWhoseSettingsItMayNotRead) {
  RedisProcess renamed({.arguments = {"--rename-command", "CONFIG", ""}});
  const auto facts = check(renamed.url());
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ(facts->aof, "unknown");
  EXPECT_EQ(facts->max_bulk_bytes, 0u);
  EXPECT_NE(facts->warning.find("noeviction"), std::string::npos);

  RedisProcess denied;
  denied.command({"ACL", "SETUSER", "weft", "on", ">word", "~*", "&*", "+@all", "-config"});
  const auto more = check("redis+unix://weft:word@" + denied.socket_path());
  ASSERT_TRUE(more.ok()) << more.status();
  EXPECT_FALSE(more->warning.empty());
}

}  // namespace
}  // namespace weft
