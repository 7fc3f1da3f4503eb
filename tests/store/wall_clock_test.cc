// What stores do when the wall clock is set, or goes on while a verb waits.
#include <gtest/gtest.h>

#include <atomic>

#include <weft/base/clock.h>
#include <weft/runtime/task_group.h>
#include <weft/store/memory/memory_store.h>

#include "tests/store/store_file.h"

namespace weft::testing {
namespace {

constexpr int64_t kSecond_ns = 1'000'000'000;

// Wall time as a test sets it. Thread: any.
class SetClock final : public Clock {
 public:
  int64_t monotonic_ns() const override { return RealClock::instance().monotonic_ns(); }
  int64_t wall_ns() const override { return wall_ns_.fetch_sub(step_ns_); }
  void advance(int64_t seconds) { wall_ns_ += seconds * kSecond_ns; }
  // Each look at it sets it back by so much.
  void run_backwards(int64_t seconds) { step_ns_ = seconds * kSecond_ns; }

 private:
  mutable std::atomic<int64_t> wall_ns_{1'700'000'000 * kSecond_ns};
  std::atomic<int64_t> step_ns_{0};
};

v1::JobSpec expiring(const SetClock& clock, int64_t seconds) {
  v1::JobSpec spec = Harness::make_spec();
  spec.mutable_expire_at()->set_seconds(clock.wall_ns() / kSecond_ns + seconds);
  return spec;
}

Task<void> set_back(SetClock* clock) {
  Harness h(make_memory_store());
  const std::string promoted = co_await h.add(expiring(*clock, 30));
  clock->advance(31);
  clock->run_backwards(5);
  co_await h.promote();
  clock->run_backwards(0);
  const v1::Job ended = co_await h.get(promoted);
  EXPECT_EQ(ended.state(), v1::JOB_STATE_EXPIRED);
  co_await h.store().close();
}

TEST(WallClock, SetBackDuringAPromotionIsReadOnce) {
  SetClock clock;
  EventLoop loop({.clock = &clock, .virtual_clock = nullptr, .ready_seed = std::nullopt});
  loop.run(set_back(&clock));
}

class SqliteWallClock : public StoreFile {
 protected:
  // The verb is asked for at one time and has room at another.
  Task<void> wait_for_room(SetClock* clock) {
    StatusOr<std::unique_ptr<Store>> opened = open_sqlite_store(path_, options_);
    WEFT_ASSERT(opened.ok());
    Harness h(*std::move(opened));
    const std::string id = co_await h.add(expiring(*clock, 10));
    auto body = [&](TaskGroup& group) -> Task<void> {
      group.start([](Harness* harness) { return harness->must(harness->submit(other())); }, &h);
      group.start([](Harness* harness) { return take_nothing(harness); }, &h);
      co_await yield_now();
      clock->advance(11);
    };
    co_await with_group(body);
    const v1::Job ended = co_await h.get(id);
    EXPECT_EQ(ended.state(), v1::JOB_STATE_EXPIRED);
    co_await h.store().close();
  }

 private:
  static v1::JobSpec other() {
    v1::JobSpec spec = Harness::make_spec();
    spec.mutable_delay()->set_seconds(1000);
    return spec;
  }
  static Task<void> take_nothing(Harness* h) {
    const auto taken = co_await h->take(1);
    EXPECT_TRUE(taken.empty());
  }
};

TEST_F(SqliteWallClock, IsReadWhenAVerbHasRoom) {
  options_.queue_ops = 1;
  SetClock clock;
  EventLoop loop({.clock = &clock, .virtual_clock = nullptr, .ready_seed = std::nullopt});
  loop.run(wait_for_room(&clock));
}

}  // namespace
}  // namespace weft::testing
