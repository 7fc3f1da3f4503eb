// Back-pressure: how far a job may run ahead, and who holds it back.
#include <gmock/gmock.h>

#include "tests/stream/stream_bed.h"
#include "tests/support/coro_test.h"

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
