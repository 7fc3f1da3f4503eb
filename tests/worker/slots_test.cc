// Slots: a job holds one exactly while some part of it works.
#include <gmock/gmock.h>

#include <atomic>
#include <mutex>

#include "tests/support/coro_test.h"
#include "tests/support/worker_bed.h"

namespace weft {
namespace {

using testing::BedOptions;
using testing::settle_down;
using testing::with_bed;
using testing::WorkerBed;

BedOptions one_slot() {
  BedOptions options;
  options.concurrency = 1;
  return options;
}

CORO_TEST(Slots, WaitThatTimesOutTakesTheSlotAgain) {
  Event go;
  int runs = 0;
  Registry registry;
  auto impatient = [&](Job job) -> Task<void> {
    auto value = co_await with_timeout(std::chrono::seconds(1), job.receive());
    EXPECT_FALSE(value.has_value());
    co_await go.wait();
  };
  auto quick = [&](Job) -> Task<void> {
    ++runs;
    co_return;
  };
  registry.add("impatient", make_handler(impatient));
  registry.add("quick", make_handler(quick));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("impatient");
    co_await settle_down();
    EXPECT_EQ(bed.worker.stats().slots_used, 0u);
    co_await sleep_for(std::chrono::seconds(2));
    EXPECT_EQ(bed.worker.stats().slots_used, 1u);
    const std::string other = co_await bed.submit("quick");
    co_await settle_down();
    EXPECT_EQ(runs, 0);
    go.set();
    co_await bed.finished(other);
    co_await bed.finished(id);
  };
  co_await with_bed(one_slot(), std::move(registry), body);
}

CORO_TEST(Slots, TimeoutDoesNotCutTheWayBackToASlot) {
  Event go;
  std::vector<std::string> order;
  Registry registry;
  auto receiver = [&](Job job) -> Task<std::string> {
    auto value = co_await with_timeout(std::chrono::seconds(10), job.receive());
    order.push_back("received");
    co_return value ? **value : "nothing";
  };
  auto holder = [&](Job) -> Task<void> {
    co_await go.wait();
    order.push_back("held");
  };
  registry.add("receiver", make_handler(receiver));
  registry.add("holder", make_handler(holder));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("receiver");
    co_await settle_down();
    const std::string other = co_await bed.submit("holder");
    co_await settle_down();
    co_await bed.send(id, "hello");
    co_await sleep_for(std::chrono::seconds(20));  // it waits for the slot beyond its timeout
    EXPECT_TRUE(order.empty());
    go.set();
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_EQ(end.outcome().result(), "hello");  // and has lost nothing
    EXPECT_EQ(order, (std::vector<std::string>{"held", "received"}));
  };
  co_await with_bed(one_slot(), std::move(registry), body);
}

CORO_TEST(Slots, CancelReachesAJobThatWaitsForItsSlot) {
  Event go;
  Registry registry;
  auto sleeper = [](Job job) -> Task<void> {
    co_await with_timeout(std::chrono::hours(1), job.sleep(std::chrono::seconds(1)));
    co_await job.sleep(std::chrono::hours(1));
  };
  auto holder = [&](Job) -> Task<void> { co_await go.wait(); };
  registry.add("sleeper", make_handler(sleeper));
  registry.add("holder", make_handler(holder));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("sleeper");
    co_await settle_down();
    const std::string other = co_await bed.submit("holder");
    co_await sleep_for(std::chrono::seconds(2));
    co_await bed.cancel(id, "stop");
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_EQ(end.state(), v1::JOB_STATE_CANCELLED);
    EXPECT_EQ(bed.worker.stats().slots_used, 1u);
    go.set();
    co_await bed.finished(other);
  };
  co_await with_bed(one_slot(), std::move(registry), body);
}

CORO_TEST(Slots, JobKeepsItsSlotWhileItsHandlerWorksBesideASleepingTask) {
  Event go;
  Registry registry;
  auto handler = [&](Job job) -> Task<void> {
    auto tick = [](Job ticking) -> Task<void> {
      for (;;) co_await ticking.sleep(std::chrono::seconds(1));
    };
    job.start(tick, job);
    co_await go.wait();
    co_await job.sleep(std::chrono::milliseconds(100));  // now all of it sleeps
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    co_await sleep_for(std::chrono::milliseconds(5500));
    EXPECT_EQ(bed.worker.stats().slots_used, 1u);
    go.set();
    co_await settle_down();
    EXPECT_EQ(bed.worker.stats().slots_used, 0u);
    co_await bed.finished(id);
  };
  co_await with_bed(one_slot(), std::move(registry), body);
}

CORO_TEST(Slots, LastWorkingTaskGivesTheSlotBackAtItsEnd) {
  Event go;
  Registry registry;
  auto handler = [&](Job job) -> Task<void> {
    auto work = [&]() -> Task<void> { co_await go.wait(); };
    job.start(work);
    co_await job.sleep(std::chrono::seconds(10));
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    co_await settle_down();
    EXPECT_EQ(bed.worker.stats().slots_used, 1u);
    go.set();
    co_await settle_down();
    EXPECT_EQ(bed.worker.stats().slots_used, 0u);
    co_await bed.finished(id);
  };
  co_await with_bed(one_slot(), std::move(registry), body);
}

CORO_TEST(Slots, JobKeepsItsSlotWhileWorkRunsBesideASleepInAGroupOfItsOwn) {
  std::atomic<bool> started = false;
  std::atomic<bool> release = false;
  Event go;
  Registry registry;
  auto all = [&](Job job) -> Task<void> {
    auto work = [&](Job working) -> Task<void> {
      co_await working.offload([&] {
        started = true;
        release.wait(false);
      });
    };
    co_await all_of(job.sleep(std::chrono::seconds(1)), work(job));
  };
  auto group = [&](Job job) -> Task<void> {
    auto body = [&](TaskGroup& tasks) -> Task<void> {
      tasks.start([&]() -> Task<void> { co_await go.wait(); });
      co_await job.sleep(std::chrono::seconds(1));
    };
    co_await with_group(body);
  };
  registry.add("all", make_handler(all));
  registry.add("group", make_handler(group));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string first = co_await bed.submit("all");
    while (!started) co_await yield_now();  // virtual time stands still beside the executor
    EXPECT_EQ(bed.worker.stats().slots_used, 1u);
    release = true;
    release.notify_all();
    co_await bed.finished(first);
    const std::string second = co_await bed.submit("group");
    co_await settle_down();
    EXPECT_EQ(bed.worker.stats().slots_used, 1u);
    go.set();
    co_await bed.finished(second);
    EXPECT_EQ(bed.worker.stats().slots_used, 0u);
  };
  co_await with_bed(one_slot(), std::move(registry), body);
}

CORO_TEST(Slots, SleepsInAGroupDoNotStandForATaskThatWorks) {
  Event go;
  Registry registry;
  auto handler = [&](Job job) -> Task<void> {
    auto work = [&]() -> Task<void> { co_await go.wait(); };
    job.start(work);
    co_await all_of(job.sleep(std::chrono::seconds(1)), job.sleep(std::chrono::seconds(1)));
    co_await job.sleep(std::chrono::seconds(1));
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    co_await settle_down();
    EXPECT_EQ(bed.worker.stats().slots_used, 1u);
    co_await sleep_for(std::chrono::milliseconds(1500));
    EXPECT_EQ(bed.worker.stats().slots_used, 1u);
    go.set();
    co_await settle_down();
    EXPECT_EQ(bed.worker.stats().slots_used, 0u);  // the handler's own sleep is the last
    co_await bed.finished(id);
  };
  co_await with_bed(one_slot(), std::move(registry), body);
}

// A queue that floods the executor does not make another queue's jobs wait behind all of its own.
CORO_TEST(Slots, QueuesShareTheExecutorFairly) {
  std::atomic<bool> release = false;
  std::mutex mutex;
  std::vector<std::string> order;
  Registry registry;
  auto handler = [&](Job job) -> Task<void> {
    auto work = [&, queue = job.queue()] {
      release.wait(false);
      std::lock_guard lock(mutex);
      order.push_back(queue);
    };
    co_await job.offload(work);
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    constexpr size_t kFlood = 800;
    constexpr size_t kCalm = 20;
    std::vector<std::string> ids;
    for (size_t i = 0; i < kFlood + kCalm; ++i) {
      v1::JobSpec spec;
      spec.set_type("it");
      spec.set_queue(i < kFlood ? "flood" : "calm");
      ids.push_back(co_await bed.submit(std::move(spec)));
    }
    while (bed.executor.stats().callers_waiting < kFlood + kCalm - limits::kExecutorQueue - 1) {
      co_await yield_now();
    }
    release = true;
    release.notify_all();
    for (const std::string& id : ids) co_await bed.finished(id);
    // Behind what the pool had already, they take turns.
    const size_t ahead = limits::kExecutorQueue + 1;
    size_t last_calm = 0;
    for (size_t i = 0; i < order.size(); ++i) {
      if (order[i] == "calm") last_calm = i;
    }
    EXPECT_GE(last_calm, ahead);
    EXPECT_LE(last_calm, ahead + 2 * kCalm);
  };
  co_await with_bed({}, std::move(registry), body);
}

}  // namespace
}  // namespace weft
