// run_on_real_loop: a test body on a loop with real time, for tests with real child processes.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>

#include <weft/runtime/event_loop.h>
#include <weft/runtime/frame_allocator.h>
#include <weft/runtime/sleep.h>

namespace weft::testing {

// As run_coro_test(), but time passes by itself.
template <typename Make>
void run_on_real_loop(Make make) {
  signal(SIGPIPE, SIG_IGN);  // as weftd does
  const int64_t frames_before = live_frames();
  {
    EventLoop loop;
    try {
      loop.run(make());
    } catch (const Cancelled& cancelled) {
      ADD_FAILURE() << "the test was cancelled: " << to_string(cancelled.reason());
    } catch (const std::exception& error) {
      ADD_FAILURE() << "the test threw: " << error.what();
    }
  }
  EXPECT_EQ(live_frames() - frames_before, 0) << "coroutine frames outlived the test's loop";
}

// Waits until holds() does; false: not within a minute.
template <typename Condition>
Task<bool> wait_until(Condition holds) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > until) co_return false;
    co_await sleep_for(std::chrono::milliseconds(1));
  }
  co_return true;
}

}  // namespace weft::testing

#define REAL_TIME_TEST(suite, name)                                                \
  static ::weft::Task<void> suite##_##name##_body();                               \
  TEST(suite, name) { ::weft::testing::run_on_real_loop(&suite##_##name##_body); } \
  static ::weft::Task<void> suite##_##name##_body()
