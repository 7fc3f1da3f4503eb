// The janitor sweeps in time, goes on while there is more, and survives a store that cannot commit.
#include <gmock/gmock.h>

#include <weft/runtime/task_group.h>
#include <weft/worker/janitor.h>

#include "tests/support/coro_test.h"
#include "tests/support/store_wrapper.h"

namespace weft {
namespace {

class SweptStore final : public testing::StoreWrapper {
 public:
  using StoreWrapper::StoreWrapper;
  Task<StatusOr<size_t>> sweep(size_t max_items) override {
    ++sweeps;
    co_await yield_now();
    if (down) co_return retry_error(StatusCode::kUnavailable, "the disk is full: make room", 1000);
    const size_t swept = std::min(max_items, left);
    left -= swept;
    co_return swept;
  }
  size_t left = 0;
  size_t sweeps = 0;
  bool down = false;
};

Task<void> with_janitor(SweptStore& store, std::function<Task<void>()> body) {
  Janitor janitor(store);
  auto beside = [&](TaskGroup& group) -> Task<void> {
    group.start([&janitor] { return janitor.run(); });
    co_await body();
    group.cancel(CancelReason::kShutdown);
  };
  co_await with_group(beside);
  co_await store.close();
}

CORO_TEST(Janitor, SweepsAtOnceWhileThereIsMore) {
  SweptStore store(*open_store("memory:"));
  store.left = 3 * limits::kSweepBatch + 1;
  auto body = [&]() -> Task<void> {
    co_await sleep_for(std::chrono::milliseconds(1));
    EXPECT_EQ(store.left, 0u);
    EXPECT_EQ(store.sweeps, 4u);
    co_await sleep_for(std::chrono::milliseconds(10 * limits::kSweepMs));
    EXPECT_EQ(store.sweeps, 14u);
  };
  co_await with_janitor(store, body);
}

CORO_TEST(Janitor, TriesLessOftenWhileTheStoreIsDown) {
  SweptStore store(*open_store("memory:"));
  store.down = true;
  auto body = [&]() -> Task<void> {
    co_await sleep_for(std::chrono::milliseconds(100 * limits::kSweepMs));
    EXPECT_LE(store.sweeps, 10u);
    store.down = false;
    store.left = 1;
    co_await sleep_for(std::chrono::milliseconds(33 * limits::kSweepMs));
    EXPECT_EQ(store.left, 0u);
  };
  co_await with_janitor(store, body);
}

}  // namespace
}  // namespace weft
