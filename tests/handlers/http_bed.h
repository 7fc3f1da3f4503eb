// What the tests of http share: a loop on the real clock, and a server that says what it saw.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>

#include <weft/runtime/combinators.h>

#include "tests/support/coro_test.h"
#include "tests/support/http_server.h"

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
  for (int i = 0; i < 5000 && !condition(); ++i) co_await sleep_for(std::chrono::milliseconds(1));
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

}  // namespace weft::testing
