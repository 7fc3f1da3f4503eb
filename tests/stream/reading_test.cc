// Reading a stream: from anywhere, by any number, across attempts, to its end.
#include <gmock/gmock.h>

#include <concepts>
#include <iterator>
#include <thread>

#include <weft/runtime/async_range.h>
#include <weft/runtime/combinators.h>

#include "tests/stream/stream_bed.h"
#include "tests/support/coro_test.h"

namespace weft {
namespace {

using testing::Attempt;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::produce;
using testing::push_numbers;
using testing::Read;
using testing::read;
using testing::settle_down;
using testing::StreamBed;
using testing::with_hub;

// The stored stream is iterable: it can be opened again and again. A subscription is an iterator
// over it: one pass, not to be copied, that says when it is over.
static_assert(AsyncIterable<StreamHub, WatchOptions>);
static_assert(AsyncIterator<Subscription>);
static_assert(std::same_as<AsyncItem<Subscription>, v1::Event>);
static_assert(!AsyncIterable<Subscription, WatchOptions> && !AsyncIterator<StreamHub>);

CORO_TEST(Reading, StoredStreamIsIterableAndAWatchIsAnIterator) {
  auto body = [](StreamBed& bed, TaskGroup& group) -> Task<void> {
    auto attempt = co_await bed.start();
    const std::string id = attempt->token.job_id;
    push_numbers(*attempt->producer, 100);
    co_await settle_down();
    auto from_start = co_await bed.watch(id);
    auto from_60 = co_await bed.watch(id, 60);
    group.start([&]() -> Task<void> {
      co_await produce(&*attempt->producer, 10'000);
      co_await bed.finish(*attempt);
    });
    const Read all = co_await read(*from_start);
    const Read part = co_await read(*from_60);
    EXPECT_EQ(all.chunks.size(), 10'000u);
    EXPECT_EQ(part.chunks.size(), 10'000u - 59);
    EXPECT_EQ(part.chunks.front(), "60");
    EXPECT_EQ(part.chunks.back(), "10000");
    EXPECT_TRUE(all.finished.has_value() && part.finished.has_value());
    const auto over = co_await from_start->next();  // the one pass is over
    EXPECT_TRUE(over.ok() && !over->has_value());
    auto again = co_await bed.watch(id);  // and a new one begins anew
    const Read second = co_await read(*again);
    EXPECT_EQ(second.chunks, all.chunks);
    EXPECT_EQ(second.finished->last_sequence(), 10'000u);
  };
  co_await with_hub({}, body);
}

CORO_TEST(Reading, SequencesBeyondTheEndAreRefusedWithTheValidOnes) {
  auto body = [](StreamBed& bed, TaskGroup&) -> Task<void> {
    auto attempt = co_await bed.start();
    const std::string id = attempt->token.job_id;
    push_numbers(*attempt->producer, 5);
    co_await settle_down();
    const auto next = co_await bed.try_open({.job_id = id, .from_sequence = 6});
    EXPECT_TRUE(next.ok());
    const auto beyond = co_await bed.try_open({.job_id = id, .from_sequence = 7});
    EXPECT_EQ(beyond.status().code(), StatusCode::kOutOfRange);
    EXPECT_THAT(std::string(from_absl(beyond.status().message())), HasSubstr("use 1 to 6"));
    const auto unknown = co_await bed.try_open({.job_id = "nosuchjob0"});
    EXPECT_EQ(unknown.status().code(), StatusCode::kNotFound);
    EXPECT_EQ(bed.hub.stats().readers, 1u);
  };
  co_await with_hub({}, body);
}

CORO_TEST(Reading, ReaderOfAQueuedJobWaitsForItsChunks) {
  auto body = [](StreamBed& bed, TaskGroup& group) -> Task<void> {
    const std::string id = co_await bed.submit();
    auto reader = co_await bed.attach(id, 2);
    std::optional<Read> got;
    group.start([&]() -> Task<void> { got = co_await read(*reader); });
    co_await settle_down();
    EXPECT_FALSE(got.has_value());
    auto attempt = co_await bed.take();
    push_numbers(*attempt->producer, 2);
    co_await bed.finish(*attempt);
    co_await settle_down();
    WEFT_ASSERT(got.has_value());
    EXPECT_THAT(got->chunks, ElementsAre("1", "2"));
    EXPECT_TRUE(got->finished.has_value());
  };
  co_await with_hub({}, body);
}

CORO_TEST(Reading, CancelledNextMayBeCalledAgain) {
  auto body = [](StreamBed& bed, TaskGroup&) -> Task<void> {
    auto attempt = co_await bed.start();
    auto reader = co_await bed.watch(attempt->token.job_id);
    auto nothing = co_await with_timeout(std::chrono::seconds(1), reader->next());
    EXPECT_FALSE(nothing.has_value());
    push_numbers(*attempt->producer, 1);
    const Read got = co_await read(*reader, 1);
    EXPECT_THAT(got.chunks, ElementsAre("1"));
  };
  co_await with_hub({}, body);
}

CORO_TEST(Reading, NothingIsShownBeforeItIsStored) {
  auto body = [](StreamBed& bed, TaskGroup& group) -> Task<void> {
    auto attempt = co_await bed.start();
    const std::string id = attempt->token.job_id;
    auto reader = co_await bed.watch(id);
    group.start(produce, &*attempt->producer, 5000, 0);
    uint64_t seen = 0;
    while (seen < 5000) {
      auto event = co_await reader->next();
      seen = (*event)->chunks().first_sequence() +
             static_cast<uint64_t>((*event)->chunks().data_size()) - 1;
      const auto job = co_await bed.store->get(id, false);
      EXPECT_GE(job->last_sequence(), seen);
    }
  };
  co_await with_hub({}, body);
}

CORO_TEST(Reading, ChunksOfOneTurnGoToTheStoreTogether) {
  auto body = [](StreamBed& bed, TaskGroup&) -> Task<void> {
    std::vector<std::unique_ptr<Attempt>> attempts;
    for (int i = 0; i < 20; ++i) attempts.push_back(co_await bed.start());
    for (auto& attempt : attempts) push_numbers(*attempt->producer, 10);
    for (auto& attempt : attempts) {
      const Status stored = co_await attempt->producer->flush();
      EXPECT_TRUE(stored.ok());
    }
    EXPECT_EQ(bed.hub.stats().appends, 1u);
    EXPECT_EQ(bed.hub.stats().chunks_committed, 200u);
  };
  co_await with_hub({}, body);
}

CORO_TEST(Reading, ReaderThatFallsBehindReadsTheLogAndSlowsNobody) {
  auto body = [](StreamBed& bed, TaskGroup& group) -> Task<void> {
    auto attempt = co_await bed.start();
    const std::string id = attempt->token.job_id;
    auto fast = co_await bed.attach(id, UINT64_MAX);
    auto slow = co_await bed.attach(id, UINT64_MAX);
    group.start([&]() -> Task<void> {
      co_await produce(&*attempt->producer, 200'000, 100);
      co_await bed.finish(*attempt);
    });
    const Read first = co_await read(*slow, 1);
    const int64_t start_ns = EventLoop::current()->now_ns();
    const Read all = co_await read(*fast);
    EXPECT_EQ(all.chunks.size(), 200'000u);
    EXPECT_EQ(EventLoop::current()->now_ns(), start_ns);  // nobody waited for a timer
    EXPECT_LE(bed.hub.stats().live_tail_bytes, 5u << 20);
    const Read rest = co_await read(*slow);
    EXPECT_EQ(first.chunks.size() + rest.chunks.size(), 200'000u);
    EXPECT_TRUE(rest.finished.has_value());
  };
  co_await with_hub({}, body);
}

CORO_TEST(Reading, LiveTailsOfAllStreamsAreBounded) {
  auto body = [](StreamBed& bed, TaskGroup& group) -> Task<void> {
    std::vector<std::unique_ptr<Attempt>> attempts;
    std::vector<std::unique_ptr<Subscription>> readers;
    for (int i = 0; i < 10; ++i) {
      attempts.push_back(co_await bed.start());
      readers.push_back(co_await bed.attach(attempts.back()->token.job_id, UINT64_MAX));
    }
    for (auto& attempt : attempts) group.start(produce, &*attempt->producer, 2000, 100);
    co_await settle_down();
    EXPECT_LE(bed.hub.stats().live_tail_bytes, 100'000u);
    for (auto& reader : readers) {
      const Read got = co_await read(*reader, 2000);
      EXPECT_EQ(got.chunks.back().substr(0, 4), "2000");
    }
  };
  co_await with_hub({.live_tail_bytes = 100'000}, body);
}

CORO_TEST(Reading, NewAttemptIsToldToThoseWhoPassedTheOldOne) {
  auto body = [](StreamBed& bed, TaskGroup&) -> Task<void> {
    auto first = co_await bed.start();
    const std::string id = first->token.job_id;
    auto old_reader = co_await bed.watch(id);
    push_numbers(*first->producer, 3);
    const Read before = co_await read(*old_reader, 2);
    EXPECT_EQ(before.chunks.size(), 3u);
    co_await bed.hand_back(*first);
    auto second = co_await bed.take();
    EXPECT_EQ(second->job.attempt(), 2u);
    const Status pushed = second->producer->push("again");
    EXPECT_TRUE(pushed.ok());
    co_await bed.finish(*second);

    const Read after = co_await read(*old_reader);
    WEFT_ASSERT(after.attempts.size() == 1);
    EXPECT_EQ(after.attempts[0].attempt(), 2u);
    EXPECT_EQ(after.attempts[0].resumes_after(), 0u);
    EXPECT_EQ(after.attempts[0].sequence(), 4u);
    EXPECT_THAT(after.chunks, ElementsAre("again"));
    EXPECT_THAT(after.sequences, ElementsAre(5u));

    auto fresh = co_await bed.watch(id);  // has nothing to take back
    const Read skipped = co_await read(*fresh);
    EXPECT_THAT(skipped.chunks, ElementsAre("again"));
    EXPECT_TRUE(skipped.attempts.empty());
    auto resumed = co_await bed.watch(id, 3);  // has seen 1 and 2
    const Read told = co_await read(*resumed);
    EXPECT_THAT(told.chunks, ElementsAre("again"));
    EXPECT_EQ(told.attempts.size(), 1u);
    auto everything = co_await bed.watch(id, 0, true);
    const Read all = co_await read(*everything);
    EXPECT_THAT(all.chunks, ElementsAre("1", "2", "3", "again"));
    EXPECT_EQ(all.attempts.size(), 1u);
  };
  co_await with_hub({}, body);
}

// An attached reader whose credit ends before the new attempt is told where that begins: it cannot
// know otherwise how much credit to give, and job and reader would wait for each other.
CORO_TEST(Reading, NewAttemptIsToldToAnAttachedReaderWithoutCreditForIt) {
  std::vector<uint64_t> told;
  std::vector<uint64_t> chunks;
  auto body = [&](StreamBed& bed, TaskGroup&) -> Task<void> {
    auto first = co_await bed.start();
    const std::string id = first->token.job_id;
    auto early = co_await bed.attach(id, 10);
    push_numbers(*first->producer, 100);
    const auto seen = co_await early->next();
    chunks.push_back((*seen)->chunks().data_size());
    co_await bed.hand_back(*first);
    auto second = co_await bed.take();
    auto late = co_await bed.attach(id, 10);
    const auto attempt = co_await early->next();
    told.push_back((*attempt)->attempt_started().sequence());
    const auto position = co_await late->next();
    told.push_back((*position)->chunks().first_sequence());
    early->set_credit(102);
    late->set_credit(102);
    const Status pushed = second->producer->push("new");
    chunks.push_back(pushed.ok());
    const auto early_chunk = co_await early->next();
    chunks.push_back((*early_chunk)->chunks().first_sequence());
    const auto late_attempt = co_await late->next();  // nothing is left out after its place
    told.push_back((*late_attempt)->attempt_started().sequence());
    auto late_event = co_await late->next();
    chunks.push_back((*late_event)->chunks().first_sequence());
    co_await bed.finish(*second);
  };
  co_await with_hub({}, body);
  EXPECT_EQ(told, (std::vector<uint64_t>{101, 101, 101}));
  EXPECT_EQ(chunks, (std::vector<uint64_t>{10, 1, 102, 102}));
}

CORO_TEST(Reading, NewAttemptCutsShortWhatAReaderHadStillToRead) {
  auto body = [](StreamBed& bed, TaskGroup&) -> Task<void> {
    auto first = co_await bed.start();
    const std::string id = first->token.job_id;
    auto reader = co_await bed.attach(id, 2);
    push_numbers(*first->producer, 500);
    const Read before = co_await read(*reader, 2);
    EXPECT_EQ(before.chunks.size(), 2u);
    co_await bed.hand_back(*first);
    auto second = co_await bed.take();
    push_numbers(*second->producer, second->job.last_sequence() + 2);
    co_await bed.finish(*second);
    reader->set_credit(UINT64_MAX);
    const Read after = co_await read(*reader);
    EXPECT_THAT(after.sequences, ElementsAre(502u, 503u));
    EXPECT_EQ(after.attempts.size(), 1u);
  };
  co_await with_hub({}, body);
}

CORO_TEST(Reading, StaleProducerIsToldToStop) {
  auto body = [](StreamBed& bed, TaskGroup&) -> Task<void> {
    auto first = co_await bed.start();
    std::vector<Token> tokens(1, first->token);
    co_await bed.store->release(std::move(tokens));
    push_numbers(*first->producer, 1);
    const Status stored = co_await first->producer->flush();
    EXPECT_EQ(stored.code(), StatusCode::kAborted);
    EXPECT_EQ(first->scope.reason(), CancelReason::kLeaseLost);
  };
  co_await with_hub({}, body);
}

CORO_TEST(Reading, ReadersAreBounded) {
  auto body = [](StreamBed& bed, TaskGroup&) -> Task<void> {
    const std::string a = co_await bed.submit();
    const std::string b = co_await bed.submit();
    auto one = co_await bed.watch(a);
    auto two = co_await bed.watch(a);
    const auto third = co_await bed.try_open({.job_id = a});
    EXPECT_EQ(third.status().code(), StatusCode::kResourceExhausted);
    auto other = co_await bed.watch(b);
    const auto fourth = co_await bed.try_open({.job_id = b});
    EXPECT_EQ(fourth.status().code(), StatusCode::kResourceExhausted);
    one.reset();
    const auto again = co_await bed.try_open({.job_id = b});
    EXPECT_TRUE(again.ok());
  };
  co_await with_hub({.readers_per_job = 2, .readers = 3}, body);
}

CORO_TEST(Reading, BigChunksComeOneByOneAndSmallOnesTogether) {
  auto body = [](StreamBed& bed, TaskGroup&) -> Task<void> {
    auto attempt = co_await bed.start();
    auto reader = co_await bed.attach(attempt->token.job_id, UINT64_MAX);
    push_numbers(*attempt->producer, 3, limits::kReadBatchBytes);
    for (int i = 0; i < 3; ++i) {
      const auto event = co_await reader->next();
      EXPECT_EQ((*event)->chunks().data_size(), 1);
    }
    co_await settle_down();
    push_numbers(*attempt->producer, 1003);
    const auto event = co_await reader->next();
    EXPECT_EQ((*event)->chunks().data_size(), 1000);
  };
  co_await with_hub({}, body);
}

// Readers come, go, and give credit while a job writes; each sees an unbroken run of sequences.
CORO_TEST_SEEDED(Reading, NoGapAndNoRepeatUnderAnyOrder, 30) {
  auto body = [seed](StreamBed& bed, TaskGroup& group) -> Task<void> {
    Random random(seed);
    auto attempt = co_await bed.start();
    const std::string id = attempt->token.job_id;
    group.start([&]() -> Task<void> {
      co_await produce(&*attempt->producer, 3000);
      co_await bed.finish(*attempt);
    });
    auto follow = [&bed, &id](uint64_t reader_seed) -> Task<void> {
      Random own(reader_seed);
      uint64_t next = 1;
      for (;;) {
        const bool attached = own.below(2) == 0;
        uint64_t credit = next + own.below(500);
        auto opened = co_await bed.hub.open(
            {.job_id = id, .from_sequence = next, .attached = attached, .credit = credit});
        WEFT_ASSERT(opened.ok());
        const uint64_t events = 1 + own.below(20);
        for (uint64_t i = 0; i < events; ++i) {
          (*opened)->set_credit(credit += 1 + own.below(500));
          auto event = co_await (*opened)->next();
          WEFT_ASSERT(event.ok() && event->has_value());
          if ((*event)->has_finished()) {
            EXPECT_EQ(next, 3001u);
            co_return;
          }
          EXPECT_EQ((*event)->chunks().first_sequence(), next);
          for (const std::string& chunk : (*event)->chunks().data()) {
            WEFT_ASSERT(chunk == std::to_string(next));
            ++next;
          }
          if (own.below(3) == 0) co_await yield_now();
        }
      }
    };
    auto readers = [&](TaskGroup& all) -> Task<void> {
      for (int i = 0; i < 5; ++i) all.start(follow, random.next());
      co_return;
    };
    co_await with_group(readers);
  };
  co_await with_hub({.window_chunks = 64, .stream_chunks = 1'000'000}, body);
}

#ifndef NDEBUG
// Calls from a thread that is not the loop's.
template <typename Call>
void on_other_thread(Call call) {
  EventLoop loop;
  StreamBed bed;
  std::thread([&] { call(bed.hub); }).join();
}

TEST(StreamHubDeathTest, EntryPointsRefuseOtherThreads) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  constexpr char kMessage[] = "only on the thread of the loop";
  EXPECT_DEATH(on_other_thread([](StreamHub& hub) { static_cast<void>(hub.run()); }), kMessage);
  EXPECT_DEATH(on_other_thread([](StreamHub& hub) { static_cast<void>(hub.open({})); }), kMessage);
  EXPECT_DEATH(on_other_thread([](StreamHub& hub) { hub.on_finished({}); }), kMessage);
  EXPECT_DEATH(on_other_thread([](StreamHub& hub) { hub.on_progress("", {}); }), kMessage);
  EXPECT_DEATH(on_other_thread([](StreamHub& hub) { hub.stats(); }), kMessage);
  EXPECT_DEATH(on_other_thread([](StreamHub& hub) {
                 CancelScope scope;
                 Producer(hub, {}, Token("a", 1, {1, 2}), scope);
               }),
               kMessage);
}
#endif

}  // namespace
}  // namespace weft
