// A stream written in one process and read in another.
#include <gmock/gmock.h>

#include "tests/stream/processes_bed.h"

namespace weft {
namespace {

using testing::Attempt;
using ::testing::ElementsAre;
using testing::expect_numbers;
using ::testing::HasSubstr;
using testing::NewsOptions;
using testing::Processes;
using testing::produce;
using testing::push_numbers;
using testing::Read;
using testing::read;
using testing::run_as_far_as_it_may;
using testing::settle_down;
using testing::with_processes;

constexpr Incarnation kFront{2, 2};

CORO_TEST(Processes, ChunksReachAReaderElsewhere) {
  auto body = [](Processes& p, TaskGroup& group) -> Task<void> {
    auto attempt = co_await p.worker.start();
    auto reader = co_await p.front.watch(attempt->token.job_id);
    Read got;
    group.start([&]() -> Task<void> { got = co_await read(*reader); });
    co_await produce(&*attempt->producer, 5000);
    co_await p.worker.finish(*attempt);
    co_await settle_down();
    expect_numbers(got, 1, 5000);
    WEFT_ASSERT(got.finished.has_value());
    EXPECT_EQ(got.finished->last_sequence(), 5000u);
  };
  co_await with_processes({}, {}, body);
}

CORO_TEST(Processes, ABlockTooLargeToPushIsReadFromTheLog) {
  auto body = [](Processes& p, TaskGroup& group) -> Task<void> {
    auto attempt = co_await p.worker.start();
    auto reader = co_await p.front.watch(attempt->token.job_id);
    Read got;
    group.start([&]() -> Task<void> { got = co_await read(*reader); });
    for (const uint64_t last : {1, 40, 41, 90, 91, 92}) {  // small and large blocks take turns
      push_numbers(*attempt->producer, last, 100);
      co_await settle_down();
    }
    co_await p.worker.finish(*attempt);
    co_await settle_down();
    expect_numbers(got, 1, 92);
  };
  co_await with_processes({}, {.push_bytes = 1000}, body);
}

CORO_TEST(Processes, TheWindowReachesTheJob) {
  auto body = [](Processes& p, TaskGroup&) -> Task<void> {
    auto attempt = co_await p.worker.start();
    const std::string id = attempt->token.job_id;
    auto reader = co_await p.front.attach(id, 10);
    co_await settle_down();
    const uint64_t first = co_await run_as_far_as_it_may(*attempt->producer, 100'000);
    EXPECT_EQ(first, 10 + limits::kWindowChunks);
    reader->set_credit(1000);
    const uint64_t second = co_await run_as_far_as_it_may(*attempt->producer, 100'000);
    EXPECT_EQ(second, 1000 + limits::kWindowChunks);
    // The largest credit counts, wherever it is.
    auto here = co_await p.worker.attach(id, 1500);
    const uint64_t third = co_await run_as_far_as_it_may(*attempt->producer, 100'000);
    EXPECT_EQ(third, 1500 + limits::kWindowChunks);
    reader->set_credit(2000);
    const uint64_t fourth = co_await run_as_far_as_it_may(*attempt->producer, 100'000);
    EXPECT_EQ(fourth, 2000 + limits::kWindowChunks);
  };
  co_await with_processes({}, {}, body);
}

CORO_TEST(Processes, AReaderThatWasThereFirstCountsFromTheStart) {
  auto body = [](Processes& p, TaskGroup&) -> Task<void> {
    const std::string id = co_await p.front.submit(v1::STREAM_POLICY_PAUSE);
    auto reader = co_await p.front.attach(id, 7);
    auto attempt = co_await p.worker.take();
    EXPECT_TRUE(attempt->producer->has_room());
    const uint64_t last = co_await run_as_far_as_it_may(*attempt->producer, 100'000);
    EXPECT_EQ(last, 7 + limits::kWindowChunks);
  };
  co_await with_processes({}, {}, body);
}

CORO_TEST(Processes, AJobWhoseConsumersElsewhereHaveLeftPausesAndEnds) {
  auto body = [](Processes& p, TaskGroup&) -> Task<void> {
    auto attempt = co_await p.worker.start(v1::STREAM_POLICY_PAUSE);
    auto passive = co_await p.front.watch(attempt->token.job_id);
    auto reader = co_await p.front.attach(attempt->token.job_id, 0);
    co_await sleep_for(std::chrono::hours(1));
    EXPECT_FALSE(attempt->scope.cancelled());
    const uint64_t attached = co_await run_as_far_as_it_may(*attempt->producer, 100);
    EXPECT_EQ(attached, 100u);
    reader.reset();
    co_await settle_down();
    const uint64_t alone = co_await run_as_far_as_it_may(*attempt->producer, 200);
    EXPECT_EQ(alone, 100u);
    co_await sleep_for(std::chrono::milliseconds(limits::kStreamGraceMs + 10));
    EXPECT_EQ(attempt->scope.reason(), CancelReason::kConsumerGone);
  };
  co_await with_processes({}, {}, body);
}

CORO_TEST(Processes, AStreamFarBeyondItsBoundIsReadElsewhere) {
  auto body = [](Processes& p, TaskGroup& group) -> Task<void> {
    auto attempt = co_await p.worker.start();
    auto reader = co_await p.front.attach(attempt->token.job_id, 1'000'000);
    Read got;
    group.start([&]() -> Task<void> { got = co_await read(*reader); });
    co_await produce(&*attempt->producer, 20'000);
    co_await p.worker.finish(*attempt);
    co_await settle_down();
    expect_numbers(got, 1, 20'000);
    const auto job = co_await p.front.store->get(attempt->token.job_id, false);
    WEFT_ASSERT(job.ok());
    EXPECT_GT(job->first_sequence(), 18'000u);
    // Its place was told as often as the bound needs, not at every event.
    EXPECT_LT(p.shared.follows(), 20'000u / 1000 * 64 * 2);
  };
  co_await with_processes({.stream_chunks = 1000}, {}, body);
}

CORO_TEST(Processes, ReadingAShortStreamIsToldTwice) {
  auto body = [](Processes& p, TaskGroup&) -> Task<void> {
    auto attempt = co_await p.worker.start();
    push_numbers(*attempt->producer, 1000);
    {
      auto reader = co_await p.front.watch(attempt->token.job_id);
      const Read got = co_await read(*reader, 1000);
      EXPECT_EQ(got.chunks.size(), 1000u);
    }
    EXPECT_EQ(p.shared.follows(), 2u);  // it came, it left
    EXPECT_EQ(p.shared.told(kFront, attempt->token.job_id), StreamReaders());
  };
  co_await with_processes({}, {}, body);
}

// A reader that does not read.
CORO_TEST(Processes, ASlowReaderElsewhereIsDetachedAndTheFastOneGoesOn) {
  auto body = [](Processes& p, TaskGroup& group) -> Task<void> {
    auto attempt = co_await p.worker.start();
    const std::string id = attempt->token.job_id;
    auto slow = co_await p.front.watch(id);
    auto fast = co_await p.front.attach(id, 1'000'000);
    Read got;
    group.start([&]() -> Task<void> { got = co_await read(*fast); });
    co_await settle_down();
    const uint64_t held = co_await run_as_far_as_it_may(*attempt->producer, 5000);
    EXPECT_EQ(held, 1000u);
    co_await sleep_for(std::chrono::milliseconds(limits::kSlowReaderMs + 100));
    co_await produce(&*attempt->producer, 5000);
    co_await p.worker.finish(*attempt);
    co_await settle_down();
    expect_numbers(got, 1, 5000);
    const Read late = co_await read(*slow);
    EXPECT_EQ(late.error.code(), StatusCode::kResourceExhausted);
    EXPECT_THAT(late.error.message(), HasSubstr("still wanted chunk 1:"));
    EXPECT_EQ(p.front.hub.stats().readers_detached, 1u);
  };
  co_await with_processes({.stream_chunks = 1000}, {}, body);
}

CORO_TEST(Processes, AFullStreamWaitsForAProcessThatSaysNothingNoLongerThanForAReader) {
  auto body = [](Processes& p, TaskGroup& group) -> Task<void> {
    auto attempt = co_await p.worker.start();
    const std::string id = attempt->token.job_id;
    auto slow = co_await p.front.watch(id, 1);
    auto here = co_await p.worker.attach(id, 1'000'000);
    Read got;
    group.start([&]() -> Task<void> { got = co_await read(*here); });
    co_await settle_down();
    p.shared.cut(kFront);
    const int64_t start_ns = EventLoop::current()->exact_now_ns();
    co_await produce(&*attempt->producer, 3000);
    const int64_t took_ns = EventLoop::current()->exact_now_ns() - start_ns;
    EXPECT_GE(took_ns, limits::kSlowReaderMs * 1'000'000);
    co_await p.worker.finish(*attempt);
    co_await settle_down();
    expect_numbers(got, 1, 3000);
    p.shared.mend(kFront);
    co_await settle_down();
    const Read late = co_await read(*slow);
    EXPECT_EQ(late.error.code(), StatusCode::kOutOfRange);
  };
  co_await with_processes({.stream_chunks = 1000}, {}, body);
}

CORO_TEST(Processes, AnAttemptElsewhereSupersedesTheOneBefore) {
  auto body = [](Processes& p, TaskGroup& group) -> Task<void> {
    auto first = co_await p.worker.start();
    auto reader = co_await p.front.watch(first->token.job_id);
    auto later = co_await p.front.attach(first->token.job_id, 3);
    Read got;
    group.start([&]() -> Task<void> { got = co_await read(*reader); });
    push_numbers(*first->producer, 10);
    co_await settle_down();
    co_await p.worker.hand_back(*first);
    auto second = co_await p.worker.take();
    co_await settle_down();
    push_numbers(*second->producer, 15);
    co_await p.worker.finish(*second);
    co_await settle_down();
    EXPECT_EQ(got.attempts.size(), 1u);
    EXPECT_EQ(got.chunks.size(), 14u);  // 1 to 10, then 12 to 15
    later->set_credit(100);
    const Read rest = co_await read(*later);
    EXPECT_THAT(rest.sequences, ElementsAre(12, 13, 14, 15));
  };
  co_await with_processes({}, {}, body);
}

CORO_TEST(Processes, ProgressRetryAndRemovalElsewhereAreHeardOf) {
  auto body = [](Processes& p, TaskGroup&) -> Task<void> {
    auto attempt = co_await p.worker.start();
    const std::string id = attempt->token.job_id;
    auto reader = co_await p.front.watch(id);
    v1::Progress progress;
    progress.set_message("half");
    std::vector<std::pair<Token, v1::Progress>> batch(1, {attempt->token, progress});
    co_await p.worker.store->save_progress(std::move(batch));
    const auto event = co_await reader->next();
    WEFT_ASSERT(event.ok() && event->has_value());
    EXPECT_EQ((*event)->progress().message(), "half");

    attempt->producer.reset();
    v1::Outcome failed;
    failed.set_error_code("handler_error");
    std::vector<Settlement> end;
    end.emplace_back(attempt->token, v1::JOB_STATE_DEAD, failed, 0);
    const auto settled = co_await p.worker.store->settle_and_take(std::move(end), TakeRequest());
    EXPECT_TRUE(settled.ok());
    co_await settle_down();
    EXPECT_TRUE(reader->job_ended());
    const auto retried = co_await p.worker.store->retry(id);
    EXPECT_TRUE(retried.ok());
    co_await settle_down();
    EXPECT_FALSE(reader->job_ended());
    auto second = co_await p.worker.take();
    co_await p.worker.finish(*second);
    co_await settle_down();
    EXPECT_TRUE(reader->job_ended());
    const Status removed = co_await p.worker.store->remove(id);
    EXPECT_TRUE(removed.ok());
    co_await settle_down();
    const auto gone = co_await reader->next();
    EXPECT_EQ(gone.status().code(), StatusCode::kNotFound);
  };
  co_await with_processes({}, {}, body);
}

CORO_TEST(Processes, ProcessesBeyondTheBoundAreNoReaders) {
  auto body = [](Processes& p, TaskGroup&) -> Task<void> {
    auto attempt = co_await p.worker.start();
    for (uint64_t i = 1; i <= limits::kRemoteReaders + 1; ++i) {
      StreamReaders one;
      one.attached = 1;
      one.credit = i;
      p.worker.hub.on_readers(RemoteReaders(attempt->token.job_id, {3, i}, one));
    }
    const uint64_t last = co_await run_as_far_as_it_may(*attempt->producer, 100'000);
    EXPECT_EQ(last, limits::kRemoteReaders + limits::kWindowChunks);
  };
  co_await with_processes({}, {}, body);
}

CORO_TEST(Processes, AReaderTheStreamHasNoRoomForIsSentAway) {
  auto body = [](Processes& p, TaskGroup&) -> Task<void> {
    auto attempt = co_await p.worker.start();
    auto reader = co_await p.front.watch(attempt->token.job_id);
    p.front.hub.on_readers_detached(attempt->token.job_id, UINT64_MAX);
    const auto event = co_await reader->next();
    EXPECT_EQ(event.status().code(), StatusCode::kResourceExhausted);
    EXPECT_EQ(p.shared.told(kFront, attempt->token.job_id), StreamReaders());
  };
  co_await with_processes({}, {}, body);
}

CORO_TEST(Processes, ReadersElsewhereAreForgottenWithTheAttempt) {
  auto body = [](Processes& p, TaskGroup&) -> Task<void> {
    auto attempt = co_await p.worker.start();
    const std::string id = attempt->token.job_id;
    auto here = co_await p.worker.watch(id);  // keeps the stream in use
    auto reader = co_await p.front.attach(id, 5);
    co_await settle_down();
    co_await p.worker.hand_back(*attempt);
    reader.reset();
    auto second = co_await p.worker.take();
    const uint64_t last = co_await run_as_far_as_it_may(*second->producer, 10'000);
    EXPECT_EQ(last, 10'000u);  // nobody's window holds it
  };
  co_await with_processes({}, {}, body);
}

}  // namespace
}  // namespace weft
