// with_store: a store in Redis that renews its lease by itself and does nothing else.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <weft/runtime/sleep.h>
#include <weft/runtime/task_group.h>
#include <weft/store/redis/redis_store.h>

#include "tests/store_contract/harness.h"
#include "tests/support/coro_test.h"

namespace weft::testing {

inline constexpr int64_t kYear_ms = 365LL * 24 * 3600 * 1000;

inline StoreOptions quiet(std::string prefix = "weft") {
  return {.self = Harness::kWorker,
          .worker_name = "tester",
          .prefix = std::move(prefix),
          .lease_ms = 3 * kYear_ms,
          .renew_ms = kYear_ms};
}

inline Task<bool> is_healthy(Store& store) {
  for (int looks = 0; looks < 10'000; ++looks) {
    const bool healthy = store.stats().health.ok();
    if (healthy) co_return true;
    co_await sleep_for(std::chrono::milliseconds(5));
  }
  co_return false;
}

using Body = std::function<Task<void>(Harness&)>;
inline Task<void> run_beside(Harness& harness, Body* body) {
  Store* store = &harness.store();
  auto beside = [&](TaskGroup& group) -> Task<void> {
    group.start([](Store* running) { return running->run(); }, store);
    const bool healthy = co_await is_healthy(*store);
    EXPECT_TRUE(healthy);
    co_await (*body)(harness);
    co_await store->close();
    group.cancel(CancelReason::kShutdown);
  };
  co_await with_group(beside);
}

// Runs body(harness) with a store at `url` beside it.
inline void with_store(const std::string& url, const StoreOptions& options, Body body) {
  StatusOr<std::unique_ptr<Store>> store = open_redis_store(url, options);
  ASSERT_TRUE(store.ok()) << store.status();
  Harness harness(*std::move(store));
  run_coro_test([&] { return run_beside(harness, &body); });
}

inline std::vector<std::string> ids(const std::vector<v1::Job>& jobs) {
  std::vector<std::string> out;
  for (const v1::Job& job : jobs) out.push_back(job.spec().id());
  return out;
}

inline Task<StatusOr<Taken>> take(Harness& h, size_t jobs,
                                  std::vector<Settlement> settlements = {}) {
  TakeRequest request{.worker = Harness::kWorker, .worker_name = "tester", .max_jobs = jobs};
  return h.store().settle_and_take(std::move(settlements), std::move(request));
}

inline Task<void> add_many(Harness& h, size_t count) {
  std::vector<v1::JobSpec> specs(count, Harness::make_spec());
  const auto answers = co_await h.store().submit(std::move(specs));
  for (const auto& answer : answers) EXPECT_TRUE(answer.ok()) << answer.status();
}

}  // namespace weft::testing
