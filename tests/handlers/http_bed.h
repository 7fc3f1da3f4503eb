// What the tests of http share: a loop on the real clock, a server that says what it saw, and jobs.
#pragma once

#include <gmock/gmock.h>

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include <weft/runtime/combinators.h>

#include "daemon/handlers/handlers.h"
#include "daemon/handlers/http.h"
#include "tests/support/coro_test.h"
#include "tests/support/http_server.h"
#include "tests/support/worker_bed.h"

namespace weft::testing {

// As CORO_TEST, on the real clock: libcurl and the kernel know no other.
inline void run_real(Task<void> (*body)()) {
  const int64_t frames_before = live_frames();
  {
    EventLoop loop;
    auto limited = [](Task<void> (*make)()) -> Task<void> {
      const auto done = co_await with_timeout(std::chrono::seconds(60), make());
      EXPECT_TRUE(done.has_value()) << "the test hung";
    };
    loop.run(limited(body));
  }
  EXPECT_EQ(live_frames() - frames_before, 0) << "coroutine frames outlived the test's loop";
}

#define HTTP_TEST(suite, name)                                             \
  static ::weft::Task<void> suite##_##name##_body();                       \
  TEST(suite, name) { ::weft::testing::run_real(&suite##_##name##_body); } \
  static ::weft::Task<void> suite##_##name##_body()

// Waits for what the other end does.
inline Task<bool> eventually(std::function<bool()> condition) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!condition() && std::chrono::steady_clock::now() < until) {
    co_await sleep_for(std::chrono::milliseconds(1));
  }
  co_return condition();
}

// What the server saw and says back, for tests of what is sent.
inline Task<void> mirror(HttpExchange& exchange) {
  nlohmann::json seen = {{"method", exchange.method},
                         {"path", exchange.path},
                         {"headers", exchange.headers},
                         {"body", exchange.body}};
  co_await exchange.reply(200, seen.dump(), "X-One: 1\r\nX-Two: a\r\nX-Two: b\r\n");
}

inline Task<void> with_jobs(std::vector<std::string> allowed, handlers::HttpClientOptions options,
                            std::function<Task<void>(WorkerBed&)> body) {
  Registry registry;
  const auto settings = std::make_shared<handlers::HttpSettings>(allowed, options);
  registry.add("http", make_handler([settings](Job job) {
                 return handlers::http(std::move(job), settings);
               }));
  co_await with_bed({.max_attempts = 1}, std::move(registry), std::move(body));
}

// Runs one http job, allowed to reach `allowed`, to its end.
inline Task<Read> run_job(std::string allowed, nlohmann::json payload,
                          handlers::HttpClientOptions options = {}) {
  Read got;
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("http", payload.dump());
    auto reader = co_await bed.attach(id, UINT64_MAX);
    got = co_await read(*reader);
  };
  co_await with_jobs({allowed}, options, body);
  co_return got;
}

inline std::string joined(const Read& got) {
  std::string all;
  for (const std::string& chunk : got.chunks) all += chunk;
  return all;
}

inline void expect_failed(const Read& got, const std::string& code, const std::string& message) {
  ASSERT_TRUE(got.finished.has_value());
  EXPECT_EQ(got.finished->state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(got.finished->outcome().error_code(), code);
  EXPECT_THAT(got.finished->outcome().error_message(), ::testing::HasSubstr(message));
}

inline nlohmann::json result_of(const Read& got) {
  EXPECT_EQ(got.finished->state(), v1::JOB_STATE_SUCCEEDED) << got.finished->ShortDebugString();
  return nlohmann::json::parse(got.finished->outcome().result(), nullptr, false);
}

}  // namespace weft::testing
