// What bounds a worker beside its slots: handlers with a limit, suspects, bytes, time.
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

// Gives out more than there is room for when `generous`, and notes what it was asked. Jobs of the
// type "suspect" come as if their workers had died.
class NotingStore final : public testing::StoreWrapper {
 public:
  using StoreWrapper::StoreWrapper;
  Task<StatusOr<Taken>> settle_and_take(std::vector<Settlement> settlements,
                                        TakeRequest take) override {
    asked.push_back(take);
    if (generous) {
      take.type_room.clear();
      take.suspect = true;
    }
    auto next = inner->settle_and_take(std::move(settlements), std::move(take));
    StatusOr<Taken> taken = co_await next;
    if (!taken.ok()) co_return taken;
    for (v1::Job& job : taken->jobs) {
      if (job.spec().type() == "suspect") job.set_crashes(limits::kSuspectCrashes);
    }
    co_return taken;
  }

  bool generous = true;
  std::vector<TakeRequest> asked;
};

class Bed {
 public:
  Bed() {
    auto made = std::make_unique<NotingStore>(*open_store("memory:"));
    store = made.get();
    options.store = std::move(made);
  }
  Task<void> run(std::function<Task<void>(WorkerBed&)> body) {
    return with_bed(std::move(options), std::move(registry), std::move(body));
  }
  BedOptions options;
  NotingStore* store;
  Registry registry;
};

// Jobs that note their payload when they start, and wait to be let go one by one.
class Line {
 public:
  std::vector<std::string> started;
  size_t inside = 0;
  size_t most = 0;

  auto handler() {
    return [this](Job job) -> Task<void> {
      started.push_back(job.payload());
      most = std::max(most, ++inside);
      struct Leave {
        size_t& inside;
        ~Leave() { --inside; }
      } leave{inside};
      co_await job.receive();
    };
  }
};

CORO_TEST(HandlerLimit, HoldsWhatIsOverItAndStartsItInOrder) {
  Line line;
  Bed limited;
  limited.registry.add("it", make_handler(line.handler()), {.concurrency = 2});
  auto body = [&](WorkerBed& bed) -> Task<void> {
    std::vector<std::string> ids;
    for (int i = 0; i < 5; ++i) ids.push_back(co_await bed.submit("it", std::to_string(i)));
    co_await settle_down();
    EXPECT_THAT(line.started, ElementsAre("0", "1"));  // parked in receive(), and they count
    EXPECT_EQ(bed.worker.stats().resident, 5u);
    EXPECT_EQ(bed.worker.stats().slots_used, 0u);
    for (const std::string& id : ids) {
      co_await bed.send(id, "go");
      co_await bed.finished(id);
      co_await settle_down();
    }
    EXPECT_THAT(line.started, ElementsAre("0", "1", "2", "3", "4"));
    EXPECT_EQ(line.most, 2u);
  };
  co_await limited.run(body);
}

CORO_TEST(HandlerLimit, DelaysNoOtherType) {
  Line line;
  Bed limited;
  limited.options.concurrency = 2;
  limited.registry.add("limited", make_handler(line.handler()), {.concurrency = 1});
  auto quick = [](Job) -> Task<void> { co_return; };
  limited.registry.add("quick", make_handler(quick));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    for (int i = 0; i < 20; ++i) co_await bed.submit("limited");
    const std::string id = co_await bed.submit("quick");
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_EQ(end.state(), v1::JOB_STATE_SUCCEEDED);
    EXPECT_EQ(line.inside, 1u);
  };
  co_await limited.run(body);
}

CORO_TEST(HandlerLimit, TheStoreIsAskedForNoMoreThanHasRoom) {
  Line line;
  Bed limited;
  limited.registry.add("limited", make_handler(line.handler()), {.concurrency = 3});
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string first = co_await bed.submit("limited");
    const std::string second = co_await bed.submit("limited");
    co_await settle_down();
    co_await bed.submit("limited");
    co_await settle_down();
    EXPECT_EQ(line.inside, 3u);
    const size_t asked = limited.store->asked.size();
    co_await bed.submit("limited");  // on its way no matter what, as the store is generous
    co_await settle_down();
    WEFT_ASSERT(limited.store->asked.size() > asked);
    WEFT_ASSERT(limited.store->asked[asked].type_room.size() == 1);
    EXPECT_EQ(limited.store->asked[asked].type_room[0].type, "limited");
    EXPECT_EQ(limited.store->asked[asked].type_room[0].jobs, 0u);
    const size_t full = limited.store->asked.size();
    co_await bed.send(first, "go");
    co_await bed.send(second, "go");
    co_await bed.finished(second);
    co_await settle_down();
    WEFT_ASSERT(limited.store->asked.size() > full);  // there is room again: asked at once
    EXPECT_EQ(limited.store->asked.back().type_room[0].jobs, 1u);
  };
  co_await limited.run(body);
}

CORO_TEST(HandlerLimit, AHeldJobCanBeCancelledAndIsHandedBackAtDrain) {
  Line line;
  Bed limited;
  limited.registry.add("it", make_handler(line.handler()), {.concurrency = 1});
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string first = co_await bed.submit("it");
    const std::string second = co_await bed.submit("it");
    const std::string third = co_await bed.submit("it");
    co_await settle_down();
    co_await bed.cancel(second, "not needed");
    const v1::Finished end = co_await bed.finished(second);
    EXPECT_EQ(end.state(), v1::JOB_STATE_CANCELLED);
    bed.worker.drain(std::chrono::seconds(10));  // time for the first one, not for more
    co_await settle_down();
    const v1::Job handed_back = co_await bed.get(third);
    EXPECT_EQ(handed_back.state(), v1::JOB_STATE_QUEUED);
    co_await bed.send(first, "go");
    co_await bed.finished(first);
    EXPECT_EQ(line.started.size(), 1u);
  };
  co_await limited.run(body);
}

CORO_TEST(Suspects, RunOneAtATimeBesideInnocents) {
  Line suspects;
  Line innocents;
  Bed limited;
  limited.registry.add("suspect", make_handler(suspects.handler()), {.concurrency = 1});
  limited.registry.add("innocent", make_handler(innocents.handler()));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    std::vector<std::string> ids;
    for (int i = 0; i < 3; ++i) {
      ids.push_back(co_await bed.submit("suspect", std::to_string(i)));
      co_await bed.submit("innocent");
    }
    co_await settle_down();
    EXPECT_EQ(innocents.inside, 3u);
    EXPECT_EQ(bed.worker.stats().suspects_running, 1u);
    co_await bed.submit("innocent");
    co_await settle_down();
    EXPECT_FALSE(limited.store->asked.back().suspect);
    for (const std::string& id : ids) {
      co_await bed.send(id, "go");
      co_await bed.finished(id);
      co_await settle_down();
    }
    EXPECT_THAT(suspects.started, ElementsAre("0", "1", "2"));
    EXPECT_EQ(suspects.most, 1u);
    EXPECT_EQ(bed.worker.stats().suspects_running, 0u);
    EXPECT_TRUE(limited.store->asked.back().suspect);
  };
  co_await limited.run(body);
}

CORO_TEST(ResidentBytes, TakingStopsAtTheLimitAndGoesOnBelow) {
  Line line;
  Bed limited;
  limited.options.concurrency = 1;  // one job a take, as each of them parks
  limited.options.max_resident_bytes = 200;
  limited.registry.add("it", make_handler(line.handler()));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    std::vector<std::string> ids;
    for (int i = 0; i < 4; ++i) {
      ids.push_back(co_await bed.submit("it", std::string(100, 'x')));
      co_await settle_down();
    }
    EXPECT_EQ(line.inside, 2u);  // 200 bytes: the limit is reached
    EXPECT_EQ(bed.worker.stats().resident_bytes, 200u);
    co_await bed.send(ids[0], "go");
    co_await bed.finished(ids[0]);
    co_await settle_down();
    EXPECT_EQ(line.inside, 2u);  // 100 bytes are below it
    EXPECT_EQ(bed.worker.stats().resident_bytes, 200u);
    for (size_t i = 1; i < 4; ++i) {
      co_await bed.send(ids[i], "go");
      co_await bed.finished(ids[i]);
    }
    EXPECT_EQ(bed.worker.stats().resident_bytes, 0u);
  };
  co_await limited.run(body);
}

Task<std::string> submit_with_timeout(WorkerBed& bed, std::string type, int64_t ms) {
  v1::JobSpec spec;
  spec.set_type(type);
  spec.set_queue("default");
  spec.mutable_attempt_timeout()->set_seconds(ms / 1000);
  spec.mutable_attempt_timeout()->set_nanos(static_cast<int32_t>(ms % 1000 * 1'000'000));
  co_return co_await bed.submit(std::move(spec));
}

CORO_TEST(AttemptTimeout, EndsTheJobWithTheCodeDeadline) {
  Bed limited;
  bool cleaned = false;
  auto sleeper = [&](Job job) -> Task<void> {
    struct Clean {
      bool& done;
      ~Clean() { done = true; }
    } clean{cleaned};
    co_await job.sleep(std::chrono::hours(1));
  };
  limited.registry.add("sleeper", make_handler(sleeper), {.retry = {.max_attempts = 1}});
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const int64_t start_ns = EventLoop::current()->exact_now_ns();
    const std::string id = co_await submit_with_timeout(bed, "sleeper", 1500);
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_EQ(end.state(), v1::JOB_STATE_DEAD);
    EXPECT_EQ(end.outcome().error_code(), "deadline");
    EXPECT_EQ(end.outcome().error_message(), "the attempt ran longer than its timeout of 1.5 s");
    EXPECT_TRUE(cleaned);
    const int64_t took_ms = (EventLoop::current()->exact_now_ns() - start_ns) / 1'000'000;
    EXPECT_EQ(took_ms, 1500);
  };
  co_await limited.run(body);
}

CORO_TEST(AttemptTimeout, DoesNotCountTheWaitForRoom) {
  Bed limited;
  auto sleeper = [](Job job) -> Task<void> { co_await job.sleep(std::chrono::milliseconds(800)); };
  limited.registry.add("sleeper", make_handler(sleeper), {.concurrency = 1});
  auto body = [&](WorkerBed& bed) -> Task<void> {
    std::vector<std::string> ids;
    for (int i = 0; i < 3; ++i) ids.push_back(co_await submit_with_timeout(bed, "sleeper", 1000));
    for (const std::string& id : ids) {
      const v1::Finished end = co_await bed.finished(id);
      EXPECT_EQ(end.state(), v1::JOB_STATE_SUCCEEDED);
    }
  };
  co_await limited.run(body);
}

CORO_TEST(AttemptTimeout, ACancelThatComesFirstWins) {
  Bed limited;
  auto slow_to_end = [](Job job) -> Task<void> {
    std::exception_ptr error;
    try {
      co_await job.sleep(std::chrono::hours(1));
    } catch (...) {
      error = std::current_exception();
    }
    // The timeout passes meanwhile.
    co_await shielded(std::chrono::seconds(10),
                      [](Job) -> Task<void> { co_await sleep_for(std::chrono::seconds(5)); }(job));
    std::rethrow_exception(error);
  };
  limited.registry.add("it", make_handler(slow_to_end));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await submit_with_timeout(bed, "it", 1000);
    co_await settle_down();
    co_await bed.cancel(id, "changed my mind");
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_EQ(end.state(), v1::JOB_STATE_CANCELLED);
    EXPECT_EQ(end.outcome().error_message(), "changed my mind");
  };
  co_await limited.run(body);
}

CORO_TEST(Metrics, CountByTypeAndOutcome) {
  Bed limited;
  auto handler = [](Job job) -> Task<void> {
    co_await job.sleep(std::chrono::milliseconds(100));
    if (job.payload() == "bad") throw std::runtime_error("bad");
  };
  limited.registry.add("a", make_handler(handler));
  limited.registry.add("b", make_handler(handler), {.retry = {.max_attempts = 1}});
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string first = co_await bed.submit("a");
    const std::string second = co_await bed.submit("b", "bad");
    const std::string third = co_await bed.submit("b");
    const std::string unknown = co_await bed.submit("nobody-has-it");
    co_await settle_down();
    EXPECT_EQ(bed.worker.metrics().types[1].running, 2u);
    co_await bed.cancel(third, "");
    for (const std::string& id : {first, second, third, unknown}) co_await bed.finished(id);
    const WorkerMetrics metrics = bed.worker.metrics();
    WEFT_ASSERT(metrics.types.size() == 3);
    EXPECT_EQ(metrics.types[0].type, "a");
    EXPECT_EQ(metrics.types[0].succeeded, 1u);
    EXPECT_EQ(metrics.types[1].type, "b");
    EXPECT_EQ(metrics.types[1].started, 2u);
    EXPECT_EQ(metrics.types[1].dead, 1u);
    EXPECT_EQ(metrics.types[1].cancelled, 1u);
    EXPECT_EQ(metrics.types[1].running, 0u);
    EXPECT_EQ(metrics.types[2].type, "other");
    EXPECT_EQ(metrics.types[2].dead, 1u);
    EXPECT_EQ(metrics.wait.count(), 3u);
    EXPECT_EQ(metrics.run.count(), 3u);
    EXPECT_GE(metrics.run.sum_ns(), 200'000'000);
  };
  co_await limited.run(body);
}

CORO_TEST(Metrics, TypesBeyondTheLimitAreCountedTogether) {
  Bed limited;
  auto quick = [](Job) -> Task<void> { co_return; };
  for (size_t i = 0; i <= limits::kMetricTypes; ++i) {
    limited.registry.add("type-" + std::to_string(1000 + i), make_handler(quick));
  }
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string last = "type-" + std::to_string(1000 + limits::kMetricTypes);
    const std::string id = co_await bed.submit(last);
    co_await bed.finished(id);
    const WorkerMetrics metrics = bed.worker.metrics();
    EXPECT_EQ(metrics.types.size(), limits::kMetricTypes + 1);
    EXPECT_EQ(metrics.types.back().type, "other");
    EXPECT_EQ(metrics.types.back().succeeded, 1u);
  };
  co_await limited.run(body);
}

}  // namespace
}  // namespace weft
