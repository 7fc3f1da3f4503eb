// Retries and times as only Redis has them: lost answers, several daemons at once, entries that
// stand for nothing, and what one call may cost.
#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <map>
#include <set>

#include <weft/base/limits.h>

#include "tests/redis/redis_members.h"
#include "tests/redis/redis_store_bed.h"
#include "tests/support/coro_test.h"
#include "tests/support/redis_server.h"
#include "tests/support/tcp_proxy.h"

namespace weft::testing {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAreArray;

const std::string kKeys = "{weft:00}:";

// Counts what it is told; to be made before the store that tells it.
class Counts final : public StoreListener {
 public:
  void on_work() override { ++work; }
  void on_scheduled(milliseconds in) override { scheduled.push_back(in); }
  void on_cancel_requested(const std::string&, const std::string&) override {}
  void on_finished(const v1::Job& job) override { finished.push_back(job); }
  void on_send(const std::string&, uint64_t, const std::string&) override {}

  size_t work = 0;
  std::vector<milliseconds> scheduled;
  std::vector<v1::Job> finished;
};

v1::JobSpec delayed(int64_t seconds) {
  v1::JobSpec spec = Harness::make_spec();
  spec.mutable_delay()->set_seconds(seconds);
  return spec;
}
v1::JobSpec limited(int64_t seconds) {
  v1::JobSpec spec = Harness::make_spec();
  spec.mutable_total_timeout()->set_seconds(seconds);
  return spec;
}

Settlement later(Token token, milliseconds pause) {
  v1::Outcome outcome;
  outcome.set_error_code("handler_error");
  outcome.set_error_message("no luck");
  Settlement settlement(std::move(token), v1::JOB_STATE_SCHEDULED, std::move(outcome), 0);
  settlement.pause = pause;
  return settlement;
}

Task<void> reconnected(Harness& h, uint64_t connects) {
  while (h.store().stats().connects == connects) co_await sleep_for(1ms);
  const bool back = co_await is_healthy(h.store());
  EXPECT_TRUE(back);
}

class RedisTimes : public ::testing::Test {
 protected:
  // Entries of both orders by time.
  std::string entries() {
    return redis_.command({"ZCARD", kKeys + "due"}) + " " +
           redis_.command({"ZCARD", kKeys + "over"});
  }
  RedisProcess redis_{{.tcp = true}};
  TcpProxy proxy_{redis_.port()};
  const std::string url_ = "redis://127.0.0.1:" + std::to_string(proxy_.port());
};

TEST_F(RedisTimes, APostponementWhoseAnswerWasLostCountsOnceAndIsToldOnce) {
  for (const bool timed : {false, true}) {
    Counts counts;
    with_store(url_, quiet(timed ? "timed" : "plain"), [&](Harness& h) -> Task<void> {
      const v1::Job job = co_await h.run_one(timed ? limited(1000) : Harness::make_spec());
      h.store().set_listener(&counts);
      std::vector<Settlement> one{later(Harness::token_of(job), 60s)};
      const uint64_t connects = h.store().stats().connects;
      proxy_.lose_answer();
      const auto lost = co_await take(h, 0, one);
      EXPECT_EQ(lost.status().code(), StatusCode::kUnavailable);
      EXPECT_THAT(counts.scheduled, IsEmpty());
      co_await reconnected(h, connects);
      for (int i = 0; i < 2; ++i) {
        const auto again = co_await take(h, 0, one);
        WEFT_ASSERT(again.ok());
        EXPECT_TRUE(again->settled[0].ok()) << again->settled[0];
      }
      WEFT_ASSERT(counts.scheduled.size() == 1);
      EXPECT_NEAR(counts.scheduled[0].count(), 60'000, 5000);
      const v1::Job stored = co_await h.get(job.spec().id());
      EXPECT_EQ(stored.state(), v1::JOB_STATE_SCHEDULED);
      EXPECT_EQ(stored.failures(), 1u);
      EXPECT_EQ(stored.errors_size(), 1);
      EXPECT_EQ(h.store().stats().scheduled_jobs, 1u);
      EXPECT_EQ(h.store().stats().running_jobs, 0u);
    });
  }
}

// Whoever cancelled it has told so; the settlement was another's news.
TEST_F(RedisTimes, APostponementWhoseAnswerWasLostTellsNoEndOfOthers) {
  Counts counts;
  with_store(url_, quiet(), [&](Harness& h) -> Task<void> {
    for (const int64_t retention_s : {int64_t{60}, int64_t{0}}) {
      counts.finished.clear();
      v1::JobSpec spec = Harness::make_spec();
      spec.mutable_retention()->set_seconds(retention_s);
      const v1::Job job = co_await h.run_one(spec);
      h.store().set_listener(&counts);
      std::vector<Settlement> one{later(Harness::token_of(job), 60s)};
      const uint64_t connects = h.store().stats().connects;
      proxy_.lose_answer();
      const auto lost = co_await take(h, 0, one);
      EXPECT_FALSE(lost.ok());
      co_await reconnected(h, connects);
      co_await h.must(h.store().cancel(job.spec().id(), "not needed"));
      const auto again = co_await take(h, 0, one);
      WEFT_ASSERT(again.ok());
      EXPECT_EQ(again->settled[0].code(),
                retention_s > 0 ? StatusCode::kOk : StatusCode::kNotFound);
      WEFT_ASSERT(counts.finished.size() == 1);
      EXPECT_EQ(counts.finished[0].state(), v1::JOB_STATE_CANCELLED);
      EXPECT_THAT(counts.scheduled, IsEmpty());
    }
  });
}

TEST_F(RedisTimes, APromotionWhoseAnswerWasLostMovesEachJobOnce) {
  with_store(url_, quiet(), [&](Harness& h) -> Task<void> {
    std::set<std::string> all;
    for (int i = 0; i < 10; ++i) all.insert(co_await h.add(delayed(10)));
    co_await sleep_for(11s);
    const uint64_t connects = h.store().stats().connects;
    proxy_.lose_answer();
    const auto lost = co_await h.store().promote(6);
    EXPECT_EQ(lost.status().code(), StatusCode::kUnavailable);
    co_await reconnected(h, connects);
    const Promoted rest = co_await h.promote(6);
    EXPECT_EQ(rest.jobs, 4u);
    EXPECT_FALSE(rest.next_in.has_value());
    EXPECT_EQ(h.store().stats().queued_jobs, 10u);
    const auto taken = co_await h.take(20);
    EXPECT_THAT(ids(taken), UnorderedElementsAreArray(all));
    EXPECT_EQ(entries(), "0 0");
  });
}

// What an attempt leaves behind is the same on the way that most settlements take and on the other,
// by which the record is read first.
TEST_F(RedisTimes, AFailureIsWrittenTheSameOnBothWays) {
  Counts counts;
  with_store(url_, quiet(), [&](Harness& h) -> Task<void> {
    std::vector<v1::Job> stored;
    for (const bool touched : {false, true}) {
      std::vector<Settlement> one;
      const v1::Job job = co_await h.run_one(Harness::make_spec());
      const Token token = Harness::token_of(job);
      if (touched) redis_.command({"SADD", kKeys + "touched", job.spec().id()});
      one.push_back(later(token, 5s));
      const auto postponed = co_await take(h, 0, one);
      EXPECT_TRUE(postponed.ok() && postponed->settled[0].ok());
      co_await sleep_for(6s);
      co_await h.promote();
      const auto second = co_await h.take(1);
      WEFT_ASSERT(second.size() == 1);
      EXPECT_EQ(second[0].failures(), 1u);
      if (!touched) redis_.command({"SREM", kKeys + "touched", job.spec().id()});
      v1::Outcome outcome;
      outcome.set_error_code("handler_error");
      one.clear();
      one.emplace_back(Harness::token_of(second[0]), v1::JOB_STATE_DEAD, outcome, 0);
      counts.finished.clear();
      h.store().set_listener(&counts);
      const auto ended = co_await take(h, 0, one);
      EXPECT_TRUE(ended.ok() && ended->settled[0].ok());
      WEFT_ASSERT(counts.finished.size() == 1);
      EXPECT_EQ(counts.finished[0].failures(), 2u);
      EXPECT_EQ(counts.finished[0].errors_size(), 0);
      stored.push_back(co_await h.get(job.spec().id()));
    }
    for (v1::Job& job : stored) {
      EXPECT_EQ(job.failures(), 2u);
      WEFT_ASSERT(job.errors_size() == 2);
      for (int i = 0; i < 2; ++i) {
        v1::AttemptError& error = *job.mutable_errors(i);
        EXPECT_EQ(error.attempt(), static_cast<uint64_t>(i + 1));
        EXPECT_EQ(error.worker(), "tester");
        EXPECT_GE(error.end_time().seconds(), error.start_time().seconds());
        EXPECT_EQ(error.error_code(), "handler_error");
      }
      EXPECT_EQ(job.errors(0).error_message(), "no luck");
      EXPECT_EQ(job.errors(1).end_time().seconds(), job.finish_time().seconds());
      EXPECT_EQ(job.errors(1).end_time().nanos(), job.finish_time().nanos());
      EXPECT_FALSE(job.has_due_time());
    }
  });
}

TEST_F(RedisTimes, NothingIsLeftOfTimesWhenTheJobIsGone) {
  with_store(url_, quiet(), [&](Harness& h) -> Task<void> {
    v1::JobSpec spec = delayed(10);
    spec.mutable_total_timeout()->set_seconds(3600);
    spec.mutable_retention();
    // One is cancelled while it waits for its time, one while it is queued, one fails twice.
    for (int i = 0; i < 3; ++i) co_await h.add(spec);
    EXPECT_EQ(entries(), "3 3");
    const auto page = co_await h.store().list({}, "", 10);
    WEFT_ASSERT(page.ok() && page->jobs.size() == 3);
    co_await h.must(h.store().cancel(page->jobs[0].spec().id(), ""));
    co_await sleep_for(11s);
    co_await h.promote();
    EXPECT_EQ(entries(), "0 2");
    co_await h.must(h.store().cancel(page->jobs[1].spec().id(), ""));
    auto taken = co_await h.take(1);
    WEFT_ASSERT(taken.size() == 1);
    EXPECT_EQ(entries(), "0 0");
    std::vector<Settlement> one{later(Harness::token_of(taken[0]), 1s)};
    const auto postponed = co_await take(h, 0, one);
    EXPECT_TRUE(postponed.ok());
    EXPECT_EQ(entries(), "1 1");
    co_await sleep_for(2s);
    co_await h.promote();
    taken = co_await h.take(1);
    WEFT_ASSERT(taken.size() == 1);
    co_await h.must(h.settle(Harness::token_of(taken[0]), v1::JOB_STATE_DEAD));
    std::istringstream keys(redis_.command({"KEYS", "*"}));
    for (std::string key; std::getline(keys, key);) {
      const std::string name = key.substr(kKeys.size());
      const std::set<std::string> kept = {"totals", "age", "layout", "workers", "leases"};
      EXPECT_TRUE(kept.contains(name) || name.starts_with("took:")) << name;
    }
  });
}

TEST_F(RedisTimes, EntriesThatStandForNoJobAreDroppedAPieceAtATime) {
  constexpr size_t kNobody = 2 * limits::kRedisScan + 100;
  with_store(url_, quiet(), [&](Harness& h) -> Task<void> {
    const std::string id = co_await h.add(delayed(10));
    for (const char* order : {"due", "over"}) {
      std::vector<std::string> add = {"ZADD", kKeys + order};
      for (size_t i = 0; i < kNobody; ++i) {
        add.push_back("1");
        add.push_back("12345678nobody" + std::to_string(i));
      }
      redis_.command(add);
    }
    co_await sleep_for(11s);
    size_t calls = 0;
    for (size_t moved = 0; moved == 0 && calls < 20; ++calls) {
      const Promoted promoted = co_await h.promote(100);
      moved = promoted.jobs;
      EXPECT_EQ(promoted.next_in.has_value(), moved == 0);
    }
    EXPECT_GE(calls, 4u) << "no call goes through all of them";
    EXPECT_LE(calls, 6u);
    const auto taken = co_await h.take(2);
    EXPECT_THAT(ids(taken), ElementsAre(id));
    EXPECT_EQ(entries(), "0 0");
  });
}

// The entry of a job that left its lane by time is still there when it comes back.
TEST_F(RedisTimes, AJobThatDiedWaitingAndIsRetriedIsTakenOnce) {
  for (const bool suspect : {false, true}) {
    with_store(url_, quiet(suspect ? "suspect" : "plain"), [&](Harness& h) -> Task<void> {
      const std::string keys = std::string("{") + (suspect ? "suspect" : "plain") + ":00}:";
      const std::string first = co_await h.add(Harness::make_spec());
      const std::string id = co_await h.add(limited(10));
      const std::string last = co_await h.add(Harness::make_spec());
      if (suspect) {
        // As if three workers had died of it.
        const auto taken = co_await h.take(3);
        WEFT_ASSERT(taken.size() == 3);
        std::string job = redis_.command({"HGET", keys + "job", id});
        WEFT_ASSERT(job.size() > 10);
        job[10] = 3;
        redis_.command({"HSET", keys + "job", id, job});
        std::vector<Token> all;
        for (const v1::Job& one : taken) all.push_back(Harness::token_of(one));
        const auto released = co_await h.store().release(all);
        EXPECT_EQ(h.store().stats().suspect_jobs, 1u);
      }
      co_await sleep_for(11s);
      const Promoted promoted = co_await h.promote();
      EXPECT_EQ(promoted.jobs, 1u);
      EXPECT_EQ(h.store().stats().suspect_jobs, 0u);
      co_await h.must(h.store().retry(id));
      EXPECT_EQ(h.store().stats().queued_jobs, 3u);
      const auto taken = co_await h.take(10);
      EXPECT_THAT(ids(taken), ElementsAre(first, id, last));
      EXPECT_EQ(h.store().stats().queued_jobs, 0u);
      EXPECT_EQ(redis_.command({"EXISTS", keys + "lane:default:echo", keys + "xlane:default:echo"}),
                "0");
    });
  }
}

TEST_F(RedisTimes, APromotionWakesWhoRunsTheJobs) {
  with_store(url_, quiet(), [&](Harness& h) -> Task<void> {
    co_await h.add(delayed(10));
    const std::string idle = kKeys + "idle";
    redis_.command({"HSET", idle, "of echo", "\necho\n", "of others", "\nother\n"});
    co_await h.promote();
    EXPECT_EQ(redis_.command({"HLEN", idle}), "2");
    co_await sleep_for(11s);
    co_await h.promote();
    EXPECT_EQ(redis_.command({"HKEYS", idle}), "of others");
  });
}

TEST_F(RedisTimes, AHundredThousandJobsDueAtOnceAreMovedInShortCalls) {
  constexpr size_t kJobs = 100'000;
  with_store(redis_.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    for (size_t i = 0; i < kJobs; i += limits::kBatchJobs) {
      const std::vector<v1::JobSpec> specs(limits::kBatchJobs, delayed(3600));
      const auto answers = co_await h.store().submit(specs);
      WEFT_ASSERT(answers.back().ok());
    }
    EXPECT_EQ(h.store().stats().scheduled_jobs, kJobs);
    co_await sleep_for(2h);
    size_t calls = 0;
    int64_t slowest_us = 0;
    for (size_t moved = 0; moved < kJobs && calls < kJobs; ++calls) {
      redis_.command({"CONFIG", "RESETSTAT"});
      const Promoted promoted = co_await h.promote(limits::kPromoteBatch);
      EXPECT_EQ(promoted.jobs, limits::kPromoteBatch);
      moved += promoted.jobs;
      const std::string stats = redis_.command({"INFO", "commandstats"});
      const size_t at = stats.find("usec=", stats.find("cmdstat_evalsha:calls=1,"));
      WEFT_ASSERT(at != std::string::npos);
      slowest_us = std::max<int64_t>(slowest_us, std::stoll(stats.substr(at + 5)));
    }
    EXPECT_EQ(calls, kJobs / limits::kPromoteBatch);
    EXPECT_EQ(h.store().stats().queued_jobs, kJobs);
    std::cout << kJobs << " jobs moved by " << calls << " calls; the server's slowest took "
              << slowest_us << " us\n";
    std::set<std::string> got;
    std::vector<Settlement> ends;
    while (got.size() < kJobs) {
      const auto taken = co_await take(h, limits::kTakeBatch, std::exchange(ends, {}));
      WEFT_ASSERT(taken.ok() && !taken->jobs.empty());
      for (const v1::Job& job : taken->jobs) {
        EXPECT_TRUE(got.insert(job.spec().id()).second);
        ends.emplace_back(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, v1::Outcome(), 0);
      }
    }
  });
}

// ---- several daemons

TEST(RedisTimesOfSeveral, WhoPromoteAtOnceMoveEachJobOnce) {
  auto body = [](Cast& cast, RedisProcess& redis) -> Task<void> {
    constexpr size_t kJobs = 3000;
    Member& a = cast.add(1);
    Member& b = cast.add(2);
    const bool leased = co_await a.has_lease();
    EXPECT_TRUE(leased);
    const bool other_leased = co_await b.has_lease();
    EXPECT_TRUE(other_leased);
    for (size_t i = 0; i < kJobs; i += limits::kBatchJobs) {
      std::vector<v1::JobSpec> specs(limits::kBatchJobs, delayed(0));
      for (v1::JobSpec& spec : specs) spec.mutable_delay()->set_nanos(1'000'000);
      co_await a.store->submit(specs);
    }
    co_await sleep_for(5ms);
    std::map<Member*, size_t> moved;
    auto promote = [](Member* member, size_t* sum) -> Task<void> {
      for (size_t jobs = 1; jobs > 0;) {
        const auto promoted = co_await member->store->promote(100);
        EXPECT_TRUE(promoted.ok()) << promoted.status();
        jobs = promoted.ok() ? promoted->jobs : 0;
        *sum += jobs;
      }
    };
    auto both = [&](TaskGroup& group) -> Task<void> {
      for (Member* member : {&a, &b}) {
        moved[member] = 0;
        group.start(promote, member, &moved[member]);
      }
      co_return;
    };
    co_await with_group(both);
    EXPECT_EQ(moved[&a] + moved[&b], kJobs);
    EXPECT_GT(moved[&a], 0u);
    EXPECT_GT(moved[&b], 0u);
    EXPECT_EQ(redis.command({"LLEN", kKeys + "lane:default:echo"}), std::to_string(kJobs));
    EXPECT_EQ(redis.command({"EXISTS", kKeys + "due"}), "0");
  };
  with_server(body);
}

TEST(RedisTimesOfSeveral, AnEndByTimeReachesWhoFollowsTheStream) {
  auto body = [](Cast& cast, RedisProcess&) -> Task<void> {
    Member& a = cast.add(1);
    Member& b = cast.add(2);
    const bool leased = co_await b.has_lease();
    EXPECT_TRUE(leased);
    const auto submitted = co_await a.submit(1);
    v1::JobSpec spec = limited(0);
    spec.mutable_total_timeout()->set_nanos(20'000'000);
    std::vector<v1::JobSpec> one{spec};
    const auto answers = co_await a.store->submit(one);
    WEFT_ASSERT(answers.size() == 1 && answers[0].ok());
    b.store->follow(answers[0]->id, StreamReaders{.passive = 1});
    const v1::Job waits = co_await b.get(answers[0]->id);
    EXPECT_EQ(waits.state(), v1::JOB_STATE_QUEUED);
    co_await sleep_for(25ms);
    const auto promoted = co_await a.store->promote(10);
    EXPECT_TRUE(promoted.ok() && promoted->jobs == 1);
    const bool told = co_await comes_true([&b] { return !b.told.finished.empty(); });
    WEFT_ASSERT(told);
    EXPECT_EQ(b.told.finished[0].spec().id(), answers[0]->id);
    EXPECT_EQ(b.told.finished[0].outcome().error_code(), "deadline");
    EXPECT_THAT(a.told.finished, SizeIs(1));
  };
  with_server(body);
}

// It dies between the end of an attempt and the next: the job waits for any other.
TEST(RedisTimesOfSeveral, WhatADeadProcessHasPostponedIsRunByAnother) {
  auto body = [](Cast& cast, RedisProcess&) -> Task<void> {
    Member& a = cast.add(1);
    Member& b = cast.add(2);
    const bool leased = co_await b.has_lease();
    EXPECT_TRUE(leased);
    const auto submitted = co_await a.submit(2);
    const auto taken = co_await a.take(2);
    WEFT_ASSERT(taken.size() == 2);
    std::vector<Settlement> one{later(Token(taken[0].spec().id(), 1, a.self), 10ms)};
    const auto postponed = co_await a.store->settle_and_take(one, TakeRequest());
    WEFT_ASSERT(postponed.ok() && postponed->settled[0].ok());
    co_await sleep_for(milliseconds(kLeaseMs));
    a.die();
    const v1::Job crashed = co_await b.becomes(taken[1].spec().id(), v1::JOB_STATE_QUEUED);
    EXPECT_EQ(crashed.failures(), 0u);
    EXPECT_EQ(crashed.crashes(), 1u);
    WEFT_ASSERT(crashed.errors_size() == 1);
    EXPECT_EQ(crashed.errors(0).error_code(), "crashed");
    EXPECT_EQ(crashed.errors(0).attempt(), 1u);
    EXPECT_EQ(crashed.errors(0).worker(), "worker");
    EXPECT_TRUE(crashed.errors(0).has_start_time());
    const auto promoted = co_await b.store->promote(10);
    EXPECT_TRUE(promoted.ok() && promoted->jobs == 1);
    const v1::Job failed = co_await b.get(taken[0].spec().id());
    EXPECT_EQ(failed.state(), v1::JOB_STATE_QUEUED);
    EXPECT_EQ(failed.failures(), 1u);
    EXPECT_EQ(failed.crashes(), 0u);
    const auto again = co_await b.take(2);
    EXPECT_THAT(again, SizeIs(2));
    for (const v1::Job& job : again) EXPECT_EQ(job.attempt(), 2u);
  };
  with_server(body);
}

}  // namespace
}  // namespace weft::testing
