// A store that processes share: what a worker does when its lease is lost, and after silence.
#include <gmock/gmock.h>

#include "tests/support/coro_test.h"
#include "tests/support/store_wrapper.h"
#include "tests/support/worker_bed.h"

namespace weft {
namespace {

using testing::BedOptions;
using ::testing::ElementsAre;
using testing::settle_down;
using testing::with_bed;
using testing::WorkerBed;

constexpr Incarnation kFirst{1, 2};  // of a WorkerBed
constexpr Incarnation kNext{3, 4};

// A store in memory that says it is shared, tells its listener nothing while `deaf`, and can take
// everything away from the worker.
class LeasedStore final : public testing::StoreWrapper, private StoreListener {
 public:
  using StoreWrapper::StoreWrapper;
  bool shared() const override { return true; }
  void set_listener(StoreListener* listener) override {
    listener_ = listener;
    inner->set_listener(this);
  }
  Task<StatusOr<Taken>> settle_and_take(std::vector<Settlement> settlements,
                                        TakeRequest take) override {
    if (take.max_jobs > 0) types = take.types;
    for (const Settlement& settlement : settlements) told.push_back(settlement.token);
    if (down) {
      co_await yield_now();
      co_return retry_error(StatusCode::kUnavailable, "no connection", 10);
    }
    const Incarnation worker = take.worker;
    const bool asked = take.max_jobs > 0;
    auto next = inner->settle_and_take(std::move(settlements), std::move(take));
    StatusOr<Taken> taken = co_await next;
    for (const v1::Job& job : taken->jobs)
      taken_.emplace_back(job.spec().id(), job.attempt(), worker);
    if (asked && again) taken->jobs.push_back(*std::exchange(again, std::nullopt));
    co_return taken;
  }
  Task<StatusOr<std::vector<Token>>> held() override {
    co_await yield_now();
    co_return StatusOr<std::vector<Token>>(taken_);
  }
  // Another process gives this one up.
  Task<void> take_away(Incarnation next) {
    const std::vector<Token> tokens = std::exchange(taken_, {});
    listener_->on_lease_lost(next);
    auto release = inner->release(tokens);
    const std::vector<Status> released = co_await release;
    for (const Status& status : released) EXPECT_TRUE(status.ok()) << status;
  }
  StoreListener& listener() { return *listener_; }

  bool deaf = false;
  bool down = false;
  std::optional<v1::Job> again;    // the next take gets it, once more
  std::vector<std::string> types;  // of the last take
  std::vector<Token> told;         // settlements

 private:
  void on_work() override { listener_->on_work(); }
  void on_cancel_requested(const std::string& id, const std::string& reason) override {
    if (!deaf) listener_->on_cancel_requested(id, reason);
  }
  void on_finished(const v1::Job& job) override { listener_->on_finished(job); }
  void on_send(const std::string& id, uint64_t number, const std::string& value) override {
    if (!deaf) listener_->on_send(id, number, value);
  }

  StoreListener* listener_ = nullptr;
  std::vector<Token> taken_;
};

struct Leased {
  Leased() {
    auto made = std::make_unique<LeasedStore>(*open_store("memory:"));
    store = made.get();
    options.store = std::move(made);
  }
  BedOptions options;
  LeasedStore* store;
};

CORO_TEST(Lease, WhatRanUnderALostOneIsCancelledAndNothingOfItIsTold) {
  Leased leased;
  LeasedStore& store = *leased.store;
  size_t waiting = 0, cancelled = 0;
  Registry registry;
  // Its first attempt takes the cancellation for a reason to succeed, and yields once more.
  auto handler = [&](Job job) -> Stream<std::string> {
    co_yield "attempt " + std::to_string(job.attempt());
    if (job.attempt() > 1) co_return;
    ++waiting;
    try {
      co_await sleep_for(std::chrono::hours(1));
    } catch (const Cancelled& why) {
      cancelled += why.reason() == CancelReason::kLeaseLost ? 1 : 0;
    }
    co_yield "too late";
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    std::vector<std::string> ids;
    for (int i = 0; i < 3; ++i) ids.push_back(co_await bed.submit("it"));
    while (waiting < 3) co_await settle_down();
    co_await store.take_away(kNext);
    EXPECT_EQ(bed.worker.incarnation(), kNext);
    for (const std::string& id : ids) {
      const v1::Finished finished = co_await bed.finished(id);
      EXPECT_EQ(finished.state(), v1::JOB_STATE_SUCCEEDED);
      auto reader = co_await bed.watch(id);
      const testing::Read all = co_await testing::read(*reader);
      EXPECT_THAT(all.chunks, ElementsAre("attempt 2"));
    }
    EXPECT_EQ(cancelled, 3u);
    WEFT_ASSERT(store.told.size() == 3);
    for (const Token& token : store.told) EXPECT_EQ(token.worker, kNext);
    EXPECT_EQ(bed.worker.stats().lease_lost, 3u);
    EXPECT_EQ(bed.worker.stats().resident, 0u);
  };
  co_await with_bed(std::move(leased.options), std::move(registry), body);
}

CORO_TEST(Lease, EndsThatWaitForTheStoreAreForgottenWithIt) {
  Leased leased;
  LeasedStore& store = *leased.store;
  Registry registry;
  Event open;
  auto handler = [&](Job job) -> Task<std::string> {
    if (job.attempt() == 1) co_await open.wait();
    co_return "of attempt " + std::to_string(job.attempt());
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    co_await settle_down();
    store.down = true;
    open.set();
    co_await sleep_for(std::chrono::seconds(1));
    EXPECT_EQ(bed.worker.stats().settlements_pending, 1u);
    co_await store.take_away(kNext);
    EXPECT_EQ(bed.worker.stats().settlements_pending, 0u);
    EXPECT_EQ(bed.worker.stats().resident, 0u);
    store.told.clear();
    store.down = false;
    const v1::Finished finished = co_await bed.finished(id);
    EXPECT_EQ(finished.outcome().result(), "of attempt 2");
    for (const Token& token : store.told) EXPECT_EQ(token.worker, kNext);
  };
  co_await with_bed(std::move(leased.options), std::move(registry), body);
}

CORO_TEST(Lease, JobsThatWereTakenWithoutOurHearingOfItAreHandedBack) {
  Leased leased;
  LeasedStore& store = *leased.store;
  Registry registry;
  uint64_t attempt = 0;
  Event open;
  auto handler = [&](Job job) -> Task<void> {
    attempt = job.attempt();
    co_await open.wait();
  };
  registry.add("it", make_handler(handler));
  leased.options.concurrency = 1;
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string known = co_await bed.submit("it");
    co_await settle_down();
    // The only slot is in use, so the worker does not take the second one by itself.
    const std::string unknown = co_await bed.submit("it");
    TakeRequest take{kFirst, "test", 1};
    auto lost_answer = store.settle_and_take({}, std::move(take));
    const auto nobody_hears = co_await lost_answer;
    EXPECT_EQ(nobody_hears->jobs.size(), 1u);
    store.listener().on_resync();
    co_await settle_down();
    const v1::Job handed_back = co_await bed.get(unknown);
    EXPECT_EQ(handed_back.state(), v1::JOB_STATE_QUEUED);
    const v1::Job running = co_await bed.get(known);
    EXPECT_EQ(running.state(), v1::JOB_STATE_RUNNING);
    EXPECT_EQ(bed.worker.stats().released, 1u);
    open.set();
    const v1::Finished finished = co_await bed.finished(unknown);
    EXPECT_EQ(finished.state(), v1::JOB_STATE_SUCCEEDED);
    EXPECT_EQ(attempt, 2u);
    EXPECT_EQ(bed.worker.stats().resident, 0u);
  };
  co_await with_bed(std::move(leased.options), std::move(registry), body);
}

CORO_TEST(Lease, OfAnAttemptThatTheStoreGivesTwiceOnlyTheSecondRunGoesOn) {
  Leased leased;
  LeasedStore& store = *leased.store;
  Registry registry;
  int begun = 0, cancelled = 0;
  Event open;
  auto handler = [&](Job) -> Stream<std::string> {
    const int run = ++begun;
    try {
      co_await open.wait();
    } catch (const Cancelled& why) {
      cancelled += why.reason() == CancelReason::kLeaseLost ? 1 : 0;
      throw;
    }
    co_yield "run " + std::to_string(run);
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    while (begun < 1) co_await settle_down();
    store.again = co_await bed.get(id);
    store.listener().on_work();
    while (begun < 2) co_await settle_down();
    co_await settle_down();
    EXPECT_EQ(cancelled, 1);
    open.set();
    const v1::Finished finished = co_await bed.finished(id);
    EXPECT_EQ(finished.state(), v1::JOB_STATE_SUCCEEDED);
    auto reader = co_await bed.watch(id);
    const testing::Read all = co_await testing::read(*reader);
    EXPECT_THAT(all.chunks, ElementsAre("run 2"));
    EXPECT_EQ(store.told.size(), 1u);
    EXPECT_EQ(bed.worker.stats().resident, 0u);
  };
  co_await with_bed(std::move(leased.options), std::move(registry), body);
}

CORO_TEST(Lease, AfterSilenceAWorkerAsksForCancelsAndSends) {
  Leased leased;
  LeasedStore& store = *leased.store;
  Registry registry;
  auto reader = [&](Job job) -> Task<std::string> {
    std::string all;
    for (int i = 0; i < 2; ++i) {
      const auto value = co_await job.receive();
      all += value.value_or("?");
    }
    co_return all;
  };
  registry.add("reads", make_handler(reader));
  registry.add("waits", make_handler([](Job job) -> Task<void> {
                 co_await job.sleep(std::chrono::hours(1));
               }));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string reads = co_await bed.submit("reads");
    const std::string waits = co_await bed.submit("waits");
    co_await bed.send(reads, "a");
    co_await settle_down();
    store.deaf = true;
    co_await bed.send(reads, "b");
    co_await bed.cancel(waits, "enough");
    co_await settle_down();
    const v1::Job running = co_await bed.get(waits);
    EXPECT_EQ(running.state(), v1::JOB_STATE_RUNNING);
    store.deaf = false;
    store.listener().on_resync();
    const v1::Finished cancelled = co_await bed.finished(waits);
    EXPECT_EQ(cancelled.state(), v1::JOB_STATE_CANCELLED);
    EXPECT_EQ(cancelled.outcome().error_message(), "enough");
    const v1::Finished read = co_await bed.finished(reads);
    EXPECT_EQ(read.outcome().result(), "ab");
  };
  co_await with_bed(std::move(leased.options), std::move(registry), body);
}

// A job that is sent two values of which a test tells the worker itself.
Task<void> sends_arrive(std::function<void(LeasedStore&, const std::string&)> tell) {
  Leased leased;
  LeasedStore& store = *leased.store;
  Registry registry;
  auto reader = [&](Job job) -> Task<std::string> {
    std::string all;
    for (int i = 0; i < 3; ++i) all += (co_await job.receive()).value_or("?");
    co_return all;
  };
  registry.add("reads", make_handler(reader));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("reads");
    co_await settle_down();
    store.deaf = true;
    for (const char* value : {"a", "b", "c"}) co_await bed.send(id, value);
    tell(store, id);
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_EQ(end.outcome().result(), "abc");
  };
  co_await with_bed(std::move(leased.options), std::move(registry), body);
}

// The answer to a send of this process can overtake the news of an earlier one of another.
CORO_TEST(Lease, SendsToldOutOfOrderComeInOrder) {
  co_await sends_arrive([](LeasedStore& store, const std::string& id) {
    store.listener().on_send(id, 3, "c");
    store.listener().on_send(id, 1, "a");
    store.listener().on_send(id, 2, "b");
    store.listener().on_send(id, 3, "c");
  });
}

CORO_TEST(Lease, SendsThatWereNotToldAreLookedUpWhenALaterOneIs) {
  co_await sends_arrive(
      [](LeasedStore& store, const std::string& id) { store.listener().on_send(id, 3, "c"); });
}

CORO_TEST(Lease, OfASharedStoreOnlyJobsWithAHandlerAreTaken) {
  Leased leased;
  LeasedStore& store = *leased.store;
  Registry registry;
  for (const char* type : {"b", "a"}) {
    registry.add(type, make_handler([](Job) -> Task<void> { co_return; }));
  }
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("a");
    const v1::Finished finished = co_await bed.finished(id);
    EXPECT_EQ(finished.state(), v1::JOB_STATE_SUCCEEDED);
    EXPECT_THAT(store.types, ElementsAre("a", "b"));
  };
  co_await with_bed(std::move(leased.options), std::move(registry), body);
}

}  // namespace
}  // namespace weft
