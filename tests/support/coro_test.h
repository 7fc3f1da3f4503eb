// CORO_TEST: a test whose body is a coroutine on a loop with virtual time.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

#include <weft/runtime/event_loop.h>
#include <weft/runtime/sleep.h>
#include <weft/runtime/task.h>

namespace weft::testing {

// Runs make() on a fresh loop with virtual time and reports, as failures of the current test: what
// it throws, a wait that nothing can end, and coroutine frames left over after the loop's end.
template <typename Make>
void run_coro_test(Make make, std::optional<uint64_t> ready_seed = std::nullopt) {
  const int64_t frames_before = live_frames();
  {
    VirtualClock clock;
    EventLoop loop({.clock = nullptr, .virtual_clock = &clock, .ready_seed = ready_seed});
    try {
      loop.run(make());
    } catch (const NothingPending&) {
      ADD_FAILURE() << "the test waited for something that could never come";
    } catch (const Cancelled& cancelled) {
      ADD_FAILURE() << "the test was cancelled: " << to_string(cancelled.reason());
    } catch (const std::exception& error) {
      ADD_FAILURE() << "the test threw: " << error.what();
    }
  }
  EXPECT_EQ(live_frames() - frames_before, 0) << "coroutine frames outlived the test's loop";
}

}  // namespace weft::testing

// CORO_TEST(Suite, Name) { co_await …; }  Use EXPECT_*; ASSERT_* returns, which a coroutine cannot:
// use WEFT_ASSERT. Never co_await inside EXPECT_*: await into a named value first.
#define CORO_TEST(suite, name)                                                  \
  static ::weft::Task<void> suite##_##name##_body();                            \
  TEST(suite, name) { ::weft::testing::run_coro_test(&suite##_##name##_body); } \
  static ::weft::Task<void> suite##_##name##_body()

// The same body under the plain ready order and under `seeds` shuffled ones; the seed of a failure
// is named. `seed` is visible in the body (0: plain order).
#define CORO_TEST_SEEDED(suite, name, seeds)                                                    \
  static ::weft::Task<void> suite##_##name##_body(uint64_t seed);                               \
  TEST(suite, name) {                                                                           \
    for (uint64_t seed = 0; seed <= (seeds) && !HasFatalFailure(); ++seed) {                    \
      SCOPED_TRACE(::testing::Message() << "ready order of seed " << seed);                     \
      ::weft::testing::run_coro_test([seed] { return suite##_##name##_body(seed); },            \
                                     seed == 0 ? std::nullopt : std::optional<uint64_t>(seed)); \
      if (HasFailure()) break;                                                                  \
    }                                                                                           \
  }                                                                                             \
  static ::weft::Task<void> suite##_##name##_body([[maybe_unused]] uint64_t seed)

// ASSERT_TRUE for coroutine bodies: ends the body when `condition` does not hold.
#define WEFT_ASSERT(condition)                   \
  if (!(condition)) {                            \
    ADD_FAILURE() << "not true: " << #condition; \
    co_return;                                   \
  } else                                         \
    static_cast<void>(0)
