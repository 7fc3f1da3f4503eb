// The real weftd before a Redis it cannot use: it ends with one sentence that says what to do and
// never shows a password; and what it says of one that it can use.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/daemon.h"
#include "tests/support/redis_server.h"
#include "tests/support/tcp_proxy.h"

namespace weft::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string at_port(uint16_t port) { return "redis://127.0.0.1:" + std::to_string(port); }

// Its one sentence; it has not served.
std::string refusal_of(const std::string& store, std::vector<std::string> arguments = {},
                       std::map<std::string, std::string> environment = {}) {
  DaemonOptions options;
  options.store = store;
  options.arguments = std::move(arguments);
  const Ended ended = run_process(daemon_command(options),
                                  {.environment = std::move(environment), .directory = {}});
  EXPECT_EQ(ended.exit_code, 1) << ended.err;
  EXPECT_EQ(ended.out, "");
  EXPECT_THAT(ended.err, Not(HasSubstr("hush"))) << "a password is shown";
  const std::string start = "weftd: ";
  const size_t at = ended.err.find(start);
  if (at == std::string::npos) return ended.err;
  EXPECT_EQ(ended.err.find(start, at + 1), std::string::npos) << ended.err;
  return ended.err.substr(at + start.size());
}

std::string bulk(const std::string& text) {
  return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
}

TEST(RedisStart, AnOldServerIsRefusedByItsVersion) {
  RedisProcess redis({.tcp = true});
  TcpProxy network(redis.port());
  const std::string now = redis.field("redis_version");
  for (const std::string old : {"6.2.14", "5.0.3", "6.9.9999"}) {
    network.replace(bulk(now), bulk(old));
    EXPECT_EQ(refusal_of(at_port(network.port())),
              "this Redis is version " + old + ": run 7.0 or newer\n");
  }
  network.replace(bulk(now), bulk("8.10.0"));
  Daemon daemon({.store = at_port(network.port())});
  daemon.process().signal(SIGTERM);
  EXPECT_EQ(daemon.process().wait().exit_code, 0);
}

TEST(RedisStart, AServerThatEvictsIsRefused) {
  for (const std::string policy : {"allkeys-lru", "volatile-ttl"}) {
    RedisProcess redis({.arguments = {"--maxmemory-policy", policy}});
    const std::string refused = refusal_of(redis.url());
    EXPECT_THAT(refused, HasSubstr(policy));
    EXPECT_THAT(refused, HasSubstr("CONFIG SET maxmemory-policy noeviction"));
  }
}

TEST(RedisStart, AServerThatLetsUsNotInIsNamedWithoutThePassword) {
  RedisProcess redis({.tcp = true, .password = "hush-hush", .arguments = {"--databases", "4"}});
  const std::string at = "127.0.0.1:" + std::to_string(redis.port());
  EXPECT_THAT(refusal_of("redis://" + at), HasSubstr("wants a password"));
  EXPECT_THAT(refusal_of("redis://" + at), HasSubstr("WEFT_STORE_PASSWORD"));
  for (const std::string login : {":hush", "default:hush", "nobody:hush", "nobody:hush-hush"}) {
    const std::string refused = refusal_of("redis://" + login + "@" + at);
    EXPECT_THAT(refused, HasSubstr("redis://" + at + "/0 refused the user or the password"));
  }
  EXPECT_THAT(refusal_of("redis://" + at, {}, {{"WEFT_STORE_PASSWORD", "hush"}}),
              HasSubstr("refused the user or the password"));
  TempDir folder;
  write_file(folder.file("password"), "hush\n");
  EXPECT_THAT(refusal_of("redis://" + at, {"--store-password-file", folder.file("password")}),
              HasSubstr("refused the user or the password"));
  const std::string database = refusal_of("redis://:hush-hush@" + at + "/9");
  EXPECT_THAT(database, HasSubstr("redis://" + at + "/9 has no such database"));
  EXPECT_THAT(database, HasSubstr("'databases'"));
  EXPECT_THAT(refusal_of("redis://:hush@127.0.0.1:1"),
              HasSubstr("start Redis, or check the address"));
}

TEST(RedisStart, SaysWhatTheAppendOnlyFileIsWorth) {
  struct Mode {
    std::string appendfsync;
    std::string found;
    bool warned;
  };
  for (const Mode& mode : {Mode{"", "off", true}, Mode{"no", "no", true},
                           Mode{"everysec", "everysec", false}, Mode{"always", "always", false}}) {
    RedisProcess redis({.appendfsync = mode.appendfsync});
    Daemon daemon({.store = redis.url()});
    daemon.process().signal(SIGTERM);
    const Ended ended = daemon.process().wait();
    EXPECT_EQ(ended.exit_code, 0);
    EXPECT_THAT(ended.err, HasSubstr("append-only file: " + mode.found + "\""));
    const std::string warning = "\"level\":\"warning\",\"message\":\"Redis ";
    EXPECT_EQ(ended.err.find(warning) != std::string::npos, mode.warned) << ended.err;
    EXPECT_EQ(ended.err.find("CONFIG SET append") != std::string::npos, mode.warned) << ended.err;
  }
}

class ClusterNode {
 public:
  ClusterNode()
      : redis_({.tcp = true,
                .arguments = {"--cluster-enabled", "yes", "--cluster-port",
                              std::to_string(bus_port_)}}) {}
  void take_slots(int from, int to) {
    EXPECT_EQ(
        redis_.command({"CLUSTER", "ADDSLOTSRANGE", std::to_string(from), std::to_string(to)}),
        "OK");
  }
  void meet(const ClusterNode& other) {
    EXPECT_EQ(redis_.command({"CLUSTER", "MEET", "127.0.0.1", std::to_string(other.redis_.port()),
                              std::to_string(other.bus_port_)}),
              "OK");
  }
  // What it answers to somebody who asks for one of our keys.
  std::string asked() { return redis_.command({"GET", "{weft:00}:layout"}); }
  void await(const std::string& answer) {
    const auto until = std::chrono::steady_clock::now() + Process::kPatience;
    while (!asked().starts_with(answer) && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    EXPECT_THAT(asked(), ::testing::StartsWith(answer));
  }
  std::string url() const { return redis_.url(); }

 private:
  const uint16_t bus_port_ = free_port();
  RedisProcess redis_;
};

TEST(RedisStart, ANodeOfARedisClusterSaysThatItIsOne) {
  ClusterNode empty;
  EXPECT_THAT(empty.asked(), HasSubstr("CLUSTERDOWN"));
  const std::string down = refusal_of(empty.url());
  EXPECT_THAT(down, HasSubstr("CLUSTERDOWN"));
  EXPECT_THAT(down, HasSubstr("one node of a Redis Cluster"));
  EXPECT_THAT(down, HasSubstr("point weftd at a single server"));
  EXPECT_THAT(refusal_of(empty.url() + "/1"), HasSubstr("SELECT is not allowed in cluster mode"));

  ClusterNode full;
  full.take_slots(0, 16383);
  full.meet(empty);
  empty.await("-MOVED");
  const std::string moved = refusal_of(empty.url());
  EXPECT_THAT(moved, HasSubstr("MOVED"));
  EXPECT_THAT(moved, HasSubstr("one node of a Redis Cluster and another has the keys"));
  EXPECT_THAT(moved, HasSubstr("point weftd at a single server"));
}

}  // namespace
}  // namespace weft::testing
