// What the worker promises: slots, cancel, sends, progress, shutdown.
#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include <weft/worker/dispatcher.h>

#include "tests/support/coro_test.h"
#include "tests/support/worker_bed.h"

namespace weft {
namespace {

using testing::BedOptions;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Read;
using testing::read;
using testing::settle_down;
using testing::with_bed;
using testing::WorkerBed;

// Handlers that say how many of them run, and wait until they are let go.
class Gate {
 public:
  size_t inside = 0;
  size_t most = 0;
  Event open;

  auto handler() {
    return [this](Job) -> Task<void> {
      most = std::max(most, ++inside);
      co_await open.wait();
      --inside;
    };
  }
};

CORO_TEST(Worker, RunsAsManyJobsAsThereAreSlots) {
  Gate gate;
  Registry registry;
  registry.add("gate", make_handler(gate.handler()));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    std::vector<std::string> ids;
    for (int i = 0; i < 4; ++i) ids.push_back(co_await bed.submit("gate"));
    co_await settle_down();
    EXPECT_EQ(gate.inside, 3u);  // the fourth is one over the limit
    const v1::Job last = co_await bed.get(ids[3]);
    EXPECT_EQ(last.state(), v1::JOB_STATE_QUEUED);
    gate.open.set();
    for (const std::string& id : ids) co_await bed.finished(id);
    EXPECT_EQ(gate.most, 3u);
    EXPECT_EQ(bed.worker.stats().succeeded, 4u);
  };
  BedOptions options;
  options.concurrency = 3;
  co_await with_bed(std::move(options), std::move(registry), body);
}

CORO_TEST(Worker, ParkedJobsHoldNoSlot) {
  Registry registry;
  auto sleeper = [](Job job) -> Task<void> { co_await job.sleep(std::chrono::seconds(10)); };
  auto receiver = [](Job job) -> Task<std::string> {
    std::optional<std::string> value = co_await job.receive();
    co_return *value;
  };
  auto writer = [](Job) -> Stream<std::string> {
    for (int i = 0;; ++i) co_yield std::to_string(i);
  };
  auto quick = [](Job) -> Task<void> { co_return; };
  registry.add("sleeper", make_handler(sleeper));
  registry.add("receiver", make_handler(receiver));
  registry.add("writer", make_handler(writer));
  registry.add("quick", make_handler(quick));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string a = co_await bed.submit("sleeper");
    const std::string b = co_await bed.submit("receiver");
    const std::string c = co_await bed.submit("writer", "", v1::STREAM_POLICY_PAUSE);
    const std::string d = co_await bed.submit("quick");
    const v1::Finished end = co_await bed.finished(d);
    EXPECT_EQ(end.state(), v1::JOB_STATE_SUCCEEDED);
    EXPECT_EQ(bed.worker.stats().resident, 3u);
    EXPECT_EQ(bed.worker.stats().slots_used, 0u);
    co_await bed.send(b, "hello");
    const v1::Finished received = co_await bed.finished(b);
    EXPECT_EQ(received.outcome().result(), "hello");
  };
  BedOptions options;
  options.concurrency = 1;
  co_await with_bed(std::move(options), std::move(registry), body);
}

CORO_TEST(Worker, ResumingJobsGetSlotsBeforeNewOnes) {
  std::vector<std::string> order;
  Event go;
  Registry registry;
  auto resuming = [&](Job job) -> Task<void> {
    co_await job.receive();
    order.push_back("resumed");
  };
  auto holder = [&](Job) -> Task<void> {
    co_await go.wait();
    order.push_back("holder");
  };
  auto fresh = [&](Job) -> Task<void> {
    order.push_back("new");
    co_return;
  };
  registry.add("resuming", make_handler(resuming));
  registry.add("holder", make_handler(holder));
  registry.add("fresh", make_handler(fresh));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string a = co_await bed.submit("resuming");
    co_await settle_down();
    const std::string b = co_await bed.submit("holder");
    co_await settle_down();
    const std::string c = co_await bed.submit("fresh");
    co_await bed.send(a, "wake up");
    co_await settle_down();
    go.set();
    co_await bed.finished(c);
    EXPECT_THAT(order, ElementsAre("holder", "resumed", "new"));
  };
  BedOptions options;
  options.concurrency = 1;
  co_await with_bed(std::move(options), std::move(registry), body);
}

CORO_TEST(Worker, HoldsAtMostMaxResidentJobs) {
  Registry registry;
  auto sleeper = [](Job job) -> Task<void> { co_await job.sleep(std::chrono::seconds(1)); };
  registry.add("sleeper", make_handler(sleeper));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    std::vector<std::string> ids;
    for (int i = 0; i < 6; ++i) ids.push_back(co_await bed.submit("sleeper"));
    co_await settle_down();
    EXPECT_EQ(bed.worker.stats().resident, 5u);
    for (const std::string& id : ids) co_await bed.finished(id);
  };
  BedOptions options;
  options.max_resident = 5;
  co_await with_bed(std::move(options), std::move(registry), body);
}

CORO_TEST(Worker, CancelOfAQueuedJobEndsItForItsReaders) {
  Gate gate;
  Registry registry;
  registry.add("gate", make_handler(gate.handler()));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string first = co_await bed.submit("gate");
    const std::string second = co_await bed.submit("gate");
    co_await settle_down();
    auto reader = co_await bed.watch(second);
    const auto answer = co_await bed.store->cancel(second, "not needed");
    EXPECT_EQ(answer->result(), v1::CancelResponse::CANCELLED);
    const Read got = co_await read(*reader);
    WEFT_ASSERT(got.finished.has_value());
    EXPECT_EQ(got.finished->state(), v1::JOB_STATE_CANCELLED);
    EXPECT_EQ(got.finished->outcome().error_message(), "not needed");
    gate.open.set();
    co_await bed.finished(first);
  };
  BedOptions options;
  options.concurrency = 1;
  co_await with_bed(std::move(options), std::move(registry), body);
}

CORO_TEST(Worker, CancelOfARunningJobUnwindsIt) {
  bool told = false;
  CancelReason reason = CancelReason::kNone;
  Registry registry;
  auto handler = [&](Job job) -> Task<void> {
    struct Tell {
      Job job;
      bool& told;
      CancelReason& reason;
      ~Tell() {
        told = job.cancelled();
        reason = job.cancel_reason();
      }
    } tell{job, told, reason};
    co_await job.sleep(std::chrono::hours(1));
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    co_await settle_down();
    const auto answer = co_await bed.store->cancel(id, "changed my mind");
    EXPECT_EQ(answer->result(), v1::CancelResponse::REQUESTED);
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_EQ(end.state(), v1::JOB_STATE_CANCELLED);
    EXPECT_EQ(end.outcome().error_code(), "cancelled");
    EXPECT_TRUE(told);
    EXPECT_EQ(reason, CancelReason::kUserRequest);
    const v1::Job job = co_await bed.get(id);
    EXPECT_EQ(job.cancel_reason(), "changed my mind");
    EXPECT_EQ(job.outcome().error_message(), "changed my mind");
  };
  co_await with_bed({}, std::move(registry), body);
}

CORO_TEST(Worker, CancelOfAnOffloadedJobWaitsForTheWork) {
  std::atomic<bool> started = false;
  std::atomic<bool> release = false;
  std::atomic<bool> ended = false;
  Registry registry;
  auto handler = [&](Job job) -> Task<void> {
    auto work = [&] {
      started = true;
      started.notify_all();
      release.wait(false);
      ended = true;
    };
    co_await job.offload(work);
    co_await job.sleep(std::chrono::hours(1));
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    while (!started) co_await yield_now();
    co_await bed.cancel(id, "stop");
    release = true;
    release.notify_all();
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_EQ(end.state(), v1::JOB_STATE_CANCELLED);
    EXPECT_TRUE(ended);
  };
  co_await with_bed({}, std::move(registry), body);
}

CORO_TEST(Worker, SuccessAfterACancelRequestStaysSucceeded) {
  Event go;
  Registry registry;
  auto handler = [&](Job) -> Task<std::string> {
    auto wait = [&]() -> Task<void> { co_await go.wait(); };
    co_await shielded(std::chrono::hours(1), wait());
    co_return "done anyway";
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    co_await settle_down();
    co_await bed.cancel(id, "stop");
    co_await settle_down();
    go.set();
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_EQ(end.state(), v1::JOB_STATE_SUCCEEDED);
    EXPECT_EQ(end.outcome().result(), "done anyway");
  };
  co_await with_bed({}, std::move(registry), body);
}

CORO_TEST(Worker, FailureAfterACancelRequestIsCancelled) {
  Registry registry;
  auto handler = [](Job job) -> Task<void> {
    bool stopped = false;
    try {
      co_await job.sleep(std::chrono::hours(1));
    } catch (const Cancelled&) {
      stopped = true;
    }
    if (stopped) throw std::runtime_error("was interrupted");
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    co_await settle_down();
    co_await bed.cancel(id, "stop");
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_EQ(end.state(), v1::JOB_STATE_CANCELLED);
  };
  co_await with_bed({}, std::move(registry), body);
}

// Cancels at every moment of a job's start, under several ready orders.
CORO_TEST_SEEDED(Worker, CancelIsNeverLost, 20) {
  Registry registry;
  auto handler = [](Job job) -> Task<void> { co_await job.sleep(std::chrono::hours(1)); };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    for (int turns = 0; turns < 12; ++turns) {
      const std::string id = co_await bed.submit("it");
      for (int i = 0; i < turns; ++i) co_await yield_now();
      co_await bed.cancel(id, "stop");
      const v1::Finished end = co_await bed.finished(id);
      EXPECT_EQ(end.state(), v1::JOB_STATE_CANCELLED);
    }
    EXPECT_LT(EventLoop::current()->now_ns(), 3'600'000'000'000);
  };
  co_await with_bed({}, std::move(registry), body);
}

// Sends at every moment of a job's start: each arrives, once and in order.
CORO_TEST_SEEDED(Worker, SendIsNeverLostNorDoubled, 20) {
  Registry registry;
  auto handler = [](Job job) -> Task<std::string> {
    std::string all;
    for (int i = 0; i < 3; ++i) all += *co_await job.receive();
    co_return all;
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    for (int turns = 0; turns < 12; ++turns) {
      const std::string id = co_await bed.submit("it");
      for (const char* value : {"a", "b", "c"}) {
        for (int i = 0; i < turns; ++i) co_await yield_now();
        co_await bed.send(id, value);
      }
      const v1::Finished end = co_await bed.finished(id);
      EXPECT_EQ(end.outcome().result(), "abc");
    }
  };
  co_await with_bed({}, std::move(registry), body);
}

CORO_TEST(Worker, SendsAreRefusedWhenTooManyWait) {
  Event go;
  Registry registry;
  auto handler = [&](Job job) -> Task<void> {
    co_await go.wait();
    for (int i = 0; i < 65; ++i) co_await job.receive();
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    for (int i = 0; i < 64; ++i) {
      const auto sent = co_await bed.store->send(id, "", 0, "x");
      EXPECT_TRUE(sent.ok());
    }
    const auto refused = co_await bed.store->send(id, "", 0, "x");
    EXPECT_EQ(refused.status().code(), StatusCode::kResourceExhausted);
    go.set();
    co_await settle_down();
    const auto sent = co_await bed.store->send(id, "", 0, "x");
    EXPECT_TRUE(sent.ok());
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_EQ(end.state(), v1::JOB_STATE_SUCCEEDED);
  };
  co_await with_bed({}, std::move(registry), body);
}

CORO_TEST(Worker, ProgressReachesReadersAndTheRecord) {
  Registry registry;
  auto handler = [](Job job) -> Task<void> {
    for (int i = 1; i <= 4; ++i) {
      job.progress(i / 4.0, "step " + std::to_string(i));
      if (i % 2 == 0) co_await job.sleep(std::chrono::seconds(1));
    }
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    auto reader = co_await bed.watch(id);
    const Read got = co_await read(*reader);
    std::vector<std::string> seen;
    for (const v1::Progress& progress : got.progress) seen.push_back(progress.message());
    EXPECT_THAT(seen, ElementsAre("step 2", "step 4"));  // the latest only
    const v1::Job job = co_await bed.get(id);
    EXPECT_EQ(job.progress().message(), "step 4");
    EXPECT_EQ(job.progress().fraction(), 1.0);
  };
  co_await with_bed({}, std::move(registry), body);
}

CORO_TEST(Worker, LastProgressIsKeptHoweverSoonTheJobEnds) {
  Registry registry;
  auto handler = [](Job job) -> Task<void> {
    job.progress(0.5, "half");
    co_await job.sleep(std::chrono::milliseconds(10));
    job.progress(1.0, "all");
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    co_await bed.finished(id);
    const v1::Job job = co_await bed.get(id);
    EXPECT_EQ(job.progress().fraction(), 1.0);
    EXPECT_EQ(job.progress().message(), "all");
  };
  co_await with_bed({}, std::move(registry), body);
}

// Takes run() away at every moment of a job's start; news that come later find nothing of it.
CORO_TEST_SEEDED(Worker, CancelledRunLeavesNothingBehind, 20) {
  Registry registry;
  auto handler = [](Job job) -> Task<void> { co_await job.sleep(std::chrono::hours(1)); };
  registry.add("it", make_handler(handler));
  for (int turns = 0; turns < 12; ++turns) {
    WorkerBed bed({}, registry);
    auto outer = [&](TaskGroup& hub_group) -> Task<void> {
      hub_group.start([&bed] { return bed.hub.run(); });
      std::vector<std::string> ids;
      auto inner = [&](TaskGroup& group) -> Task<void> {
        group.start([&bed] { return bed.worker.run(); });
        co_await yield_now();
        for (int i = 0; i < 3; ++i) ids.push_back(co_await bed.submit("it"));
        for (int i = 0; i < turns; ++i) co_await yield_now();
        group.cancel(CancelReason::kShutdown);
      };
      co_await with_group(inner);
      EXPECT_EQ(bed.worker.stats().slots_used, 0u);
      for (const std::string& id : ids) {
        co_await bed.send(id, "late");
        co_await bed.cancel(id, "late");
      }
      bed.worker.drain(std::chrono::seconds(1));
      hub_group.cancel(CancelReason::kShutdown);
    };
    co_await with_group(outer);
    co_await bed.store->close();
  }
}

CORO_TEST(Worker, DrainWithoutGraceHandsJobsBack) {
  Registry registry;
  auto handler = [](Job job) -> Task<void> { co_await job.sleep(std::chrono::hours(1)); };
  registry.add("it", make_handler(handler));
  std::string id;
  auto body = [&](WorkerBed& bed) -> Task<void> {
    id = co_await bed.submit("it");
    co_await settle_down();
    bed.worker.drain(std::chrono::nanoseconds(0));
    while (bed.worker.stats().resident > 0) co_await yield_now();
    const v1::Job job = co_await bed.get(id);
    EXPECT_EQ(job.state(), v1::JOB_STATE_QUEUED);
    EXPECT_EQ(job.attempt(), 1u);
    EXPECT_EQ(bed.worker.stats().released, 1u);
  };
  co_await with_bed({}, std::move(registry), body);
}

CORO_TEST(Worker, DrainWithGraceLetsJobsEndAndTakesNoMore) {
  Registry registry;
  auto handler = [](Job job) -> Task<void> {
    co_await job.sleep(std::chrono::seconds(std::stoi(job.payload())));
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string shorter = co_await bed.submit("it", "5");
    const std::string longer = co_await bed.submit("it", "100");
    co_await settle_down();
    bed.worker.drain(std::chrono::seconds(30));
    const std::string late = co_await bed.submit("it", "1");
    co_await sleep_for(std::chrono::seconds(31));
    const v1::Job first = co_await bed.get(shorter);
    const v1::Job second = co_await bed.get(longer);
    const v1::Job third = co_await bed.get(late);
    EXPECT_EQ(first.state(), v1::JOB_STATE_SUCCEEDED);
    EXPECT_EQ(second.state(), v1::JOB_STATE_QUEUED);
    EXPECT_EQ(third.state(), v1::JOB_STATE_QUEUED);
    EXPECT_EQ(third.attempt(), 0u);
  };
  co_await with_bed({}, std::move(registry), body);
}

CORO_TEST(Worker, ConsumerlessPauseJobIsCancelledAfterItsGrace) {
  Registry registry;
  auto handler = [](Job) -> Stream<std::string> {
    for (;;) co_yield "x";
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    EventLoop& loop = *EventLoop::current();
    const int64_t start_ns = loop.now_ns();
    const std::string id = co_await bed.submit("it", "", v1::STREAM_POLICY_PAUSE);
    const v1::Finished end = co_await bed.finished(id);  // a passive reader is no consumer
    EXPECT_EQ(end.state(), v1::JOB_STATE_CANCELLED);
    EXPECT_THAT(end.outcome().error_message(), HasSubstr("no consumer"));
    EXPECT_EQ((loop.now_ns() - start_ns) / 1'000'000, limits::kStreamGraceMs);
    EXPECT_EQ(end.last_sequence(), 0u);
  };
  co_await with_bed({}, std::move(registry), body);
}

CORO_TEST(Worker, ManyJobsOfManyQueuesAllEnd) {
  Registry registry;
  auto handler = [](Job job) -> Task<std::string> {
    auto work = [] { return 7; };
    const int seven = co_await job.offload(work);
    co_return std::to_string(seven);
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    std::vector<std::string> ids;
    for (int i = 0; i < 1000; ++i) {
      v1::JobSpec spec;
      spec.set_type("it");
      spec.set_queue("q" + std::to_string(i % 100));
      ids.push_back(co_await bed.submit(std::move(spec)));
    }
    for (const std::string& id : ids) {
      const v1::Finished end = co_await bed.finished(id);
      EXPECT_EQ(end.outcome().result(), "7");
    }
    EXPECT_EQ(bed.worker.stats().succeeded, 1000u);
    EXPECT_EQ(bed.worker.stats().slots_used, 0u);
  };
  BedOptions options;
  options.concurrency = 64;
  co_await with_bed(std::move(options), std::move(registry), body);
}

#ifndef NDEBUG
template <typename Call>
void on_other_thread(Call call) {
  EventLoop loop;
  WorkerBed bed({}, {});
  std::thread([&] { call(bed.worker); }).join();
}

TEST(WorkerDeathTest, EntryPointsRefuseOtherThreads) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  constexpr char kMessage[] = "only on the thread of the loop";
  EXPECT_DEATH(on_other_thread([](WorkerEngine& worker) { static_cast<void>(worker.run()); }),
               kMessage);
  EXPECT_DEATH(on_other_thread([](WorkerEngine& worker) { worker.drain(std::chrono::seconds(1)); }),
               kMessage);
  EXPECT_DEATH(on_other_thread([](WorkerEngine& worker) { worker.stats(); }), kMessage);
  EXPECT_DEATH(on_other_thread([](WorkerEngine& worker) { worker.on_work(); }), kMessage);
  EXPECT_DEATH(on_other_thread([](WorkerEngine& worker) { worker.on_cancel_requested("", ""); }),
               kMessage);
  EXPECT_DEATH(on_other_thread([](WorkerEngine& worker) { worker.on_finished({}); }), kMessage);
  EXPECT_DEATH(on_other_thread([](WorkerEngine& worker) { worker.on_send("", 1, ""); }), kMessage);
}

class NoStarter final : public JobStarter {
 public:
  void before_take(TakeRequest&) override {}
  void on_taken_readers(std::vector<RemoteReaders>) override {}
  bool runs(const Token&) const override { return false; }
  void start(v1::Job) override {}
  void after_take() override {}
};

template <typename Call>
void dispatch_on_other_thread(Call call) {
  EventLoop loop;
  const std::unique_ptr<Store> store = *open_store("memory:");
  NoStarter starter;
  Dispatcher dispatcher(*store, starter, 1, {});
  std::thread([&] { call(dispatcher); }).join();
}

TEST(DispatcherDeathTest, EntryPointsRefuseOtherThreads) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  constexpr char kMessage[] = "only on the thread of the loop";
  EXPECT_DEATH(dispatch_on_other_thread([](Dispatcher& it) { it.release(Token("a", 1, {1, 2})); }),
               kMessage);
  EXPECT_DEATH(dispatch_on_other_thread([](Dispatcher& it) { it.drop(); }), kMessage);
  EXPECT_DEATH(dispatch_on_other_thread([](Dispatcher& it) { it.on_work(); }), kMessage);
  EXPECT_DEATH(dispatch_on_other_thread([](Dispatcher& it) { it.drain(); }), kMessage);
}
#endif

}  // namespace
}  // namespace weft
