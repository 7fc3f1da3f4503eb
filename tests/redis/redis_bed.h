// with_redis: a loop in real time with one RedisConnection on it.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <weft/runtime/event_loop.h>
#include <weft/runtime/sleep.h>
#include <weft/runtime/task_group.h>
#include <weft/store/redis/redis_connection.h>

#include "tests/support/process.h"

namespace weft::testing {

// Looks every millisecond, for as long as a test is patient. False: `condition` never came true.
inline Task<bool> comes_true(std::function<bool()> condition) {
  const auto until = std::chrono::steady_clock::now() + Process::kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) co_return false;
    co_await sleep_for(std::chrono::milliseconds(1));
  }
  co_return true;
}

inline RedisServer redis_at(const std::string& url) {
  const auto server = parse_redis_url(url);
  EXPECT_TRUE(server.ok()) << server.status();
  return server.ok() ? *server : RedisServer();
}

inline RedisCommand words(const std::vector<std::string>& list) {
  RedisCommand command(list.front());
  for (size_t i = 1; i < list.size(); ++i) command.add(list[i]);
  return command;
}

// Why there is no connection.
inline std::string health(const RedisConnection& redis) {
  return std::string(from_absl(redis.stats().health.message()));
}

// How often the server refused with `kind`.
inline uint64_t refused(const RedisConnection& redis, const std::string& kind) {
  for (const auto& [name, count] : redis.stats().refusals) {
    if (name == kind) return count;
  }
  return 0;
}

// Starts `command` in `group`; the answer is added to `answers` when it is there.
using RedisAnswers = std::vector<StatusOr<RedisReply>>;
inline void start_call(TaskGroup& group, RedisConnection& redis, RedisCommand command,
                       RedisAnswers& answers) {
  auto call = [](RedisConnection* to, RedisCommand what, RedisAnswers* into) -> Task<void> {
    StatusOr<RedisReply> answer = co_await to->call(std::move(what));
    into->push_back(std::move(answer));
  };
  group.start(call, &redis, std::move(command), &answers);
}

// Runs body(connection) beside connection.run(), on a fresh loop, then ends both. `before` may set
// the connection up before it runs.
inline void with_redis(
    const std::string& url, RedisConnectionOptions options,
    std::function<Task<void>(RedisConnection&)> body,
    std::function<void(RedisConnection&)> before = [](RedisConnection&) {}) {
  EventLoop loop;
  RedisConnection connection(redis_at(url), "test connection", options);
  before(connection);
  auto both = [](RedisConnection* redis,
                 std::function<Task<void>(RedisConnection&)>* part) -> Task<void> {
    auto block = [redis, part](TaskGroup& group) -> Task<void> {
      group.start([](RedisConnection* running) { return running->run(); }, redis);
      co_await (*part)(*redis);
      group.cancel(CancelReason::kShutdown);
    };
    co_await with_group(block);
  };
  loop.run(both(&connection, &body));
}

}  // namespace weft::testing
