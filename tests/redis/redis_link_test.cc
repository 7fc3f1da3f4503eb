// A Redis connection that is lost, held up, or answered by something else.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>
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
using testing::Process;
using testing::RedisAnswers;
using testing::RedisProcess;
using testing::start_call;
using testing::TcpProxy;
using testing::with_redis;
using testing::words;

std::string url_of(const TcpProxy& proxy) {
  return "redis://127.0.0.1:" + std::to_string(proxy.port());
}

TEST(RedisLink, ComesBackAfterItWasKilled) {
  RedisProcess server;
  int told = 0;
  with_redis(
      server.url(), {},
      [&](RedisConnection& redis) -> Task<void> {
        co_await redis.wait_connected();
        EXPECT_EQ(told, 1);
        server.command({"CLIENT", "KILL", "TYPE", "normal"});
        const bool back = co_await comes_true([&] { return redis.stats().connects == 2; });
        EXPECT_TRUE(back);
        EXPECT_EQ(told, 2);
        const auto pong = co_await redis.call(RedisCommand("PING"));
        EXPECT_TRUE(pong.ok());
      },
      [&](RedisConnection& redis) { redis.set_on_connected([&] { ++told; }); });
}

TEST(RedisLink, FailsCallsAtOnceWhileTheServerIsDownAndComesBackWithIt) {
  RedisProcess server({.appendfsync = "always"});
  with_redis(server.url(), {}, [&](RedisConnection& redis) -> Task<void> {
    co_await redis.wait_connected();
    const auto first = co_await redis.call(words({"INCR", "n"}));
    EXPECT_TRUE(first.ok());
    server.kill();
    const bool lost = co_await comes_true([&] { return !redis.connected(); });
    EXPECT_TRUE(lost);
    const auto failed = co_await redis.call(words({"INCR", "n"}));
    EXPECT_EQ(failed.status().code(), StatusCode::kUnavailable);
    EXPECT_GT(retry_ms_of(failed.status()), 0);
    server.start();
    co_await redis.wait_connected();
    const auto second = co_await redis.call(words({"INCR", "n"}));
    WEFT_ASSERT(second.ok());
    EXPECT_EQ(second->integer(), 2);
  });
}

TEST(RedisLink, EndsWhenAnAnswerDoesNotComeInTime) {
  RedisProcess server({.tcp = true});
  TcpProxy proxy(server.port());
  with_redis(url_of(proxy), {.command_ms = 100, .connect_ms = 100, .ping_ms = 60'000},
             [&](RedisConnection& redis) -> Task<void> {
               co_await redis.wait_connected();
               const uint64_t before = redis.stats().timeouts;
               proxy.hold(TcpProxy::kToClient);
               RedisAnswers answers;
               auto block = [&](TaskGroup& group) -> Task<void> {
                 for (int i = 0; i < 3; ++i) {
                   start_call(group, redis, words({"INCR", "n"}), answers);
                 }
                 co_return;
               };
               const auto start = std::chrono::steady_clock::now();
               co_await with_group(block);
               EXPECT_LT(std::chrono::steady_clock::now() - start, Process::kPatience);
               EXPECT_GE(redis.stats().timeouts, before + 1);
               for (const auto& answer : answers) {
                 EXPECT_EQ(answer.status().code(), StatusCode::kUnavailable);
                 EXPECT_NE(answer.status().ToString().find("may have been carried out"),
                           std::string::npos);
               }
               // Whoever connects into the hole is not let in in time.
               const bool again =
                   co_await comes_true([&] { return redis.stats().timeouts >= before + 2; });
               EXPECT_TRUE(again);
               EXPECT_FALSE(redis.connected());
               proxy.resume();
               co_await redis.wait_connected();
               // On a busy machine this answer may be late, too.
               std::string count;
               for (int i = 0; i < 100 && count.empty(); ++i) {
                 const auto answer = co_await redis.call(words({"GET", "n"}));
                 if (answer.ok()) count = answer->text();
                 if (!answer.ok()) co_await redis.wait_connected();
               }
               EXPECT_EQ(count, "3");
             });
}

TEST(RedisLink, FindsAnIdleConnectionDead) {
  RedisProcess server({.tcp = true});
  TcpProxy proxy(server.port());
  with_redis(url_of(proxy), {.command_ms = 50, .connect_ms = 10'000, .ping_ms = 20},
             [&](RedisConnection& redis) -> Task<void> {
               co_await redis.wait_connected();
               proxy.hold_all();
               const bool found = co_await comes_true([&] { return !redis.connected(); });
               EXPECT_TRUE(found);
               EXPECT_GE(redis.stats().timeouts, 1u);
               EXPECT_EQ(redis.stats().commands, 0u);
               proxy.resume();
               co_await redis.wait_connected();
             });
}

TEST(RedisLink, WaitsForASlowServerAsLongAsItMay) {
  RedisProcess server({.tcp = true});
  TcpProxy proxy(server.port());
  with_redis(url_of(proxy), {}, [&](RedisConnection& redis) -> Task<void> {
    co_await redis.wait_connected();
    proxy.delay(TcpProxy::kToServer, std::chrono::milliseconds(20));
    proxy.delay(TcpProxy::kToClient, std::chrono::milliseconds(20));
    const auto before = std::chrono::steady_clock::now();
    const auto pong = co_await redis.call(RedisCommand("PING"));
    EXPECT_TRUE(pong.ok());
    EXPECT_GE(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(40));
    EXPECT_EQ(redis.stats().timeouts, 0u);
  });
}

TEST(RedisLink, DoesNotBlameTheServerForALoopThatStoodStill) {
  RedisProcess server;
  with_redis(server.url(), {.command_ms = 1000}, [](RedisConnection& redis) -> Task<void> {
    co_await redis.wait_connected();
    RedisAnswers answers;
    auto block = [&](TaskGroup& group) -> Task<void> {
      start_call(group, redis, words({"INCR", "n"}), answers);
      // Sent, and perhaps answered; then something holds the loop for longer than an answer may
      // take.
      for (int i = 0; i < 5; ++i) co_await yield_now();
      const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(1100);
      while (std::chrono::steady_clock::now() < until) {
      }
      start_call(group, redis, words({"INCR", "n"}), answers);
    };
    co_await with_group(block);
    WEFT_ASSERT(answers.size() == 2);
    EXPECT_TRUE(answers[0].ok()) << answers[0].status();
    EXPECT_TRUE(answers[1].ok()) << answers[1].status();
    EXPECT_EQ(redis.stats().timeouts, 0u);
  });
}

TEST(RedisLink, AnswersEveryCallOnceThroughManyCuts) {
  RedisProcess server({.tcp = true});
  TcpProxy proxy(server.port());
  with_redis(url_of(proxy), {.seed = 7}, [&](RedisConnection& redis) -> Task<void> {
    int64_t acknowledged = 0, failed = 0;
    for (int cut = 0; cut < 5; ++cut) {
      co_await redis.wait_connected();
      RedisAnswers answers;
      auto block = [&](TaskGroup& group) -> Task<void> {
        for (int i = 0; i < 100; ++i) start_call(group, redis, words({"INCR", "n"}), answers);
        for (int i = 0; i < cut; ++i) co_await yield_now();
        proxy.cut();
        for (int i = 0; i < 100; ++i) start_call(group, redis, words({"INCR", "n"}), answers);
      };
      co_await with_group(block);
      EXPECT_EQ(answers.size(), 200u);
      for (const auto& answer : answers) answer.ok() ? ++acknowledged : ++failed;
    }
    EXPECT_EQ(acknowledged + failed, 1000);
    EXPECT_GT(failed, 0);
    co_await redis.wait_connected();
    const auto count = co_await redis.call(words({"GET", "n"}));
    WEFT_ASSERT(count.ok());
    EXPECT_GE(count->is_nil() ? 0 : std::stoll(count->text()), acknowledged);
  });
}

CORO_TEST(RedisLink, PausesLongerAndLongerBetweenTriesButNeverForLong) {
  RedisProcess server({.tcp = true});
  TcpProxy proxy(server.port());
  proxy.refuse();
  RedisConnection redis(testing::redis_at(url_of(proxy)), "test", {.seed = 5});
  auto block = [&](TaskGroup& group) -> Task<void> {
    group.start([](RedisConnection* running) { return running->run(); }, &redis);
    co_await sleep_for(std::chrono::milliseconds(limits::kRedisRetryMs * 8));
    EXPECT_GE(proxy.accepted(), 4u);
    EXPECT_LE(proxy.accepted(), 8u);
    const uint64_t before = proxy.accepted();
    constexpr uint64_t kPauses = 20;  // of the longest
    co_await sleep_for(std::chrono::milliseconds(limits::kRedisRetryMsMax * kPauses));
    const uint64_t tries = proxy.accepted() - before;
    EXPECT_GE(tries, kPauses);
    EXPECT_LE(tries, kPauses * 2 + 5);
    proxy.resume();
    co_await redis.wait_connected();
    EXPECT_EQ(redis.stats().connects, 1u);
    group.cancel(CancelReason::kShutdown);
  };
  co_await with_group(block);
}

// Answers the first thing it is told with `answer`, again and again, and is not Redis.
class Impostor {
 public:
  explicit Impostor(std::string answer) : answer_(std::move(answer)) {
    listen_fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    EXPECT_EQ(::bind(listen_fd_, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(::listen(listen_fd_, 16), 0);
    ::getsockname(listen_fd_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { run(); });
  }
  ~Impostor() {
    ::shutdown(listen_fd_, SHUT_RDWR);
    thread_.join();
    ::close(listen_fd_);
  }
  std::string url() const { return "redis://127.0.0.1:" + std::to_string(port_); }

 private:
  void run() {
    for (int fd; (fd = ::accept(listen_fd_, nullptr, nullptr)) >= 0; ::close(fd)) {
      char buffer[1024];
      if (::recv(fd, buffer, sizeof(buffer), 0) <= 0) continue;
      ::send(fd, answer_.data(), answer_.size(), MSG_NOSIGNAL);
      ::recv(fd, buffer, sizeof(buffer), 0);  // until it is left
    }
  }
  const std::string answer_;
  int listen_fd_ = -1;
  uint16_t port_ = 0;
  std::thread thread_;
};

TEST(RedisLink, LeavesWhatDoesNotSpeakAsRedisDoes) {
  const std::string hello = "*4\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$4\r\nrole\r\n$6\r\nmaster\r\n";
  const std::pair<std::string, std::string> cases[] = {
      {"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak as Redis does"},
      {"*2147483647\r\n", "does not speak as Redis does"},
      {"-ERR unknown command 'HELLO'\r\n", "does not know HELLO"},
      {"*2\r\n$4\r\nmode\r\n$8\r\nsentinel\r\n", "not a master"},
      {hello + "+OK\r\n+PONG\r\n+id=1\r\n+MORE\r\n", "nobody asked"},
      {hello + "+OK\r\n+PONG\r\n+id=1\r\n-ERR going away\r\n", "going away"},
      {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", "does not speak as Redis does"},
  };
  for (const auto& [answer, why] : cases) {
    Impostor impostor(answer);
    with_redis(impostor.url(), {}, [&](RedisConnection& redis) -> Task<void> {
      const bool said =
          co_await comes_true([&] { return health(redis).find(why) != std::string::npos; });
      EXPECT_TRUE(said) << health(redis);
    });
  }
}

}  // namespace
}  // namespace weft
