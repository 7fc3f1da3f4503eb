// Back-pressure: how far a job may run ahead, and who holds it back.
#include <gmock/gmock.h>

#include "tests/stream/stream_bed.h"
#include "tests/support/coro_test.h"
#include "tests/support/store_wrapper.h"

namespace weft {
namespace {

using testing::Attempt;
using testing::produce;
using testing::push_numbers;
using testing::Read;
using testing::read;
using testing::settle_down;
using testing::StreamBed;
using testing::with_hub;

// Lets a job write as much as it may.
Task<uint64_t> run_as_far_as_it_may(Producer& producer, uint64_t last, size_t bytes = 0) {
  for (int quiet = 0; quiet < 50; ++quiet) {
    const uint64_t before = producer.last_sequence();
    push_numbers(producer, last, bytes);
    if (producer.last_sequence() != before) quiet = 0;
    co_await yield_now();
  }
  co_return producer.last_sequence();
}

CORO_TEST(Window, JobParksAtCreditPlusWindowAndCreditResumesIt) {
  auto body = [](StreamBed& bed, TaskGroup&) -> Task<void> {
    auto attempt = co_await bed.start();
    auto reader = co_await bed.attach(attempt->token.job_id, 10);
    const uint64_t first = co_await run_as_far_as_it_may(*attempt->producer, 100'000);
    EXPECT_EQ(first, 10 + limits::kWindowChunks);
    reader->set_credit(1000);
    reader->set_credit(500);  // a lower one is ignored
    const uint64_t second = co_await run_as_far_as_it_may(*attempt->producer, 100'000);
    EXPECT_EQ(second, 1000 + limits::kWindowChunks);
  };
  co_await with_hub({}, body);
}

CORO_TEST(Window, BytesAreAWindowToo) {
  auto body = [](StreamBed& bed, TaskGroup&) -> Task<void> {
    auto attempt = co_await bed.start();
    auto reader = co_await bed.attach(attempt->token.job_id, 5);
    const uint64_t first = co_await run_as_far_as_it_may(*attempt->producer, 100'000, 100'000);
    EXPECT_EQ(first, 5 + 11u);  // the eleventh passes 1 MiB
    reader->set_credit(7);
    const uint64_t second = co_await run_as_far_as_it_may(*attempt->producer, 100'000, 100'000);
    EXPECT_EQ(second, 7 + 11u);
  };
  co_await with_hub({}, body);
}

CORO_TEST(Window, LargestCreditCounts) {
  auto body = [](StreamBed& bed, TaskGroup&) -> Task<void> {
    auto attempt = co_await bed.start();
    const std::string id = attempt->token.job_id;
    auto small = co_await bed.attach(id, 10);
    auto large = co_await bed.attach(id, 300);
    const uint64_t first = co_await run_as_far_as_it_may(*attempt->producer, 100'000);
    EXPECT_EQ(first, 300 + limits::kWindowChunks);
    large.reset();
    small->set_credit(400);
    const uint64_t second = co_await run_as_far_as_it_may(*attempt->producer, 100'000);
    EXPECT_EQ(second, 400 + limits::kWindowChunks);
  };
  co_await with_hub({}, body);
}

CORO_TEST(Window, ReaderGetsChunksUpToItsCreditOnly) {
  auto body = [](StreamBed& bed, TaskGroup& group) -> Task<void> {
    auto attempt = co_await bed.start();
    auto reader = co_await bed.attach(attempt->token.job_id, 3);
    push_numbers(*attempt->producer, 10);
    std::vector<std::string> got;
    group.start([&]() -> Task<void> {
      while (got.size() < 10) {
        auto event = co_await reader->next();
        for (const std::string& chunk : (*event)->chunks().data()) got.push_back(chunk);
      }
    });
    co_await settle_down();
    EXPECT_EQ(got.size(), 3u);
    reader->set_credit(4);
    co_await settle_down();
    EXPECT_EQ(got.size(), 4u);
    reader->set_credit(100);
    co_await settle_down();
    EXPECT_EQ(got.size(), 10u);
  };
  co_await with_hub({}, body);
}

CORO_TEST(Window, PausingJobComputesNothingWithoutAConsumer) {
  auto body = [](StreamBed& bed, TaskGroup&) -> Task<void> {
    auto attempt = co_await bed.start(v1::STREAM_POLICY_PAUSE);
    const std::string id = attempt->token.job_id;
    auto passive = co_await bed.watch(id);
    const uint64_t alone = co_await run_as_far_as_it_may(*attempt->producer, 100);
    EXPECT_EQ(alone, 0u);
    auto reader = co_await bed.attach(id, 0);
    const uint64_t attached = co_await run_as_far_as_it_may(*attempt->producer, 100);
    EXPECT_EQ(attached, 100u);
    reader.reset();
    const uint64_t left = co_await run_as_far_as_it_may(*attempt->producer, 200);
    EXPECT_EQ(left, 100u);
  };
  co_await with_hub({}, body);
}

CORO_TEST(Window, PausingJobIsCancelledWhenItsConsumerStaysAway) {
  auto body = [](StreamBed& bed, TaskGroup&) -> Task<void> {
    auto attempt = co_await bed.start(v1::STREAM_POLICY_PAUSE);
    auto reader = co_await bed.attach(attempt->token.job_id, 0);
    co_await sleep_for(std::chrono::hours(1));
    EXPECT_FALSE(attempt->scope.cancelled());
    reader.reset();
    co_await sleep_for(std::chrono::milliseconds(limits::kStreamGraceMs - 1));
    EXPECT_FALSE(attempt->scope.cancelled());
    co_await sleep_for(std::chrono::milliseconds(2));
    EXPECT_EQ(attempt->scope.reason(), CancelReason::kConsumerGone);
  };
  co_await with_hub({}, body);
}

CORO_TEST(Window, CancellingJobRunsOnUntilItsGraceIsOver) {
  auto body = [](StreamBed& bed, TaskGroup&) -> Task<void> {
    auto attempt = co_await bed.start(v1::STREAM_POLICY_CANCEL);
    const uint64_t alone = co_await run_as_far_as_it_may(*attempt->producer, 100);
    EXPECT_EQ(alone, 100u);
    co_await sleep_for(std::chrono::milliseconds(limits::kStreamGraceMs + 1));
    EXPECT_EQ(attempt->scope.reason(), CancelReason::kConsumerGone);
  };
  co_await with_hub({}, body);
}

CORO_TEST(Window, RunningJobStopsAtTheStreamBoundInChunks) {
  auto body = [](StreamBed& bed, TaskGroup&) -> Task<void> {
    auto attempt = co_await bed.start();
    const uint64_t last = co_await run_as_far_as_it_may(*attempt->producer, 100'000);
    EXPECT_EQ(last, 1000u);
    EXPECT_FALSE(attempt->scope.cancelled());
  };
  co_await with_hub({.stream_chunks = 1000}, body);
}

CORO_TEST(Window, RunningJobStopsAtTheStreamBoundInBytes) {
  auto body = [](StreamBed& bed, TaskGroup&) -> Task<void> {
    auto attempt = co_await bed.start();
    const uint64_t last = co_await run_as_far_as_it_may(*attempt->producer, 100'000, 1000);
    EXPECT_EQ(last, 100u);
  };
  co_await with_hub({.stream_bytes = 100'000}, body);
}

CORO_TEST(Window, FullStreamGoesOnBehindItsReaders) {
  auto body = [](StreamBed& bed, TaskGroup& group) -> Task<void> {
    auto attempt = co_await bed.start();
    const std::string id = attempt->token.job_id;
    co_await run_as_far_as_it_may(*attempt->producer, 100'000);
    auto reader = co_await bed.watch(id);
    group.start(produce, &*attempt->producer, 20'000, 0);
    const Read got = co_await read(*reader, 20'000);
    EXPECT_TRUE(got.error.ok()) << got.error;
    WEFT_ASSERT(got.chunks.size() == 20'000);
    for (size_t i = 0; i < got.chunks.size(); ++i) {
      WEFT_ASSERT(got.sequences[i] == i + 1 && got.chunks[i] == std::to_string(i + 1));
    }
    const auto job = co_await bed.store->get(id, false);
    EXPECT_GT(job->first_sequence(), 18'000u);
    const auto below = co_await bed.try_open({.job_id = id, .from_sequence = 5});
    EXPECT_EQ(below.status().code(), StatusCode::kOutOfRange);
  };
  co_await with_hub({.stream_chunks = 1000}, body);
}

CORO_TEST(Window, ReaderThatHoldsAFullStreamTooLongIsDetached) {
  auto body = [](StreamBed& bed, TaskGroup& group) -> Task<void> {
    auto attempt = co_await bed.start();
    const std::string id = attempt->token.job_id;
    auto slow = co_await bed.watch(id);
    auto fast = co_await bed.watch(id);
    const int64_t start_ns = EventLoop::current()->now_ns();
    group.start(produce, &*attempt->producer, 5000, 0);
    const Read got = co_await read(*fast, 5000);
    EXPECT_EQ(got.chunks.size(), 5000u);
    const int64_t took_ms = (EventLoop::current()->exact_now_ns() - start_ns) / 1'000'000;
    EXPECT_GE(took_ms, limits::kSlowReaderMs);
    EXPECT_LT(took_ms, 2 * limits::kSlowReaderMs);
    const Read left = co_await read(*slow);
    EXPECT_EQ(left.error.code(), StatusCode::kResourceExhausted);
    EXPECT_EQ(bed.hub.stats().readers_detached, 1u);
  };
  co_await with_hub({.stream_chunks = 1000}, body);
}

CORO_TEST(Window, FullStreamGoesOnBehindAReaderThatComesFromTheEnd) {
  auto body = [](StreamBed& bed, TaskGroup& group) -> Task<void> {
    auto attempt = co_await bed.start();
    const std::string id = attempt->token.job_id;
    group.start(produce, &*attempt->producer, 1500, 0);
    co_await settle_down();
    EXPECT_EQ(attempt->producer->last_sequence(), 1000u);  // it waits, and nobody reads
    auto reader = co_await bed.watch(id, 1001);
    const Read got = co_await read(*reader, 500);
    EXPECT_TRUE(got.error.ok()) << got.error;
    EXPECT_EQ(got.sequences.back(), 1500u);
  };
  co_await with_hub({.stream_chunks = 1000}, body);
}

// Gives a reader one more chunk every ten seconds.
Task<void> drip(Subscription* reader, uint64_t first_credit) {
  for (uint64_t credit = first_credit; credit < first_credit + 1000; ++credit) {
    reader->set_credit(credit);
    const auto event = co_await reader->next();
    if (!event.ok()) {
      EXPECT_EQ(event.status().code(), StatusCode::kResourceExhausted);
      co_return;
    }
    co_await sleep_for(std::chrono::seconds(10));
  }
  ADD_FAILURE() << "nobody sent it away";
}

CORO_TEST(Window, DrippingReaderHoldsAFullStreamNoLonger) {
  auto body = [](StreamBed& bed, TaskGroup& group) -> Task<void> {
    auto attempt = co_await bed.start();
    const std::string id = attempt->token.job_id;
    auto slow = co_await bed.attach(id, 1);
    auto fast = co_await bed.watch(id);
    const int64_t start_ns = EventLoop::current()->now_ns();
    auto credited = co_await bed.attach(id, UINT64_MAX, 1);
    group.start([&]() -> Task<void> { co_await read(*credited, 3000); });
    group.start(drip, slow.get(), 1);
    group.start(produce, &*attempt->producer, 3000, 0);
    const Read got = co_await read(*fast, 3000);
    EXPECT_EQ(got.chunks.size(), 3000u);
    const int64_t took_ms = (EventLoop::current()->exact_now_ns() - start_ns) / 1'000'000;
    EXPECT_GE(took_ms, limits::kSlowReaderMs);
    EXPECT_LT(took_ms, limits::kSlowReaderMs + 10'000);
    co_await sleep_for(std::chrono::seconds(20));  // it has seen that it was sent away
    EXPECT_EQ(bed.hub.stats().readers_detached, 1u);
  };
  co_await with_hub({.stream_chunks = 1000}, body);
}

CORO_TEST(Window, ReaderThatKeepsAFullStreamMovingIsNeverDetached) {
  auto body = [](StreamBed& bed, TaskGroup& group) -> Task<void> {
    auto attempt = co_await bed.start();
    auto reader = co_await bed.attach(attempt->token.job_id, 0);
    auto fast = co_await bed.attach(attempt->token.job_id, UINT64_MAX);
    group.start([&]() -> Task<void> { co_await read(*fast, 5000); });
    group.start(produce, &*attempt->producer, 5000, 0);
    for (uint64_t seen = 0; seen < 4000;) {
      reader->set_credit(seen + 20);
      const Read got = co_await read(*reader, 20);
      WEFT_ASSERT(got.error.ok());
      seen += got.chunks.size();
      co_await sleep_for(std::chrono::seconds(10));
    }
    EXPECT_EQ(bed.hub.stats().readers_detached, 0u);
    reader.reset();
  };
  co_await with_hub({.stream_chunks = 1000}, body);
}

CORO_TEST(Window, WatcherOfAPausedJobIsNotDetached) {
  auto body = [](StreamBed& bed, TaskGroup& group) -> Task<void> {
    auto attempt = co_await bed.start(v1::STREAM_POLICY_PAUSE);
    const std::string id = attempt->token.job_id;
    auto watcher = co_await bed.watch(id);
    auto consumer = co_await bed.attach(id, UINT64_MAX);
    group.start(produce, &*attempt->producer, 1010, 0);
    const Read got = co_await read(*consumer, 1000);
    EXPECT_EQ(got.chunks.size(), 1000u);
    consumer.reset();  // the job is full, but it waits for a consumer
    co_await sleep_for(std::chrono::milliseconds(3 * limits::kSlowReaderMs));
    EXPECT_EQ(bed.hub.stats().readers_detached, 0u);
    consumer = co_await bed.attach(id, UINT64_MAX);
    co_await sleep_for(std::chrono::milliseconds(limits::kSlowReaderMs + 1));
    EXPECT_EQ(bed.hub.stats().readers_detached, 2u);  // now they do hold it
    const Read late = co_await read(*watcher);
    EXPECT_EQ(late.error.code(), StatusCode::kResourceExhausted);
    co_await settle_down();
    EXPECT_EQ(attempt->producer->last_sequence(), 1000u);  // nobody is left to read
    consumer = co_await bed.attach(id, UINT64_MAX, 1001);
    co_await settle_down();
    EXPECT_EQ(attempt->producer->last_sequence(), 1010u);
  };
  co_await with_hub({.stream_chunks = 1000}, body);
}

// Answers trims as it is told, after a while.
class TrimStore final : public testing::StoreWrapper {
 public:
  using StoreWrapper::StoreWrapper;
  Task<Status> trim(std::string job_id, uint64_t first_sequence) override {
    ++trims;
    if (refusal.ok()) {
      auto next = inner->trim(std::move(job_id), first_sequence);
      co_return co_await next;
    }
    co_await go.wait();
    co_return refusal;
  }
  Status refusal;
  Event go;
  size_t trims = 0;
};

CORO_TEST(Window, TrimThatOutlivesItsStreamIsForgotten) {
  auto made = std::make_unique<TrimStore>(*open_store("memory:"));
  TrimStore& store = *made;
  store.refusal = retry_error(StatusCode::kUnavailable, "the disk is full: make room", 1000);
  auto body = [&](StreamBed& bed, TaskGroup&) -> Task<void> {
    auto attempt = co_await bed.start();
    co_await run_as_far_as_it_may(*attempt->producer, 100'000);
    auto reader = co_await bed.watch(attempt->token.job_id);
    co_await read(*reader, 500);
    co_await settle_down();
    EXPECT_EQ(store.trims, 1u);  // and it is on its way
    reader.reset();
    attempt.reset();
    store.go.set();
    co_await sleep_for(std::chrono::minutes(1));
    EXPECT_EQ(store.trims, 1u);
  };
  co_await with_hub({.stream_chunks = 1000}, body, std::move(made));
}

CORO_TEST(Window, RefusedTrimEndsTheAttempt) {
  auto made = std::make_unique<TrimStore>(*open_store("memory:"));
  TrimStore& store = *made;
  store.refusal = make_status(StatusCode::kDataLoss, "the file is broken: restore it");
  store.go.set();
  auto body = [&](StreamBed& bed, TaskGroup&) -> Task<void> {
    auto attempt = co_await bed.start();
    co_await run_as_far_as_it_may(*attempt->producer, 100'000);
    EXPECT_TRUE(attempt->producer->failed().ok());
    auto reader = co_await bed.watch(attempt->token.job_id);
    co_await read(*reader, 500);
    co_await settle_down();
    EXPECT_EQ(attempt->producer->failed().code(), StatusCode::kDataLoss);
    EXPECT_TRUE(attempt->scope.cancelled());
  };
  co_await with_hub({.stream_chunks = 1000}, body, std::move(made));
}

// A reader that comes between the wish to trim and the trim still holds the stream.
CORO_TEST(Window, ReaderThatComesBeforeTheTrimIsDetachedInItsTurn) {
  auto body = [](StreamBed& bed, TaskGroup& group) -> Task<void> {
    auto attempt = co_await bed.start();
    const std::string id = attempt->token.job_id;
    group.start(produce, &*attempt->producer, 1500, 0);
    co_await settle_down();
    auto opening = [&]() -> Task<void> {
      auto late = co_await bed.watch(id, 1);
      co_await sleep_for(std::chrono::milliseconds(2 * limits::kSlowReaderMs));
      const Read got = co_await read(*late);
      EXPECT_EQ(got.error.code(), StatusCode::kResourceExhausted);
    };
    group.start(opening);
    auto reader = co_await bed.watch(id, 1001);
    const Read got = co_await read(*reader, 500);
    EXPECT_EQ(got.sequences.back(), 1500u);
    EXPECT_EQ(bed.hub.stats().readers_detached, 1u);
  };
  co_await with_hub({.stream_chunks = 1000}, body);
}

CORO_TEST(Window, HotJobLetsTheLoopTurn) {
  auto body = [](StreamBed& bed, TaskGroup& group) -> Task<void> {
    auto attempt = co_await bed.start();
    auto reader = co_await bed.attach(attempt->token.job_id, UINT64_MAX);
    group.start(produce, &*attempt->producer, 100'000, 0);
    uint64_t seen = 0;
    while (seen < 100'000) {
      const uint64_t now = attempt->producer->last_sequence();
      EXPECT_LE(now - seen, limits::kChunksPerTurn);
      seen = now;
      co_await yield_now();
    }
  };
  co_await with_hub({}, body);
}

CORO_TEST(Window, UnstoredChunksAreBoundedWhateverWasCredited) {
  auto body = [](StreamBed& bed, TaskGroup&) -> Task<void> {
    auto attempt = co_await bed.start();
    auto reader = co_await bed.attach(attempt->token.job_id, UINT64_MAX);
    push_numbers(*attempt->producer, 1'000'000);  // in one turn: nothing can be stored
    EXPECT_EQ(attempt->producer->last_sequence(), limits::kWindowChunks);
    co_return;
  };
  co_await with_hub({}, body);
}

}  // namespace
}  // namespace weft
