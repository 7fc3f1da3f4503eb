// News that come late, twice, in another order or not at all: readers notice nothing of it.
#include <gmock/gmock.h>

#include <algorithm>

#include "tests/stream/processes_bed.h"
#include "tests/support/store_wrapper.h"

namespace weft {
namespace {

using testing::Attempt;
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
using testing::StreamBed;
using testing::with_hub;
using testing::with_processes;

constexpr Incarnation kWorker{1, 1};
constexpr Incarnation kFront{2, 2};

CORO_TEST(News, MissedChunksAreReadFromTheLog) {
  auto body = [](Processes& p, TaskGroup& group) -> Task<void> {
    auto attempt = co_await p.worker.start();
    auto reader = co_await p.front.watch(attempt->token.job_id);
    Read got;
    group.start([&]() -> Task<void> { got = co_await read(*reader, 30); });
    push_numbers(*attempt->producer, 10);
    co_await settle_down();
    p.shared.cut(kFront);
    push_numbers(*attempt->producer, 20);
    co_await settle_down();
    p.shared.mend(kFront);
    co_await settle_down();
    push_numbers(*attempt->producer, 30);
    co_await settle_down();
    expect_numbers(got, 1, 30);
  };
  co_await with_processes({}, {}, body);
}

CORO_TEST(News, AMissedEndARetryAndARemovalAreAskedFor) {
  auto body = [](Processes& p, TaskGroup& group) -> Task<void> {
    std::vector<std::unique_ptr<Attempt>> attempts;
    std::vector<std::unique_ptr<Subscription>> readers;
    std::vector<Read> got(3);
    for (int i = 0; i < 3; ++i) {
      attempts.push_back(co_await p.worker.start());
      readers.push_back(co_await p.front.watch(attempts.back()->token.job_id));
      group.start([&, i]() -> Task<void> { got[i] = co_await read(*readers[i]); });
      push_numbers(*attempts[i]->producer, 5);
    }
    co_await settle_down();
    p.shared.cut(kFront);
    co_await p.worker.finish(*attempts[0]);
    push_numbers(*attempts[1]->producer, 8);
    co_await p.worker.hand_back(*attempts[1]);
    auto again = co_await p.worker.take();
    push_numbers(*again->producer, 20);
    co_await p.worker.finish(*again);
    co_await p.worker.finish(*attempts[2]);
    const Status removed = co_await p.worker.store->remove(attempts[2]->token.job_id);
    EXPECT_TRUE(removed.ok());
    co_await settle_down();
    EXPECT_FALSE(got[0].finished.has_value());
    p.shared.mend(kFront);
    co_await settle_down();
    expect_numbers(got[0], 1, 5);
    EXPECT_TRUE(got[0].finished.has_value());
    EXPECT_TRUE(got[1].finished.has_value());
    EXPECT_EQ(got[1].attempts.size(), 1u);
    EXPECT_EQ(got[1].sequences.back(), 20u);
    EXPECT_EQ(got[2].error.code(), StatusCode::kNotFound);
  };
  co_await with_processes({}, {}, body);
}

CORO_TEST(News, AWorkerThatMissedReadersAsksForThem) {
  auto body = [](Processes& p, TaskGroup&) -> Task<void> {
    auto attempt = co_await p.worker.start();
    const std::string id = attempt->token.job_id;
    auto leaves = co_await p.front.attach(id, 10);
    co_await settle_down();
    p.shared.cut(kWorker);
    auto comes = co_await p.front.attach(id, 500);
    co_await settle_down();
    const uint64_t first = co_await run_as_far_as_it_may(*attempt->producer, 100'000);
    EXPECT_EQ(first, 10 + limits::kWindowChunks);
    p.shared.mend(kWorker);
    co_await settle_down();
    const uint64_t second = co_await run_as_far_as_it_may(*attempt->producer, 100'000);
    EXPECT_EQ(second, 500 + limits::kWindowChunks);
    p.shared.cut(kWorker);
    leaves.reset();
    comes.reset();
    co_await settle_down();
    p.shared.mend(kWorker);
    co_await settle_down();
    const uint64_t third = co_await run_as_far_as_it_may(*attempt->producer, 10'000);
    EXPECT_EQ(third, 10'000u);  // nobody is attached, and the job runs on
  };
  co_await with_processes({}, {}, body);
}

// Between the moment the store answers a reader's first question and the moment the answer is here.
CORO_TEST_SEEDED(News, AnEndWhileAReaderIsBeingOpenedIsHeardOf, 20) {
  auto body = [](Processes& p, TaskGroup& group) -> Task<void> {
    auto attempt = co_await p.worker.start();
    push_numbers(*attempt->producer, 3);
    Read got;
    group.start([&]() -> Task<void> {
      auto reader = co_await p.front.watch(attempt->token.job_id);
      got = co_await read(*reader);
    });
    for (int i = 0; i < 3; ++i) co_await yield_now();
    co_await p.worker.finish(*attempt);
    co_await sleep_for(std::chrono::seconds(1));
    EXPECT_TRUE(got.finished.has_value());
    expect_numbers(got, 1, 3);
  };
  co_await with_processes({}, {.seed = seed, .delay_us = 1000}, body);
}

// Readers of every kind against attempts in two processes, while connections come and go.
CORO_TEST_SEEDED(News, ReadersGetEveryChunkOnceInOrder, 60) {
  auto body = [seed](Processes& p, TaskGroup& group) -> Task<void> {
    Random random(seed + 1);
    auto pause = [&random](uint64_t most_us) {
      return sleep_for(std::chrono::microseconds(random.below(most_us)));
    };
    const std::string id = co_await p.front.submit();
    constexpr uint64_t kChunks = 3000;
    struct Place {
      StreamBed* bed;
      uint64_t from;
      bool attached;
      Read got;
      bool done = false;
    };
    std::vector<Place> places;
    for (int i = 0; i < 6; ++i) {
      places.push_back({i % 3 == 0 ? &p.worker : &p.front, i % 2 == 0 ? 0u : 1u, i >= 4, {}});
    }
    for (Place& place : places) {
      group.start(
          [](Place* at, std::string job, uint64_t wait_us) -> Task<void> {
            co_await sleep_for(std::chrono::microseconds(wait_us));
            auto reader = at->attached ? co_await at->bed->attach(job, 50, at->from)
                                       : co_await at->bed->watch(job, at->from);
            while (!at->got.finished && at->got.error.ok()) {
              auto event = co_await reader->next();
              if (!event.ok()) {
                at->got.error = event.status();
              } else {
                at->got.add(**event);
              }
              if (at->attached && !at->got.sequences.empty()) {
                reader->set_credit(at->got.sequences.back() + 100);
              }
              // The start of an attempt is delivered beyond the credit.
              if (at->attached && !at->got.attempts.empty()) {
                reader->set_credit(at->got.attempts.back().sequence() + 50);
              }
            }
            at->done = true;
          },
          &place, id, random.below(3000));
    }
    bool ended = false;
    group.start([&]() -> Task<void> {
      while (!ended) {
        co_await pause(3000);
        const Incarnation who = random.below(2) == 0 ? kFront : kWorker;
        p.shared.cut(who);
        co_await pause(2000);
        p.shared.mend(who);
      }
    });
    uint64_t last = 0;
    uint64_t attempts = 0;
    uint64_t begins = 1;
    while (last < kChunks) {
      StreamBed& bed = random.below(2) == 0 ? p.worker : p.front;
      auto attempt = co_await bed.take();
      begins = attempt->producer->last_sequence() + 1;
      ++attempts;
      const uint64_t until = attempts == 3 ? kChunks + 1 : begins + random.below(kChunks / 3) + 1;
      while (attempt->producer->last_sequence() < until) {
        push_numbers(*attempt->producer,
                     std::min(until, attempt->producer->last_sequence() + 1 + random.below(40)));
        co_await pause(300);
      }
      last = attempt->producer->last_sequence();
      if (last < kChunks) {
        co_await bed.hand_back(*attempt);
      } else {
        co_await bed.finish(*attempt);
      }
    }
    ended = true;
    co_await sleep_for(std::chrono::seconds(1));
    for (const Place& place : places) {
      EXPECT_TRUE(place.done && place.got.finished) << place.got.error.message();
      if (!place.done) co_return;
      EXPECT_TRUE(std::is_sorted(place.got.sequences.begin(), place.got.sequences.end()));
      // Of the last attempt, all; of those before, what was there, without a hole but for the ends.
      const auto from =
          std::lower_bound(place.got.sequences.begin(), place.got.sequences.end(), begins);
      EXPECT_EQ(static_cast<uint64_t>(place.got.sequences.end() - from), last - begins + 1);
      for (size_t i = 1; i < place.got.sequences.size(); ++i) {
        const uint64_t step = place.got.sequences[i] - place.got.sequences[i - 1];
        const bool jumps = std::any_of(place.got.attempts.begin(), place.got.attempts.end(),
                                       [&](const v1::AttemptStarted& a) {
                                         return a.sequence() + 1 == place.got.sequences[i];
                                       });
        if (step != 1) EXPECT_TRUE(jumps) << "from " << place.got.sequences[i - 1];
        EXPECT_GT(step, 0u);
      }
      for (size_t i = 0; i < place.got.sequences.size(); ++i) {
        if (std::stoull(place.got.chunks[i]) != place.got.sequences[i]) {
          ADD_FAILURE() << "chunk " << place.got.sequences[i] << " is another one";
          break;
        }
      }
    }
    EXPECT_EQ(p.shared.told(kFront, id), StreamReaders());
  };
  co_await with_processes({}, {.seed = seed, .disorder = true, .push_bytes = 100}, body);
}

// A store that comes back as it was a while ago.
class Forgetful final : public testing::StoreWrapper {
 public:
  using StoreWrapper::StoreWrapper;
  Task<StatusOr<v1::Job>> get(std::string job_id, bool with_payload) override {
    auto job = co_await inner->get(std::move(job_id), with_payload);
    if (job.ok() && last) job->set_last_sequence(*last);
    if (job.ok() && attempt_sequence) job->set_attempt_sequence(*attempt_sequence);
    if (job.ok() && last) job->clear_outcome();
    co_return job;
  }
  std::optional<uint64_t> last;
  std::optional<uint64_t> attempt_sequence;
};

CORO_TEST(News, AReaderThatIsAheadOfARestoredStoreIsToldSo) {
  auto store = std::make_unique<Forgetful>(*open_store("memory:"));
  Forgetful* memory = store.get();
  auto body = [memory](testing::StreamBed& bed, TaskGroup&) -> Task<void> {
    auto attempt = co_await bed.start();
    auto ahead = co_await bed.watch(attempt->token.job_id);
    auto behind = co_await bed.attach(attempt->token.job_id, 3);
    push_numbers(*attempt->producer, 10);
    co_await settle_down();
    const Read before = co_await read(*ahead, 10);
    EXPECT_EQ(before.chunks.size(), 10u);
    memory->last = 6;
    bed.hub.on_resync();
    co_await settle_down();
    const auto event = co_await ahead->next();
    EXPECT_EQ(event.status().code(), StatusCode::kDataLoss);
    EXPECT_THAT(event.status().message(), HasSubstr("from chunk 7 on"));
    const Read rest = co_await read(*behind, 3);
    EXPECT_EQ(rest.chunks.size(), 3u);
    EXPECT_TRUE(rest.error.ok());
  };
  co_await with_hub({}, body, std::move(store));
}

// Its chunks are kept nowhere else, so it must not wait for them to be stored.
CORO_TEST(News, AnAttemptWhoseChunksTheStoreHasLostIsRefused) {
  auto store = std::make_unique<Forgetful>(*open_store("memory:"));
  Forgetful* memory = store.get();
  auto body = [memory](testing::StreamBed& bed, TaskGroup& group) -> Task<void> {
    auto attempt = co_await bed.start();
    auto reader = co_await bed.watch(attempt->token.job_id);
    push_numbers(*attempt->producer, 10);
    co_await settle_down();
    memory->last = 6;
    bed.hub.on_resync();
    co_await settle_down();
    std::optional<Status> flushed;
    group.start([&]() -> Task<void> { flushed = co_await attempt->producer->flush(); });
    co_await settle_down();
    WEFT_ASSERT(flushed.has_value());
    EXPECT_EQ(flushed->code(), StatusCode::kFailedPrecondition);
    EXPECT_THAT(flushed->message(), HasSubstr("has chunks up to 6 but yielded 10"));
  };
  co_await with_hub({}, body, std::move(store));
}

// What is still on its way goes on behind what the store has.
CORO_TEST(News, AnAttemptWhoseChunksAreUnderWayIsNotRefused) {
  auto store = std::make_unique<Forgetful>(*open_store("memory:"));
  Forgetful* memory = store.get();
  auto body = [memory](testing::StreamBed& bed, TaskGroup&) -> Task<void> {
    auto attempt = co_await bed.start();
    auto reader = co_await bed.watch(attempt->token.job_id);
    push_numbers(*attempt->producer, 10);
    co_await settle_down();
    memory->attempt_sequence = 8;  // found out, though all chunks are there
    bed.hub.on_resync();
    push_numbers(*attempt->producer, 20);
    co_await settle_down();
    const Status flushed = co_await attempt->producer->flush();
    EXPECT_TRUE(flushed.ok()) << flushed;
  };
  co_await with_hub({}, body, std::move(store));
}

CORO_TEST(News, AStoreThatWroteOnAfterItWasRestoredIsFoundOut) {
  auto store = std::make_unique<Forgetful>(*open_store("memory:"));
  Forgetful* memory = store.get();
  auto body = [memory](testing::StreamBed& bed, TaskGroup&) -> Task<void> {
    auto attempt = co_await bed.start();
    auto ahead = co_await bed.watch(attempt->token.job_id);
    push_numbers(*attempt->producer, 10);
    co_await settle_down();
    const Read before = co_await read(*ahead, 10);
    EXPECT_EQ(before.chunks.size(), 10u);
    memory->last = 15;
    memory->attempt_sequence = 8;  // chunks 8 to 10 are others now
    bed.hub.on_resync();
    co_await settle_down();
    const auto event = co_await ahead->next();
    EXPECT_EQ(event.status().code(), StatusCode::kDataLoss);
    EXPECT_THAT(event.status().message(), HasSubstr("from chunk 8 on"));
  };
  co_await with_hub({}, body, std::move(store));
}

CORO_TEST(News, AResyncGoesOnWhenTheStoreIsThereAgain) {
  class Down final : public testing::StoreWrapper {
   public:
    using StoreWrapper::StoreWrapper;
    Task<StatusOr<v1::Job>> get(std::string job_id, bool with_payload) override {
      ++gets;
      if (down) co_return retry_error(StatusCode::kUnavailable, "down", 1);
      co_return co_await inner->get(std::move(job_id), with_payload);
    }
    bool down = false;
    int gets = 0;
  };
  auto store = std::make_unique<Down>(*open_store("memory:"));
  Down* memory = store.get();
  auto body = [memory](testing::StreamBed& bed, TaskGroup&) -> Task<void> {
    auto attempt = co_await bed.start();
    auto reader = co_await bed.watch(attempt->token.job_id);
    memory->down = true;
    memory->gets = 0;
    for (int i = 0; i < 1000; ++i) bed.hub.on_resync();  // a connection that comes and goes
    co_await sleep_for(std::chrono::seconds(60));
    EXPECT_GT(memory->gets, 10);
    EXPECT_LT(memory->gets, 100);
    memory->down = false;
    co_await sleep_for(std::chrono::seconds(10));
    const int then = memory->gets;
    co_await sleep_for(std::chrono::seconds(60));
    EXPECT_EQ(memory->gets, then);
  };
  co_await with_hub({}, body, std::move(store));
}

}  // namespace
}  // namespace weft
