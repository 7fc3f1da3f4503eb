// Two processes that share a real Redis server, on one loop in real time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <weft/store/redis/redis_store.h>

#include "tests/stream/stream_bed.h"
#include "tests/support/redis_server.h"

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

inline std::unique_ptr<Store> open_in(RedisProcess& redis, StoreOptions options) {
  auto store = open_redis_store(redis.unix_url(), std::move(options));
  WEFT_CHECK(store.ok(), "the store opens");
  return *std::move(store);
}

// Ends the connection of that name as soon as there is one.
inline Task<void> kill_connection(RedisProcess* redis, std::string name) {
  auto killed = [&] {
    const std::string clients = redis->command({"CLIENT", "LIST"});
    const size_t at = clients.find(" name=" + name + " ");
    if (at == std::string::npos) return false;
    const size_t line = clients.rfind("id=", at);
    const std::string id = clients.substr(line + 3, clients.find(' ', line) - line - 3);
    return redis->command({"CLIENT", "KILL", "ID", id}) == "1";
  };
  const bool done = co_await comes_true(killed);
  EXPECT_TRUE(done);
}

class RedisProcesses {
 public:
  RedisProcesses(StreamHubOptions hub, StoreOptions options)
      : worker(hub, open_in(redis, with_self(options, {1, 1}, "worker")), {1, 1}),
        front(hub, open_in(redis, with_self(options, {2, 2}, "front")), {2, 2}) {}
  static StoreOptions with_self(StoreOptions options, Incarnation self, std::string name) {
    options.self = self;
    options.worker_name = std::move(name);
    return options;
  }

  // Ends the connection on which the process of that name gets its news, or the other one.
  Task<void> kill_news(const std::string& name) {
    return kill_connection(&redis, "weft-news-" + name);
  }
  Task<void> kill_commands(const std::string& name) {
    return kill_connection(&redis, "weft-" + name);
  }

  RedisProcess redis;
  StreamBed worker;
  StreamBed front;
};

inline Task<void> run_store(StreamBed* bed) { return bed->store->run(); }
inline Task<void> run_hub(StreamBed* bed) { return bed->hub.run(); }

// Runs body(processes, group) beside stores and hubs that are connected.
inline void over_redis(StreamHubOptions hub, StoreOptions options,
                       std::function<Task<void>(RedisProcesses&, TaskGroup&)> body) {
  const int64_t frames_before = live_frames();
  {
    EventLoop loop;
    RedisProcesses processes(hub, std::move(options));
    auto all = [&]() -> Task<void> {
      auto outer = [&](TaskGroup& stores) -> Task<void> {
        for (StreamBed* bed : {&processes.worker, &processes.front}) {
          stores.start(&run_store, bed);
          stores.start(&run_hub, bed);
        }
        auto connected = [&] {
          return processes.worker.store->stats().health.ok() &&
                 processes.front.store->stats().health.ok();
        };
        const bool there = co_await comes_true(connected);
        EXPECT_TRUE(there);
        auto inner = [&](TaskGroup& group) -> Task<void> { co_await body(processes, group); };
        co_await with_group(inner);
        co_await processes.worker.store->close();
        co_await processes.front.store->close();
        stores.cancel(CancelReason::kShutdown);
      };
      co_await with_group(outer);
    };
    loop.run(all());
  }
  EXPECT_EQ(live_frames() - frames_before, 0);
}

}  // namespace weft::testing
