// The promoter looks when something is due, a little at a time, and survives a store that is away.
#include <gmock/gmock.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include <weft/runtime/task_group.h>
#include <weft/worker/promoter.h>

#include "tests/support/coro_test.h"
#include "tests/support/store_wrapper.h"

namespace weft {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

class PromotedStore final : public testing::StoreWrapper {
 public:
  using StoreWrapper::StoreWrapper;
  Task<StatusOr<Promoted>> promote(size_t max_jobs) override {
    ++calls;
    co_await yield_now();
    if (down) co_return retry_error(StatusCode::kUnavailable, "no connection: wait", 1000);
    Promoted promoted;
    promoted.jobs = std::min(max_jobs, due);
    most = std::max(most, promoted.jobs);
    due -= promoted.jobs;
    promoted.next_in = std::exchange(next_in, std::nullopt);
    co_return promoted;
  }
  size_t due = 0;
  std::optional<milliseconds> next_in;
  size_t calls = 0;
  size_t most = 0;  // in one call
  bool down = false;
};

Task<void> with_promoter(PromotedStore& store, bool shared,
                         std::function<Task<void>(Promoter&)> body) {
  Promoter promoter(store, shared);
  auto beside = [&](TaskGroup& group) -> Task<void> {
    group.start([&promoter] { return promoter.run(); });
    co_await body(promoter);
    group.cancel(CancelReason::kShutdown);
  };
  co_await with_group(beside);
  co_await store.close();
}

CORO_TEST(Promoter, LooksOnceAtTheStartAndThenOnlyWhenSomethingIsDue) {
  PromotedStore store(*open_store("memory:"));
  store.next_in = seconds(50);
  auto body = [&](Promoter& promoter) -> Task<void> {
    co_await sleep_for(seconds(49));
    EXPECT_EQ(store.calls, 1u);
    co_await sleep_for(seconds(2));
    EXPECT_EQ(store.calls, 2u);
    co_await sleep_for(hours(24));
    EXPECT_EQ(store.calls, 2u);
    promoter.on_scheduled(seconds(60));
    promoter.on_scheduled(seconds(10));
    promoter.on_scheduled(seconds(30));
    co_await sleep_for(seconds(9));
    EXPECT_EQ(store.calls, 2u);
    store.next_in = seconds(20);
    co_await sleep_for(seconds(2));
    EXPECT_EQ(store.calls, 3u);
    co_await sleep_for(seconds(20));
    EXPECT_EQ(store.calls, 4u);
    promoter.on_scheduled(milliseconds(0));
    co_await sleep_for(milliseconds(2));
    EXPECT_EQ(store.calls, 5u);
  };
  co_await with_promoter(store, false, body);
}

CORO_TEST(Promoter, LooksEveryMinuteWhileAnythingWaitsAsClocksAreSet) {
  PromotedStore store(*open_store("memory:"));
  store.next_in = hours(10);
  auto body = [&](Promoter& promoter) -> Task<void> {
    co_await sleep_for(seconds(61));
    EXPECT_EQ(store.calls, 2u);
    // Further away than can be counted in nanoseconds.
    promoter.on_scheduled(milliseconds::max());
    co_await sleep_for(seconds(59));
    EXPECT_EQ(store.calls, 2u);
    co_await sleep_for(seconds(2));
    EXPECT_EQ(store.calls, 3u);
  };
  co_await with_promoter(store, false, body);
}

CORO_TEST(Promoter, HearsOfAJobWhileItAsks) {
  PromotedStore store(*open_store("memory:"));
  auto body = [&](Promoter& promoter) -> Task<void> {
    // Its first call is under way.
    promoter.on_scheduled(milliseconds(1));
    co_await sleep_for(milliseconds(3));
    EXPECT_EQ(store.calls, 2u);
  };
  co_await with_promoter(store, false, body);
}

CORO_TEST(Promoter, LooksEverySecondWhereOthersPutJobs) {
  PromotedStore store(*open_store("memory:"));
  auto body = [&](Promoter&) -> Task<void> {
    co_await sleep_for(milliseconds(10 * limits::kPromotePollMs + 1));
    EXPECT_EQ(store.calls, 11u);
  };
  co_await with_promoter(store, true, body);
}

CORO_TEST(Promoter, ManyJobsOfOneInstantComeInBatchesWithThePollerBetween) {
  PromotedStore store(*open_store("memory:"));
  store.due = 100'000;
  auto body = [&](Promoter&) -> Task<void> {
    EventLoop& loop = *EventLoop::current();
    const uint64_t polls = loop.stats().polls;
    while (store.due > 0) co_await sleep_for(milliseconds(1));
    EXPECT_EQ(store.most, limits::kPromoteBatch);
    EXPECT_GE(store.calls, 100'000 / limits::kPromoteBatch);
    EXPECT_LE(store.calls, 100'000 / limits::kPromoteBatch + 1);
    EXPECT_GE(loop.stats().polls - polls, store.calls - 1);
  };
  co_await with_promoter(store, false, body);
}

CORO_TEST(Promoter, GoesOnSoonAfterTheStoreIsBack) {
  PromotedStore store(*open_store("memory:"));
  store.down = true;
  store.due = 1;
  auto body = [&](Promoter&) -> Task<void> {
    co_await sleep_for(milliseconds(100 * limits::kPromotePollMs));
    EXPECT_LE(store.calls, 60u);
    store.down = false;
    co_await sleep_for(milliseconds(2 * limits::kPromotePollMs + 1));
    EXPECT_EQ(store.due, 0u);
  };
  co_await with_promoter(store, true, body);
}

// On the real clock, for the figure; what is checked is that all are queued.
TEST(PromoterLag, OfAHundredThousandJobsDueAtOnce) {
  EventLoop loop;
  auto test = [&]() -> Task<void> {
    constexpr size_t kJobs = 100'000;
    const std::unique_ptr<Store> store = *open_store("memory:");
    for (size_t stored = 0; stored < kJobs; stored += limits::kBatchJobs) {
      v1::JobSpec spec;
      spec.set_type("it");
      spec.set_queue("default");
      spec.mutable_delay()->set_nanos(1'000'000);
      std::vector<v1::JobSpec> specs(limits::kBatchJobs, spec);
      co_await store->submit(std::move(specs));
    }
    Promoter promoter(*store, false);
    std::vector<int64_t> lags_us;  // by how much a timer of 1 ms came too late
    const int64_t begin_ns = loop.exact_now_ns();
    auto beside = [&](TaskGroup& group) -> Task<void> {
      group.start([&promoter] { return promoter.run(); });
      while (store->stats().scheduled_jobs > 0) {
        const int64_t planned_ns = loop.exact_now_ns() + 1'000'000;
        co_await sleep_for(milliseconds(1));
        lags_us.push_back((loop.exact_now_ns() - planned_ns) / 1000);
      }
      group.cancel(CancelReason::kShutdown);
    };
    co_await with_group(beside);
    std::sort(lags_us.begin(), lags_us.end());
    std::printf("%zu jobs due at once were queued in %lld ms; loop lag p99 %lld us, most %lld us\n",
                kJobs, static_cast<long long>((loop.exact_now_ns() - begin_ns) / 1'000'000),
                static_cast<long long>(lags_us[lags_us.size() * 99 / 100]),
                static_cast<long long>(lags_us.back()));
    EXPECT_EQ(store->stats().queued_jobs, kJobs);
    co_await store->close();
  };
  loop.run(test());
}

}  // namespace
}  // namespace weft
