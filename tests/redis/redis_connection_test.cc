// RedisConnection against a real redis-server: calls, scripts, channels, logins.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include <weft/store/redis/redis_connection.h>

#include "tests/redis/redis_bed.h"
#include "tests/support/coro_test.h"
#include "tests/support/redis_server.h"
#include "tests/support/tcp_proxy.h"

namespace weft {
namespace {

using testing::comes_true;
using testing::health;
using testing::RedisAnswers;
using testing::RedisProcess;
using testing::refused;
using testing::start_call;
using testing::TcpProxy;
using testing::with_redis;
using testing::words;

// Nothing on the wire but the test's own commands.
constexpr RedisConnectionOptions kNoPings{.ping_ms = 0};

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
    const auto alike =
        co_await redis.call(words({"EVAL", "return {'message', 'of nobody', 'else'}", "0"}));
    WEFT_ASSERT(alike.ok());
    EXPECT_EQ(alike->size(), 3u);
    EXPECT_TRUE(redis.stats().health.ok());
    EXPECT_EQ(redis.stats().connects, 1u);
    EXPECT_EQ(redis.stats().commands, 3u);
  });
}

TEST(RedisConnection, WritesTheCommandsOfATurnTogether) {
  RedisProcess server;
  with_redis(server.url(), kNoPings, [&](RedisConnection& redis) -> Task<void> {
    co_await redis.wait_connected();
    constexpr int kCalls = 20;
    // Another connection's command in between: what was written before it would have been read.
    auto call = [](RedisConnection* to, RedisProcess* asked) -> Task<void> {
      asked->command({"PING"});
      const auto reply = co_await to->call(RedisCommand("PING"));
      EXPECT_TRUE(reply.ok());
    };
    const int64_t before = server.info("total_reads_processed");
    auto block = [&](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < kCalls; ++i) group.start(call, &redis, &server);
      co_return;
    };
    co_await with_group(block);
    constexpr int kInfo = 1, kTogether = 1;
    EXPECT_EQ(server.info("total_reads_processed") - before, kCalls + kInfo + kTogether);
  });
}

TEST(RedisConnection, AnswersInTheOrderOfTheCalls) {
  RedisProcess server;
  with_redis(server.url(), {}, [](RedisConnection& redis) -> Task<void> {
    co_await redis.wait_connected();
    RedisAnswers answers;
    auto block = [&](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < 3000; ++i) start_call(group, redis, words({"INCR", "n"}), answers);
      co_return;
    };
    co_await with_group(block);
    WEFT_ASSERT(answers.size() == 3000);
    for (size_t i = 0; i < answers.size(); ++i) {
      WEFT_ASSERT(answers[i].ok());
      WEFT_ASSERT(answers[i]->integer() == static_cast<int64_t>(i) + 1);
    }
  });
}

TEST(RedisConnection, CarriesLargeValuesBothWays) {
  RedisProcess server({.tcp = true});
  with_redis(server.url(), {}, [](RedisConnection& redis) -> Task<void> {
    co_await redis.wait_connected();
    const std::string large(20 << 20, 'x');
    const auto set = co_await redis.call(words({"SET", "k", large}));
    EXPECT_TRUE(set.ok());
    RedisAnswers answers;
    auto block = [&](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < 3; ++i) start_call(group, redis, words({"GET", "k"}), answers);
      co_return;
    };
    co_await with_group(block);
    for (const auto& answer : answers) {
      WEFT_ASSERT(answer.ok());
      EXPECT_TRUE(answer->text() == large);
    }
  });
}

TEST(RedisConnection, SendsNoMoreThanItsLimitAndTheRestLater) {
  RedisProcess server;
  with_redis(server.url(), {.in_flight = 4}, [&](RedisConnection& redis) -> Task<void> {
    co_await redis.wait_connected();
    server.pause();
    RedisAnswers answers;
    auto block = [&](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < 5; ++i) start_call(group, redis, words({"INCR", "n"}), answers);
      for (int i = 0; i < 10; ++i) co_await yield_now();
      EXPECT_EQ(redis.stats().commands, 4u);
      server.resume();
    };
    co_await with_group(block);
    WEFT_ASSERT(answers.size() == 5);
    for (size_t i = 0; i < 5; ++i) {
      EXPECT_EQ(answers[i]->integer(), static_cast<int64_t>(i) + 1);
    }
  });
}

TEST(RedisConnection, SendsNoMoreBytesThanItsLimitButAnyCommandAlone) {
  RedisProcess server;
  with_redis(server.url(), {.in_flight_bytes = 2000}, [&](RedisConnection& redis) -> Task<void> {
    co_await redis.wait_connected();
    server.pause();
    RedisAnswers answers;
    auto block = [&](TaskGroup& group) -> Task<void> {
      start_call(group, redis, words({"APPEND", "k", std::string(900, 'a')}), answers);
      start_call(group, redis, words({"APPEND", "k", std::string(900, 'b')}), answers);
      start_call(group, redis, words({"APPEND", "k", std::string(5000, 'c')}), answers);
      start_call(group, redis, words({"APPEND", "k", "d"}), answers);  // not before the large one
      for (int i = 0; i < 10; ++i) co_await yield_now();
      EXPECT_EQ(redis.stats().commands, 2u);
      server.resume();
    };
    co_await with_group(block);
    WEFT_ASSERT(answers.size() == 4);
    EXPECT_EQ(answers[2]->integer(), 6800);
    EXPECT_EQ(answers[3]->integer(), 6801);
  });
}

TEST(RedisConnection, GoesOnWhenCallersLeave) {
  RedisProcess server;
  with_redis(server.url(), {.in_flight = 2}, [&](RedisConnection& redis) -> Task<void> {
    co_await redis.wait_connected();
    server.pause();
    RedisAnswers left, stayed;
    auto leaving = [&](TaskGroup& group) -> Task<void> {
      // Two are sent, one waits for room.
      for (int i = 0; i < 3; ++i) start_call(group, redis, words({"INCR", "n"}), left);
      for (int i = 0; i < 10; ++i) co_await yield_now();
      EXPECT_EQ(redis.stats().commands, 2u);
      group.cancel(CancelReason::kUserRequest);
    };
    co_await with_group(leaving);
    EXPECT_TRUE(left.empty());
    auto staying = [&](TaskGroup& group) -> Task<void> {
      start_call(group, redis, words({"INCR", "n"}), stayed);
      co_await yield_now();
      server.resume();
    };
    co_await with_group(staying);
    WEFT_ASSERT(stayed.size() == 1 && stayed[0].ok());
    EXPECT_EQ(stayed[0]->integer(), 3);
  });
}

TEST(RedisConnection, FailsWhatIsUnansweredWhenItIsEnded) {
  RedisProcess server;
  RedisAnswers answers;
  {
    EventLoop loop;
    RedisConnection redis(testing::redis_at(server.url()), "test", {.in_flight = 2});
    auto body = [](RedisConnection* connection, RedisProcess* paused,
                   RedisAnswers* into) -> Task<void> {
      auto block = [=](TaskGroup& calls) -> Task<void> {
        auto running = [=, &calls](TaskGroup& group) -> Task<void> {
          group.start([](RedisConnection* to) { return to->run(); }, connection);
          co_await connection->wait_connected();
          paused->pause();
          for (int i = 0; i < 3; ++i) start_call(calls, *connection, words({"INCR", "n"}), *into);
          for (int i = 0; i < 10; ++i) co_await yield_now();
          EXPECT_TRUE(into->empty());
          group.cancel(CancelReason::kShutdown);
        };
        co_await with_group(running);
      };
      co_await with_group(block);
    };
    loop.run(body(&redis, &server, &answers));
    EXPECT_FALSE(redis.connected());
    EXPECT_EQ(redis.stats().health.code(), StatusCode::kUnavailable);
  }
  server.resume();
  ASSERT_EQ(answers.size(), 3u);
  for (const auto& answer : answers) {
    EXPECT_EQ(answer.status().code(), StatusCode::kUnavailable);
    EXPECT_GT(retry_ms_of(answer.status()), 0);
  }
}

TEST(RedisConnection, LoadsAScriptOnceForAllThatWantIt) {
  RedisProcess server;
  const std::string text = "return ARGV[1] + ARGV[2]";
  const RedisScript known{"sum", text, server.command({"SCRIPT", "LOAD", text})};
  server.command({"SCRIPT", "FLUSH"});
  server.command({"CONFIG", "RESETSTAT"});
  with_redis(server.url(), {}, [&](RedisConnection& redis) -> Task<void> {
    co_await redis.wait_connected();
    for (const int flushes : {1, 2}) {
      int right = 0;
      auto block = [&](TaskGroup& group) -> Task<void> {
        auto call = [](RedisConnection* to, const RedisScript* what, int* count) -> Task<void> {
          RedisCommand arguments = RedisConnection::start_script(*what);
          arguments.add("0").add("20").add("22");
          const auto reply = co_await to->call_script(*what, std::move(arguments));
          if (reply.ok() && reply->integer() == 42) ++*count;
        };
        for (int i = 0; i < 50; ++i) group.start(call, &redis, &known, &right);
        co_return;
      };
      co_await with_group(block);
      EXPECT_EQ(right, 50);
      EXPECT_NE(server.command({"INFO", "commandstats"})
                    .find("cmdstat_script|load:calls=" + std::to_string(flushes) + ","),
                std::string::npos);
      server.command({"SCRIPT", "FLUSH"});
    }
    EXPECT_EQ(refused(redis, "NOSCRIPT"), 100u);
  });
}

TEST(RedisConnection, SaysWhichScriptFailedAndThatASha1IsWrong) {
  RedisProcess server;
  with_redis(server.url(), {}, [&](RedisConnection& redis) -> Task<void> {
    co_await redis.wait_connected();
    const RedisScript wrong{"wrong", "return 1", std::string(40, '0')};
    RedisCommand arguments = RedisConnection::start_script(wrong);
    arguments.add("0");
    const auto reply = co_await redis.call_script(wrong, std::move(arguments));
    EXPECT_EQ(reply.status().code(), StatusCode::kInternal);
    const std::string text = "return redis.call('GET')";
    const RedisScript failing{"failing", text, server.command({"SCRIPT", "LOAD", text})};
    RedisCommand again = RedisConnection::start_script(failing);
    again.add("0");
    const auto failed = co_await redis.call_script(failing, std::move(again));
    EXPECT_EQ(failed.status().code(), StatusCode::kInternal);
    EXPECT_NE(failed.status().ToString().find("script failing: "), std::string::npos);
  });
}

TEST(RedisConnection, HearsAChannelAgainAfterACut) {
  RedisProcess server({.tcp = true});
  TcpProxy proxy(server.port());
  std::vector<std::string> messages;
  int subscribed = 0;
  with_redis(
      "redis://127.0.0.1:" + std::to_string(proxy.port()), {.ping_ms = 5},
      [&](RedisConnection& redis) -> Task<void> {
        co_await redis.wait_connected();
        EXPECT_EQ(subscribed, 1);
        EXPECT_EQ(server.command({"PUBLISH", "news", "one"}), "1");
        EXPECT_EQ(server.command({"PUBLISH", "news", ""}), "1");
        bool came = co_await comes_true([&] { return messages.size() == 2; });
        EXPECT_TRUE(came);
        // It is asked if it lives, in between, and that disturbs nothing.
        const auto pings = [&] {
          return std::atoll(server.field("cmdstat_ping").substr(sizeof("calls=") - 1).c_str());
        };
        const auto before = pings();
        came = co_await comes_true([&] { return pings() >= before + 3; });
        EXPECT_TRUE(came);
        EXPECT_EQ(redis.stats().connects, 1u);
        proxy.cut();
        came = co_await comes_true([&] { return subscribed == 2; });
        EXPECT_TRUE(came);
        EXPECT_EQ(server.command({"PUBLISH", "news", "two"}), "1");
        came = co_await comes_true([&] { return messages.size() == 3; });
        EXPECT_TRUE(came);
        EXPECT_EQ(redis.stats().pushes, 3u);
      },
      [&](RedisConnection& redis) {
        redis.subscribe(
            "news", [&](std::string message) { messages.push_back(std::move(message)); },
            [&] { ++subscribed; });
      });
  EXPECT_EQ(messages, (std::vector<std::string>{"one", "", "two"}));
}

TEST(RedisConnection, EndsTheConnectionThatWasLost) {
  RedisProcess server({.tcp = true});
  TcpProxy proxy(server.port());
  with_redis("redis://127.0.0.1:" + std::to_string(proxy.port()), kNoPings,
             [&](RedisConnection& redis) -> Task<void> {
               co_await redis.wait_connected();
               EXPECT_EQ(server.field("cmdstat_client|kill"), "");
               proxy.cut();
               const bool back = co_await comes_true([&] { return redis.stats().connects == 2; });
               EXPECT_TRUE(back);
               const std::string kills = server.field("cmdstat_client|kill");
               EXPECT_TRUE(kills.starts_with("calls=1,")) << kills;
               EXPECT_NE(kills.find("failed_calls=0"), std::string::npos) << kills;
             });
}

TEST(RedisConnection, UsesTheDatabaseAndTheNameItWasGiven) {
  RedisProcess server;
  with_redis(server.url() + "?db=3", {}, [&](RedisConnection& redis) -> Task<void> {
    co_await redis.wait_connected();
    const auto set = co_await redis.call(words({"SET", "here", "1"}));
    EXPECT_TRUE(set.ok());
    EXPECT_NE(server.info("db3"), -1);
    EXPECT_EQ(server.info("db0"), -1);
    EXPECT_NE(server.command({"CLIENT", "LIST"}).find("name=test-connection "), std::string::npos);
  });
}

// Never lets itself in, and says why.
void expect_refused(const std::string& url, const std::string& why) {
  with_redis(url, {}, [&](RedisConnection& redis) -> Task<void> {
    const bool said =
        co_await comes_true([&] { return health(redis).find(why) != std::string::npos; });
    EXPECT_TRUE(said) << url << " is told: " << health(redis);
    const auto reply = co_await redis.call(RedisCommand("PING"));
    EXPECT_EQ(reply.status().code(), StatusCode::kUnavailable);
    EXPECT_GT(retry_ms_of(reply.status()), 0);
    EXPECT_EQ(redis.stats().connects, 0u);
  });
}

TEST(RedisConnection, LogsInOrSaysWhyNot) {
  RedisProcess server({.password = "p@ss"});
  server.command({"ACL", "SETUSER", "weft", "on", ">word", "~w:*", "+get"});
  const std::string at = "redis+unix://", path = server.socket_path();
  expect_refused(at + path, "wants a password");
  expect_refused(at + ":wrong@" + path, "refused the user or the password");
  expect_refused(at + "nobody:word@" + path, "refused the user or the password");
  expect_refused(at + "weft@" + path, "wants a password");
  server.command({"ACL", "SETUSER", "open", "on", "nopass", "+acl|whoami"});
  with_redis(at + "open@" + path, {}, [](RedisConnection& redis) -> Task<void> {
    co_await redis.wait_connected();
    const auto who = co_await redis.call(words({"ACL", "WHOAMI"}));
    WEFT_ASSERT(who.ok());
    EXPECT_EQ(who->text(), "open");
  });
  with_redis(at + ":p%40ss@" + path, {}, [](RedisConnection& redis) -> Task<void> {
    co_await redis.wait_connected();
    const auto set = co_await redis.call(words({"SET", "w:1", "one"}));
    EXPECT_TRUE(set.ok());
  });
  with_redis(at + "weft:word@" + path, {}, [](RedisConnection& redis) -> Task<void> {
    co_await redis.wait_connected();
    const auto get = co_await redis.call(words({"GET", "w:1"}));
    EXPECT_TRUE(get.ok());
    const auto set = co_await redis.call(words({"SET", "w:1", "two"}));
    EXPECT_EQ(set.status().code(), StatusCode::kInternal);
    EXPECT_NE(set.status().ToString().find("ACL"), std::string::npos);
    EXPECT_GE(refused(redis, "NOPERM"), 1u);
  });
}

TEST(RedisConnection, SaysWhyItCannotUseAServer) {
  RedisProcess server({.tcp = true});
  expect_refused(server.unix_url() + "?db=99", "no such database");
  expect_refused("redis+unix:///no/such.sock", "No such file");
  expect_refused("redis://no-such-host.invalid", "cannot be resolved");
  server.command({"CONFIG", "SET", "maxclients", "1"});
  expect_refused(server.unix_url(), "max number of clients");
  server.command({"CONFIG", "SET", "maxclients", "100"});
  const std::string url = "redis://127.0.0.1:" + std::to_string(server.port());
  server.kill();
  expect_refused(url, "refused");
}

TEST(RedisConnection, FindsAHostByItsName) {
  RedisProcess server({.tcp = true});
  with_redis("redis://localhost:" + std::to_string(server.port()), {},
             [](RedisConnection& redis) -> Task<void> {
               co_await redis.wait_connected();
               const auto pong = co_await redis.call(RedisCommand("PING"));
               EXPECT_TRUE(pong.ok());
             });
}

CORO_TEST(RedisConnection, LetsVirtualTimeStandStillUntilTheAnswer) {
  RedisProcess server;
  RedisConnection redis(testing::redis_at(server.url()), "test", kNoPings);
  auto block = [&](TaskGroup& group) -> Task<void> {
    group.start([](RedisConnection* running) { return running->run(); }, &redis);
    co_await redis.wait_connected();
    const int64_t before_ns = EventLoop::current()->now_ns();
    for (int i = 0; i < 20; ++i) {
      const auto pong = co_await redis.call(RedisCommand("PING"));
      EXPECT_TRUE(pong.ok());
    }
    EXPECT_EQ(EventLoop::current()->now_ns(), before_ns);
    group.cancel(CancelReason::kShutdown);
  };
  co_await with_group(block);
}

}  // namespace
}  // namespace weft
