// Measures RedisConnection alone against a redis-server of its own: calls per second, and the CPU
// both sides spend on one, with 1, 16 and 128 callers that each wait for their answer.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include <weft/runtime/event_loop.h>
#include <weft/runtime/task_group.h>
#include <weft/store/redis/redis_connection.h>

#include "tests/support/redis_server.h"

namespace weft {
namespace {

constexpr int64_t kRun_ns = 1'500'000'000;

// A reply like that of a take: that many jobs of five strings each.
constexpr std::string_view kRows =
    "local rows = {} for i = 1, ARGV[1] do rows[i] = {'id-000000000000000000000000', 'echo', "
    "string.rep('x', 100), '1', tostring(i)} end return rows";

double own_cpu_seconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

double server_cpu_seconds(testing::RedisProcess& server) {
  return std::stod(server.field("used_cpu_user")) + std::stod(server.field("used_cpu_sys"));
}

struct Load {
  const char* name;
  RedisCommand (*command)(const RedisScript& rows);
};

Task<void> call_again_and_again(RedisConnection* redis, const RedisScript* rows, const Load* load,
                                int64_t end_ns, uint64_t* calls) {
  while (EventLoop::current()->exact_now_ns() < end_ns) {
    const auto reply = co_await redis->call(load->command(*rows));
    if (!reply.ok()) {
      std::printf("failed: %s\n", reply.status().ToString().c_str());
      co_return;
    }
    ++*calls;
  }
}

Task<void> measure(RedisConnection* redis, testing::RedisProcess* server) {
  const RedisScript rows{"rows", kRows, server->command({"SCRIPT", "LOAD", std::string(kRows)})};
  const Load loads[] = {
      {"PING", [](const RedisScript&) { return RedisCommand("PING"); }},
      {"EVALSHA, 1 job",
       [](const RedisScript& script) {
         return std::move(RedisConnection::start_script(script).add("0").add("1"));
       }},
      {"EVALSHA, 100 jobs",
       [](const RedisScript& script) {
         return std::move(RedisConnection::start_script(script).add("0").add("100"));
       }},
  };
  std::printf("%-18s %9s %10s %14s %14s\n", "call", "in flight", "calls/s", "our CPU us",
              "Redis us");
  auto block = [&](TaskGroup& group) -> Task<void> {
    group.start([](RedisConnection* running) { return running->run(); }, redis);
    co_await redis->wait_connected();
    for (const Load& load : loads) {
      for (const int callers : {1, 16, 128}) {
        uint64_t calls = 0;
        const double server_before = server_cpu_seconds(*server), before = own_cpu_seconds();
        const int64_t start_ns = EventLoop::current()->exact_now_ns();
        auto all = [&](TaskGroup& inner) -> Task<void> {
          for (int i = 0; i < callers; ++i) {
            inner.start(call_again_and_again, redis, &rows, &load, start_ns + kRun_ns, &calls);
          }
          co_return;
        };
        co_await with_group(all);
        const double took_s =
            static_cast<double>(EventLoop::current()->exact_now_ns() - start_ns) * 1e-9;
        const auto count = static_cast<double>(calls);
        std::printf("%-18s %9d %10.0f %14.2f %14.2f\n", load.name, callers, count / took_s,
                    (own_cpu_seconds() - before) / count * 1e6,
                    (server_cpu_seconds(*server) - server_before) / count * 1e6);
        std::fflush(stdout);
      }
    }
    group.cancel(CancelReason::kShutdown);
  };
  co_await with_group(block);
}

}  // namespace
}  // namespace weft

int main() {
  weft::testing::RedisProcess server;
  const auto at = weft::parse_redis_url(server.url());
  if (!at.ok()) return 1;
  weft::EventLoop loop;
  weft::RedisConnection redis(*at, "bench", {.ping_ms = 0});
  loop.run(weft::measure(&redis, &server));
}
