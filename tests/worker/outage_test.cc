// A store that cannot commit for a while: nothing is lost, nothing runs twice.
#include <gmock/gmock.h>

#include "tests/support/coro_test.h"
#include "tests/support/store_wrapper.h"
#include "tests/support/worker_bed.h"

namespace weft {
namespace {

using testing::BedOptions;
using testing::Read;
using testing::read;
using testing::settle_down;
using testing::with_bed;
using testing::WorkerBed;

Status unavailable() {
  return retry_error(StatusCode::kUnavailable, "the disk is full: make room", 1000);
}

// While `down`, a worker's verbs fail; each take and settle is counted.
class OutageStore final : public testing::StoreWrapper {
 public:
  using StoreWrapper::StoreWrapper;
  Task<StatusOr<Taken>> settle_and_take(std::vector<Settlement> settlements,
                                        TakeRequest take) override {
    most_asked = std::max(most_asked, take.max_jobs);
    most_settled = std::max(most_settled, settlements.size());
    ++calls;
    if (was_down && !settlements.empty()) asked_beside += take.max_jobs;
    was_down = down;
    if (down) {
      co_await yield_now();
      co_return unavailable();
    }
    auto next = inner->settle_and_take(std::move(settlements), std::move(take));
    co_return co_await next;
  }
  Task<std::vector<Status>> append(std::vector<Append> appends) override {
    if (down) {
      co_await yield_now();
      co_return std::vector<Status>(appends.size(), unavailable());
    }
    auto next = inner->append(std::move(appends));
    co_return co_await next;
  }
  Task<std::vector<Status>> release(std::vector<Token> tokens) override {
    if (down) {
      co_await yield_now();
      co_return std::vector<Status>(tokens.size(), unavailable());
    }
    auto next = inner->release(std::move(tokens));
    co_return co_await next;
  }
  bool down = false;
  bool was_down = false;    // at the last call
  size_t asked_beside = 0;  // jobs, with ends that could not be stored the time before
  size_t most_asked = 0;
  size_t most_settled = 0;
  size_t calls = 0;
};

class Outage {
 public:
  Outage() {
    auto made = std::make_unique<OutageStore>(*open_store("memory:"));
    store = made.get();
    options.store = std::move(made);
  }
  BedOptions options;
  OutageStore* store;
};

CORO_TEST(Outage, SettlementsAreKeptAndToldLater) {
  Outage outage;
  int runs = 0;
  Registry registry;
  auto handler = [&](Job job) -> Task<std::string> {
    ++runs;
    co_await job.sleep(std::chrono::milliseconds(10));
    co_return "done";
  };
  registry.add("it", make_handler(handler));
  OutageStore& store = *outage.store;
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    co_await settle_down();
    store.down = true;
    co_await sleep_for(std::chrono::seconds(30));
    EXPECT_EQ(bed.worker.stats().settlements_pending, 1u);
    const size_t calls = store.calls;
    EXPECT_LT(calls, 30u);  // it backs off
    store.down = false;
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_EQ(end.outcome().result(), "done");
    EXPECT_EQ(runs, 1);
  };
  co_await with_bed(std::move(outage.options), std::move(registry), body);
}

CORO_TEST(Outage, NothingIsTakenWhileEndsCannotBeStored) {
  Outage outage;
  Registry registry;
  auto handler = [](Job job) -> Task<void> {
    if (job.payload() == "first") co_await job.sleep(std::chrono::milliseconds(10));
  };
  registry.add("it", make_handler(handler));
  OutageStore& store = *outage.store;
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string first = co_await bed.submit("it", "first");
    co_await settle_down();
    store.down = true;
    const std::string second = co_await bed.submit("it");
    co_await sleep_for(std::chrono::seconds(10));
    EXPECT_EQ(bed.worker.stats().settlements_pending, 1u);
    store.down = false;
    co_await bed.finished(first);
    co_await bed.finished(second);
    EXPECT_EQ(store.asked_beside, 0u);
    EXPECT_EQ(bed.worker.stats().succeeded, 2u);
  };
  co_await with_bed(std::move(outage.options), std::move(registry), body);
}

CORO_TEST(Outage, ChunksAreKeptAndShownLaterWithoutGapOrRepeat) {
  Outage outage;
  Registry registry;
  auto handler = [](Job job) -> Stream<std::string> {
    for (int i = 1; i <= 10'000; ++i) {
      co_yield std::to_string(i);
      if (i % 100 == 0) co_await job.sleep(std::chrono::milliseconds(10));
    }
  };
  registry.add("it", make_handler(handler));
  OutageStore& store = *outage.store;
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    auto reader = co_await bed.attach(id, UINT64_MAX);
    Read got = co_await read(*reader, 500);
    store.down = true;
    co_await sleep_for(std::chrono::seconds(10));
    store.down = false;
    const Read rest = co_await read(*reader);
    got.chunks.insert(got.chunks.end(), rest.chunks.begin(), rest.chunks.end());
    WEFT_ASSERT(got.chunks.size() == 10'000);
    for (size_t i = 0; i < got.chunks.size(); ++i) {
      WEFT_ASSERT(got.chunks[i] == std::to_string(i + 1));
    }
    EXPECT_EQ(rest.finished->state(), v1::JOB_STATE_SUCCEEDED);
  };
  co_await with_bed(std::move(outage.options), std::move(registry), body);
}

CORO_TEST(Outage, HandBackIsRepeatedUntilTheStoreTakesIt) {
  Outage outage;
  Registry registry;
  auto handler = [](Job job) -> Task<void> { co_await job.sleep(std::chrono::hours(1)); };
  registry.add("it", make_handler(handler));
  OutageStore& store = *outage.store;
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    co_await settle_down();
    store.down = true;
    bed.worker.drain(std::chrono::nanoseconds(0));
    co_await sleep_for(std::chrono::seconds(5));
    EXPECT_EQ(bed.worker.stats().resident, 1u);
    store.down = false;
    co_await sleep_for(std::chrono::seconds(5));
    const v1::Job job = co_await bed.get(id);
    EXPECT_EQ(job.state(), v1::JOB_STATE_QUEUED);
  };
  co_await with_bed(std::move(outage.options), std::move(registry), body);
}

CORO_TEST(Outage, TakesAreBoundedAndCarryTheSettlementsOfATurn) {
  Outage outage;
  Registry registry;
  auto handler = [](Job) -> Task<void> { co_return; };
  registry.add("it", make_handler(handler));
  OutageStore& store = *outage.store;
  auto body = [&](WorkerBed& bed) -> Task<void> {
    std::vector<v1::JobSpec> specs(2000);
    for (v1::JobSpec& spec : specs) {
      spec.set_type("it");
      spec.set_queue("default");
    }
    store.calls = 0;
    const auto answers = co_await bed.store->submit(std::move(specs));
    co_await settle_down();
    EXPECT_EQ(bed.worker.stats().succeeded, 2000u);
    EXPECT_EQ(store.most_asked, limits::kTakeBatch);
    EXPECT_GE(store.most_settled, limits::kTakeBatch / 2);
    EXPECT_LT(store.calls, 40u);
  };
  co_await with_bed(std::move(outage.options), std::move(registry), body);
}

// Loses the answer to the next take that brings jobs; the take after it gives them again, as they
// are then. What is told in between concerns jobs that nobody here knows.
class LostTakeStore final : public testing::StoreWrapper {
 public:
  using StoreWrapper::StoreWrapper;
  Task<StatusOr<Taken>> settle_and_take(std::vector<Settlement> settlements,
                                        TakeRequest take) override {
    if (!lost.jobs.empty()) {
      if (down) {
        co_await yield_now();
        co_return unavailable();
      }
      Taken again = std::exchange(lost, {});
      for (v1::Job& job : again.jobs) {
        auto get = inner->get(job.spec().id(), true);
        StatusOr<v1::Job> now = co_await get;
        if (now.ok()) job = *std::move(now);
      }
      co_return StatusOr<Taken>(std::move(again));
    }
    auto next = inner->settle_and_take(std::move(settlements), std::move(take));
    StatusOr<Taken> taken = co_await next;
    if (!down || !taken.ok() || taken->jobs.empty()) co_return taken;
    lost = *std::move(taken);
    co_return unavailable();
  }
  Taken lost;
  bool down = false;
};

CORO_TEST(Outage, AJobThatIsCancelledBeforeItsTakeIsRepeatedIsCancelled) {
  BedOptions options;
  auto made = std::make_unique<LostTakeStore>(*open_store("memory:"));
  LostTakeStore& store = *made;
  options.store = std::move(made);
  Registry registry;
  auto handler = [](Job job) -> Task<void> { co_await job.sleep(std::chrono::hours(1)); };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    store.down = true;
    const std::string id = co_await bed.submit("it");
    co_await sleep_for(std::chrono::seconds(1));
    WEFT_ASSERT(store.lost.jobs.size() == 1);
    auto cancel = bed.store->cancel(id, "not needed");
    const auto cancelled = co_await cancel;
    EXPECT_TRUE(cancelled.ok()) << cancelled.status();
    store.down = false;
    co_await sleep_for(std::chrono::seconds(10));
    const v1::Job job = co_await bed.get(id);
    EXPECT_EQ(job.state(), v1::JOB_STATE_CANCELLED);
    EXPECT_THAT(job.outcome().error_message(), ::testing::HasSubstr("not needed"));
  };
  co_await with_bed(std::move(options), std::move(registry), body);
}

// Refuses what it is told to refuse, once each.
class FaultyStore final : public testing::StoreWrapper {
 public:
  using StoreWrapper::StoreWrapper;
  Task<StatusOr<Taken>> settle_and_take(std::vector<Settlement> settlements,
                                        TakeRequest take) override {
    if (settle.ok() || settlements.empty()) {
      auto next = inner->settle_and_take(std::move(settlements), std::move(take));
      co_return co_await next;
    }
    const size_t count = settlements.size();
    auto next = inner->settle_and_take({}, std::move(take));
    StatusOr<Taken> taken = co_await next;
    taken->settled.assign(count, std::exchange(settle, absl::OkStatus()));
    co_return taken;
  }
  Task<std::vector<Status>> append(std::vector<Append> appends) override {
    if (!chunks.ok()) {
      co_await yield_now();
      co_return std::vector<Status>(appends.size(), std::exchange(chunks, absl::OkStatus()));
    }
    auto next = inner->append(std::move(appends));
    co_return co_await next;
  }
  Task<Status> trim(std::string job_id, uint64_t first_sequence) override {
    if (!trims.ok()) co_return std::exchange(trims, absl::OkStatus());
    auto next = inner->trim(std::move(job_id), first_sequence);
    co_return co_await next;
  }
  Task<StatusOr<std::vector<StoredSend>>> read_sends(std::string job_id, uint64_t after) override {
    if (!sends.ok()) co_return std::exchange(sends, absl::OkStatus());
    auto next = inner->read_sends(std::move(job_id), after);
    co_return co_await next;
  }
  Status settle;
  Status chunks;
  Status trims;
  Status sends;
};

class Faults {
 public:
  Faults() {
    auto made = std::make_unique<FaultyStore>(*open_store("memory:"));
    store = made.get();
    options.store = std::move(made);
  }
  BedOptions options;
  FaultyStore* store;
};

CORO_TEST(Outage, JobWhoseEndIsRefusedRunsAgain) {
  Faults faults;
  faults.store->settle = make_status(StatusCode::kFailedPrecondition, "there is a gap: fill it");
  Registry registry;
  auto handler = [](Job job) -> Task<std::string> { co_return std::to_string(job.attempt()); };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_EQ(end.outcome().result(), "2");
    EXPECT_EQ(bed.worker.stats().released, 1u);
    EXPECT_EQ(bed.worker.stats().resident, 0u);
  };
  co_await with_bed(std::move(faults.options), std::move(registry), body);
}

CORO_TEST(Outage, JobWhoseChunksAreRefusedRunsAgain) {
  Faults faults;
  faults.store->chunks = make_status(StatusCode::kFailedPrecondition, "there is a gap: fill it");
  Registry registry;
  auto handler = [](Job job) -> Stream<std::string> { co_yield std::to_string(job.attempt()); };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    auto reader = co_await bed.watch(id);
    const Read got = co_await read(*reader);
    EXPECT_EQ(got.chunks, std::vector<std::string>{"2"});
    EXPECT_EQ(got.finished->state(), v1::JOB_STATE_SUCCEEDED);
    EXPECT_EQ(bed.worker.stats().resident, 0u);
  };
  co_await with_bed(std::move(faults.options), std::move(registry), body);
}

// Another attempt would meet the same.
CORO_TEST(Outage, JobWhoseStreamCanTakeNoMoreFails) {
  Faults faults;
  faults.store->chunks = make_status(StatusCode::kDataLoss, "the file is broken: restore it");
  Registry registry;
  auto handler = [](Job) -> Stream<std::string> {
    for (int i = 0; i < 10; ++i) co_yield "x";
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    auto reader = co_await bed.watch(id);
    const Read got = co_await read(*reader);
    WEFT_ASSERT(got.finished.has_value());
    EXPECT_EQ(got.finished->state(), v1::JOB_STATE_DEAD);
    EXPECT_EQ(got.finished->outcome().error_code(), "store_error");
    EXPECT_THAT(got.finished->outcome().error_message(), ::testing::HasSubstr("broken"));
  };
  co_await with_bed(std::move(faults.options), std::move(registry), body);
}

CORO_TEST(Outage, JobWhoseStreamCannotBeTrimmedFails) {
  Faults faults;
  faults.options.hub.stream_chunks = 1000;
  faults.store->trims = make_status(StatusCode::kDataLoss, "the file is broken: restore it");
  Registry registry;
  auto handler = [](Job) -> Stream<std::string> {
    for (;;) co_yield "x";
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    auto reader = co_await bed.watch(id);
    const Read got = co_await read(*reader);
    WEFT_ASSERT(got.finished.has_value());
    EXPECT_EQ(got.finished->state(), v1::JOB_STATE_DEAD);
    EXPECT_EQ(got.finished->outcome().error_code(), "store_error");
    EXPECT_THAT(got.finished->outcome().error_message(), ::testing::HasSubstr("broken"));
  };
  co_await with_bed(std::move(faults.options), std::move(registry), body);
}

CORO_TEST(Outage, JobWhoseSendsCannotBeReadFails) {
  Faults faults;
  faults.options.concurrency = 1;
  faults.store->sends = make_status(StatusCode::kDataLoss, "the file is broken: restore it");
  Event go;
  Registry registry;
  auto holder = [&](Job) -> Task<void> { co_await go.wait(); };
  auto handler = [](Job job) -> Task<void> { co_await job.receive(); };
  registry.add("holder", make_handler(holder));
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    co_await bed.submit("holder");
    const std::string id = co_await bed.submit("it");
    co_await bed.send(id, "early");
    go.set();
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_EQ(end.state(), v1::JOB_STATE_DEAD);
    EXPECT_EQ(end.outcome().error_code(), "store_error");
  };
  co_await with_bed(std::move(faults.options), std::move(registry), body);
}

}  // namespace
}  // namespace weft
