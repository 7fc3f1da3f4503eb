// Attempts that ignore their cancellation are counted for as long as they go on.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/support/coro_test.h"
#include "tests/support/worker_bed.h"

namespace weft::testing {
namespace {

CORO_TEST(StuckJobs, AreThoseThatGoOnLongAfterTheirCancellation) {
  Registry registry;
  Event go;
  auto ignores = [&](Job) -> Task<void> {
    co_await shielded(std::chrono::hours(1),
                      [](Event* event) -> Task<void> { co_await event->wait(); }(&go));
  };
  auto obeys = [](Job job) -> Task<void> { co_await job.sleep(std::chrono::hours(1)); };
  registry.add("ignores", make_handler(ignores));
  registry.add("obeys", make_handler(obeys));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    auto watched = [&](TaskGroup& group) -> Task<void> {
      group.start([&bed] { return bed.worker.watch_stuck(); });
      const std::string deaf = co_await bed.submit("ignores");
      const std::string other = co_await bed.submit("ignores");
      const std::string polite = co_await bed.submit("obeys");
      co_await settle_down();
      co_await bed.cancel(deaf, "enough");
      co_await bed.cancel(polite, "enough");
      const v1::Finished end = co_await bed.finished(polite);
      EXPECT_EQ(end.state(), v1::JOB_STATE_CANCELLED);
      co_await sleep_for(std::chrono::milliseconds(limits::kStuckMs));
      EXPECT_EQ(bed.worker.stats().stuck, 0u) << "not yet";
      co_await sleep_for(std::chrono::milliseconds(2 * limits::kStuckLookMs));
      EXPECT_EQ(bed.worker.stats().stuck, 1u);
      EXPECT_EQ(bed.worker.stats().slots_used, 2u) << "it keeps its slot";
      go.set();
      co_await bed.finished(deaf);
      EXPECT_EQ(bed.worker.stats().stuck, 0u);
      co_await bed.finished(other);
      group.cancel(CancelReason::kShutdown);
    };
    co_await with_group(watched);
  };
  co_await with_bed({}, std::move(registry), body);
}

CORO_TEST(StuckJobs, OffloadedWorkThatAsksItsTokenEndsWithItsJob) {
  std::atomic<bool> began = false;
  Registry registry;
  auto asks = [&](Job job) -> Task<void> {
    co_await job.offload([&](OffloadToken token) {
      began = true;
      while (!token.cancelled()) std::this_thread::yield();
      token.throw_if_cancelled();
    });
  };
  registry.add("asks", make_handler(asks));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("asks");
    while (!began) co_await yield_now();  // a virtual clock stands still while the pool works
    co_await bed.cancel(id, "enough");
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_EQ(end.state(), v1::JOB_STATE_CANCELLED);
    EXPECT_EQ(end.outcome().error_message(), "enough");
  };
  co_await with_bed({}, std::move(registry), body);
}

}  // namespace
}  // namespace weft::testing
