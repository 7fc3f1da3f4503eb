// Streams between processes over a real Redis server.
#include <gmock/gmock.h>

#include "tests/stream/redis_processes.h"
#include "tests/support/coro_test.h"

namespace weft {
namespace {

using testing::Attempt;
using testing::comes_true;
using testing::over_redis;
using testing::produce;
using testing::push_numbers;
using testing::Read;
using testing::read;
using testing::RedisProcesses;
using testing::StreamBed;

// Reads to the end; what was read, as it comes, is in `got`.
Task<void> read_all(Subscription* reader, Read* got) {
  for (;;) {
    auto event = co_await reader->next();
    if (!event.ok()) got->error = event.status();
    if (!event.ok() || !event->has_value()) co_return;
    got->add(**event);
  }
}

// The same, by a reader that comes back when the store could not be asked.
Task<void> read_through(Subscription* reader, Read* got) {
  for (;;) {
    auto event = co_await reader->next();
    if (event.status().code() == StatusCode::kUnavailable) {
      co_await sleep_for(std::chrono::milliseconds(1));
      continue;
    }
    if (!event.ok()) got->error = event.status();
    if (!event.ok() || !event->has_value()) co_return;
    got->add(**event);
  }
}

void expect_numbers(const Read& got, uint64_t last) {
  ASSERT_EQ(got.chunks.size(), last) << got.error;
  for (uint64_t n = 1; n <= last; ++n) {
    ASSERT_EQ(got.sequences[n - 1], n);
    ASSERT_EQ(std::stoull(got.chunks[n - 1]), n);
  }
}

// Runs to `expected`, however long the news take that let it; and then not beyond.
Task<void> expect_runs_to(Producer* producer, uint64_t expected) {
  const auto as_far_as_it_may = [producer] {
    push_numbers(*producer, 100'000);
    return producer->last_sequence();
  };
  co_await comes_true([&] { return as_far_as_it_may() >= expected; });
  for (int quiet = 0; quiet < 50; ++quiet) {
    EXPECT_EQ(as_far_as_it_may(), expected);
    co_await sleep_for(std::chrono::milliseconds(1));
  }
}

TEST(RedisStreams, ALongStreamIsReadElsewhereAsItIsWritten) {
  auto body = [](RedisProcesses& p, TaskGroup& group) -> Task<void> {
    auto attempt = co_await p.worker.start();
    auto reader = co_await p.front.attach(attempt->token.job_id, 1'000'000);
    Read got;
    group.start(&read_all, reader.get(), &got);
    co_await produce(&*attempt->producer, 100'000);
    co_await p.worker.finish(*attempt);
    const bool ended = co_await comes_true([&] { return got.finished.has_value(); });
    EXPECT_TRUE(ended);
    expect_numbers(got, 100'000);
    // It came in pushes, and its place was told no more often than the bound needs.
    EXPECT_GT(p.front.store->stats().pushes, 20u);
    EXPECT_LT(p.worker.store->stats().pushes, 100'000u * 64 / limits::kStreamChunks + 20);
  };
  over_redis({}, {}, body);
}

TEST(RedisStreams, BlocksTooLargeToPushAreReadFromTheLog) {
  auto body = [](RedisProcesses& p, TaskGroup& group) -> Task<void> {
    auto attempt = co_await p.worker.start();
    auto reader = co_await p.front.watch(attempt->token.job_id);
    Read got;
    group.start(&read_all, reader.get(), &got);
    for (uint64_t last = 1; last <= 40; ++last) {
      const size_t bytes = last % 4 == 0 ? 200'000 : 10;
      push_numbers(*attempt->producer, last, bytes);
      const bool there = co_await comes_true([&] { return got.chunks.size() == last; });
      EXPECT_TRUE(there);
    }
    co_await p.worker.finish(*attempt);
    const bool ended = co_await comes_true([&] { return got.finished.has_value(); });
    EXPECT_TRUE(ended);
    expect_numbers(got, 40);
  };
  over_redis({}, {}, body);
}

TEST(RedisStreams, LostConnectionsCostNoChunk) {
  auto body = [](RedisProcesses& p, TaskGroup& group) -> Task<void> {
    auto attempt = co_await p.worker.start();
    auto attached = co_await p.front.attach(attempt->token.job_id, 1'000'000);
    auto passive = co_await p.front.watch(attempt->token.job_id);
    Read got[2];
    group.start(&read_through, attached.get(), &got[0]);
    group.start(&read_through, passive.get(), &got[1]);
    for (int i = 0; i < 12; ++i) {
      co_await produce(&*attempt->producer, 200 * static_cast<uint64_t>(i + 1));
      co_await sleep_for(std::chrono::milliseconds(5));
      const auto seen = p.front.store->stats().connects;
      if (i % 4 == 1) co_await p.kill_news("front");
      if (i % 4 == 2) co_await p.kill_news("worker");
      if (i % 4 == 3) co_await p.kill_commands("front");
      // Some of what follows is written while nobody hears of it.
      if (i % 4 == 3) {
        const bool again =
            co_await comes_true([&] { return p.front.store->stats().connects > seen; });
        EXPECT_TRUE(again);
      }
    }
    // The end is missed too.
    co_await p.kill_news("front");
    co_await p.worker.finish(*attempt);
    for (const Read& one : got) {
      const bool ended = co_await comes_true([&] { return one.finished.has_value(); });
      EXPECT_TRUE(ended) << one.error;
      expect_numbers(one, 2400);
    }
  };
  over_redis({}, {}, body);
}

TEST(RedisStreams, TheWindowReachesTheGenerator) {
  auto body = [](RedisProcesses& p, TaskGroup&) -> Task<void> {
    auto attempt = co_await p.worker.start(v1::STREAM_POLICY_PAUSE);
    const std::string id = attempt->token.job_id;
    Producer* producer = &*attempt->producer;
    co_await expect_runs_to(producer, 0);
    auto reader = co_await p.front.attach(id, 10);
    co_await expect_runs_to(producer, 10 + limits::kWindowChunks);
    reader->set_credit(500);
    co_await expect_runs_to(producer, 500 + limits::kWindowChunks);
    // What the worker did not hear of it asks for.
    co_await p.kill_news("worker");
    reader->set_credit(600);
    co_await expect_runs_to(producer, 600 + limits::kWindowChunks);
    // There is room when its reader leaves, and nobody to run for.
    reader->set_credit(10'000);
    const bool opened = co_await comes_true([&] { return !producer->must_wait(); });
    EXPECT_TRUE(opened);
    reader.reset();
    const bool closed = co_await comes_true([&] { return producer->must_wait(); });
    EXPECT_TRUE(closed);
  };
  over_redis({}, {}, body);
}

TEST(RedisStreams, AReaderThatWasThereFirstComesWithTheTake) {
  auto body = [](RedisProcesses& p, TaskGroup&) -> Task<void> {
    const std::string id = co_await p.front.submit(v1::STREAM_POLICY_PAUSE);
    auto reader = co_await p.front.attach(id, 7);
    auto attempt = co_await p.worker.take();
    EXPECT_TRUE(attempt->producer->has_room());
    co_await expect_runs_to(&*attempt->producer, 7 + limits::kWindowChunks);
  };
  over_redis({}, {}, body);
}

TEST(RedisStreams, ASlowReaderElsewhereIsDetached) {
  auto body = [](RedisProcesses& p, TaskGroup& group) -> Task<void> {
    auto attempt = co_await p.worker.start();
    const std::string id = attempt->token.job_id;
    auto slow = co_await p.front.watch(id);
    auto fast = co_await p.front.attach(id, 1'000'000);
    Read got;
    group.start(&read_all, fast.get(), &got);
    co_await produce(&*attempt->producer, 3000);
    co_await p.worker.finish(*attempt);
    const bool ended = co_await comes_true([&] { return got.finished.has_value(); });
    EXPECT_TRUE(ended);
    expect_numbers(got, 3000);
    const Read late = co_await read(*slow);
    EXPECT_EQ(late.error.code(), StatusCode::kResourceExhausted);
  };
  over_redis({.stream_chunks = 1000, .slow_reader_ms = 1000}, {}, body);
}

TEST(RedisStreams, AnAttemptElsewhereAndItsEndAreTold) {
  auto body = [](RedisProcesses& p, TaskGroup& group) -> Task<void> {
    auto first = co_await p.worker.start();
    const std::string id = first->token.job_id;
    auto reader = co_await p.front.watch(id);
    Read got;
    group.start(&read_all, reader.get(), &got);
    push_numbers(*first->producer, 10);
    co_await p.worker.hand_back(*first);
    auto second = co_await p.worker.take();
    push_numbers(*second->producer, 15);
    v1::Progress progress;
    progress.set_message("nearly");
    std::vector<std::pair<Token, v1::Progress>> batch(1, {second->token, progress});
    co_await p.worker.store->save_progress(std::move(batch));
    co_await p.worker.finish(*second);
    const bool ended = co_await comes_true([&] { return got.finished.has_value(); });
    EXPECT_TRUE(ended);
    EXPECT_EQ(got.attempts.size(), 1u);
    EXPECT_EQ(got.sequences.back(), 15u);
    WEFT_ASSERT(!got.progress.empty());
    EXPECT_EQ(got.progress.back().message(), "nearly");
    EXPECT_EQ(got.finished->state(), v1::JOB_STATE_SUCCEEDED);
  };
  over_redis({}, {}, body);
}

TEST(RedisStreams, AnOutcomeTooLargeToPushIsAskedFor) {
  auto body = [](RedisProcesses& p, TaskGroup& group) -> Task<void> {
    for (const bool kept : {true, false}) {
      v1::JobSpec spec;
      spec.set_type("any");
      spec.set_queue("default");
      if (!kept) spec.mutable_retention();
      std::vector<v1::JobSpec> specs(1, spec);
      const auto answers = co_await p.front.store->submit(std::move(specs));
      auto attempt = co_await p.worker.take();
      auto reader = co_await p.front.watch(answers[0]->id);
      Read got;
      group.start(&read_all, reader.get(), &got);
      attempt->producer.reset();
      v1::Outcome outcome;
      outcome.set_result(std::string(500'000, 'r'));
      std::vector<Settlement> end;
      end.emplace_back(attempt->token, v1::JOB_STATE_SUCCEEDED, outcome, 0);
      const auto settled = co_await p.worker.store->settle_and_take(std::move(end), TakeRequest());
      EXPECT_TRUE(settled.ok());
      const bool ended = co_await comes_true([&] { return got.finished.has_value(); });
      WEFT_ASSERT(ended);
      EXPECT_EQ(got.finished->outcome().result().size(), 500'000u);
    }
  };
  over_redis({}, {}, body);
}

TEST(RedisStreams, ARetryAndARemovalElsewhereAreTold) {
  auto body = [](RedisProcesses& p, TaskGroup&) -> Task<void> {
    auto attempt = co_await p.worker.start();
    const std::string id = attempt->token.job_id;
    auto reader = co_await p.front.watch(id);
    attempt->producer.reset();
    v1::Outcome failed;
    failed.set_error_code("handler_error");
    std::vector<Settlement> end;
    end.emplace_back(attempt->token, v1::JOB_STATE_DEAD, failed, 0);
    const auto settled = co_await p.worker.store->settle_and_take(std::move(end), TakeRequest());
    EXPECT_TRUE(settled.ok());
    const bool dead = co_await comes_true([&] { return reader->job_ended(); });
    EXPECT_TRUE(dead);
    const auto retried = co_await p.worker.store->retry(id);
    EXPECT_TRUE(retried.ok());
    const bool again = co_await comes_true([&] { return !reader->job_ended(); });
    EXPECT_TRUE(again);
    auto second = co_await p.worker.take();
    co_await p.worker.finish(*second);
    const bool ended = co_await comes_true([&] { return reader->job_ended(); });
    EXPECT_TRUE(ended);
    const Status removed = co_await p.worker.store->remove(id);
    EXPECT_TRUE(removed.ok());
    Status error;
    while (error.ok()) {
      const auto event = co_await reader->next();
      error = event.status();
      if (event.ok() && !event->has_value()) break;
    }
    // It had its last event before the job was removed, or hears that it is gone.
    EXPECT_TRUE(error.ok() || error.code() == StatusCode::kNotFound) << error;
  };
  over_redis({}, {}, body);
}

TEST(RedisStreams, NothingIsKeptOfReadersThatHaveLeft) {
  auto body = [](RedisProcesses& p, TaskGroup&) -> Task<void> {
    const std::string watch = "{weft:00}:watch";
    const std::string id = co_await p.front.submit();
    {
      auto reader = co_await p.front.watch(id);
      auto other = co_await p.worker.watch(id);
      const bool both =
          co_await comes_true([&] { return p.redis.command({"HSTRLEN", watch, id}) == "96"; });
      EXPECT_TRUE(both);
    }
    const bool gone =
        co_await comes_true([&] { return p.redis.command({"EXISTS", watch}) == "0"; });
    EXPECT_TRUE(gone);
    const auto unknown = co_await p.front.try_open({.job_id = "nosuchjob12"});
    EXPECT_EQ(unknown.status().code(), StatusCode::kNotFound);
    const bool still =
        co_await comes_true([&] { return p.redis.command({"EXISTS", watch}) == "0"; });
    EXPECT_TRUE(still);
    EXPECT_EQ(p.redis.command({"KEYS", "*follows*"}), "");
  };
  over_redis({}, {}, body);
}

// They leave while all that is followed is told again, in pages.
TEST(RedisStreams, ReadersThatLeaveWhileConnectionsComeBackAreNotToldAgain) {
  auto body = [](RedisProcesses& p, TaskGroup&) -> Task<void> {
    constexpr size_t kStreams = 10 * limits::kRedisScriptItems;
    const std::string watch = "{weft:00}:watch";
    std::vector<std::string> ids;
    for (size_t i = 0; i < kStreams; ++i) ids.push_back("job-" + std::to_string(i));
    for (const std::string& id : ids) p.front.store->follow(id, {.passive = 1});
    const bool all = co_await comes_true(
        [&] { return p.redis.command({"HLEN", watch}) == std::to_string(kStreams); });
    EXPECT_TRUE(all);
    co_await p.kill_news("front");
    const bool lost = co_await comes_true([&] { return !p.front.store->stats().health.ok(); });
    EXPECT_TRUE(lost);
    for (size_t i = 0; i < kStreams; ++i) {
      p.front.store->follow(ids[kStreams - 1 - i], StreamReaders());
      if (i % 50 == 0) co_await sleep_for(std::chrono::milliseconds(1));
    }
    const bool gone =
        co_await comes_true([&] { return p.redis.command({"EXISTS", watch}) == "0"; });
    EXPECT_TRUE(gone);
    // …and nothing is said of them later.
    const bool healthy = co_await comes_true([&] { return p.front.store->stats().health.ok(); });
    EXPECT_TRUE(healthy);
    EXPECT_EQ(p.redis.command({"EXISTS", watch}), "0");
  };
  over_redis({}, {}, body);
}

TEST(RedisStreams, AProcessTooManyIsNoReader) {
  auto body = [](RedisProcesses& p, TaskGroup&) -> Task<void> {
    const std::string id = co_await p.front.submit();
    std::string others;
    for (size_t i = 0; i < limits::kRemoteReaders; ++i) {
      std::string one(48, '\0');
      one[0] = static_cast<char>(i / 200 + 1);
      one[1] = static_cast<char>(i % 200 + 1);
      one[19] = 1;
      others += one;
    }
    p.redis.command({"HSET", "{weft:00}:watch", id, others});
    auto opened = co_await p.front.try_open({.job_id = id});
    Status error = opened.status();
    if (opened.ok()) {
      const auto event = co_await (*opened)->next();
      error = event.status();
    }
    EXPECT_EQ(error.code(), StatusCode::kResourceExhausted);
  };
  over_redis({}, {}, body);
}

// Messages of a stranger.
TEST(RedisStreams, WhatIsNotNewsIsDropped) {
  auto body = [](RedisProcesses& p, TaskGroup& group) -> Task<void> {
    auto attempt = co_await p.worker.start();
    const std::string id = attempt->token.job_id;
    auto reader = co_await p.front.watch(id);
    Read got;
    group.start(&read_all, reader.get(), &got);
    const std::string channel = "{weft:00}:d:00000000000000020000000000000002";
    const std::string head = std::string(1, static_cast<char>(id.size())) + id;
    for (const std::string& message :
         {std::string(), std::string("e"), std::string("e\xff"), "e" + head, "e" + head + "short",
          "e" + head + std::string(13, '\xff'), "n" + head + "7", "f" + head, "r" + head,
          "f" + head + std::string(4, '\xff'), "p" + head + "\xff\xff", "R" + head + "x",
          "D" + head, "Z" + head}) {
      EXPECT_EQ(p.redis.command({"PUBLISH", channel, message}), "1");
    }
    push_numbers(*attempt->producer, 5);
    co_await p.worker.finish(*attempt);
    const bool ended = co_await comes_true([&] { return got.finished.has_value(); });
    EXPECT_TRUE(ended);
    expect_numbers(got, 5);
  };
  over_redis({}, {}, body);
}

}  // namespace
}  // namespace weft
