// Leases in a real Redis: who died, who takes over, and who comes back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <weft/base/limits.h>
#include <weft/runtime/sleep.h>
#include <weft/runtime/task_group.h>
#include <weft/store/redis/redis_record.h>

#include "tests/redis/redis_bed.h"
#include "tests/redis/redis_members.h"
#include "tests/support/coro_test.h"
#include "tests/support/redis_server.h"

namespace weft::testing {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(RedisWorkers, ListThemselvesUntilTheyLeave) {
  auto body = [](Cast& cast, RedisProcess& redis) -> Task<void> {
    Member& a = cast.add(1);
    Member& b = cast.add(2);
    WEFT_ASSERT(co_await a.has_lease());
    WEFT_ASSERT(co_await b.has_lease());
    auto both = a.store->workers();
    const auto workers = co_await both;
    WEFT_ASSERT(workers->size() == 2);
    EXPECT_EQ((*workers)[0].name(), "worker-1");
    EXPECT_EQ((*workers)[1].incarnation(), to_hex(b.self));
    EXPECT_GT((*workers)[1].last_heard().seconds(), 1'600'000'000);
    auto jobs = a.submit(2);
    const std::vector<std::string> ids = co_await jobs;
    auto take = b.take(2);
    const auto taken = co_await take;
    EXPECT_THAT(taken, SizeIs(2));
    co_await b.store->close();
    b.die();
    auto rest = a.store->workers();
    const auto left = co_await rest;
    EXPECT_THAT(*left, SizeIs(1));
    // What it held counts nothing.
    for (const std::string& id : ids) {
      const v1::Job job = co_await a.get(id);
      EXPECT_EQ(job.state(), v1::JOB_STATE_QUEUED);
      EXPECT_EQ(job.crashes(), 0u);
    }
    EXPECT_THAT(redis.command({"KEYS", "*:00}:held:*"}), IsEmpty());
    EXPECT_EQ(redis.command({"ZCARD", "{weft:00}:leases"}), "1");
  };
  with_server(body);
}

TEST(RedisWorkers, JobsOfADeadOneAreQueuedAgainByOneOfTheOthers) {
  auto body = [](Cast& cast, RedisProcess&) -> Task<void> {
    Member& a = cast.add(1);
    Member& b = cast.add(2);
    Member& c = cast.add(3);
    auto submit = a.submit(2 * limits::kExpireBatch + 100);
    const std::vector<std::string> ids = co_await submit;
    auto take = a.take(limits::kRedisScriptItems);
    const std::vector<v1::Job> taken = co_await take;
    WEFT_ASSERT(taken.size() > limits::kExpireBatch);
    for (Member* other : {&b, &c}) WEFT_ASSERT(co_await other->has_lease());
    // They may give somebody up once they have been there for a lease themselves.
    co_await sleep_for(std::chrono::milliseconds(kLeaseMs + kRenewMs));
    const auto died = std::chrono::steady_clock::now();
    a.die();
    for (const v1::Job& job : taken) {
      auto wait = b.becomes(job.spec().id(), v1::JOB_STATE_QUEUED);
      const v1::Job again = co_await wait;
      EXPECT_EQ(again.crashes(), 1u);
      EXPECT_EQ(again.attempt(), 1u);
    }
    const auto took = std::chrono::steady_clock::now() - died;
    ::testing::Test::RecordProperty(
        "takeover_ms",
        static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(took).count()));
    EXPECT_EQ(b.store->stats().leases_expired + c.store->stats().leases_expired, 1u);
    auto mine = b.take(1);
    const std::vector<v1::Job> first = co_await mine;
    WEFT_ASSERT(first.size() == 1);
    EXPECT_EQ(b.store->stats().running_jobs, 1u);
    EXPECT_EQ(first[0].spec().id(), ids[0]);  // the oldest is the first again
    EXPECT_EQ(first[0].attempt(), 2u);
    const Status late = co_await a.settle(first[0], a.self);
    EXPECT_EQ(late.code(), StatusCode::kUnavailable);  // it has no connection, being dead
    const Status stale = co_await b.settle(taken[0], a.self);
    EXPECT_EQ(stale.code(), StatusCode::kAborted);
  };
  with_server(body);
}

TEST(RedisWorkers, ALoneSurvivorTakesOverFromAllOthers) {
  auto body = [](Cast& cast, RedisProcess&) -> Task<void> {
    Member& survivor = cast.add(1);
    std::vector<Member*> others;
    auto submit = survivor.submit(3);
    const std::vector<std::string> ids = co_await submit;
    for (uint64_t i = 2; i < 5; ++i) {
      others.push_back(&cast.add(i));
      auto take = others.back()->take(1);
      const auto taken = co_await take;
      EXPECT_THAT(taken, SizeIs(1));
    }
    co_await sleep_for(std::chrono::milliseconds(kLeaseMs));
    for (Member* other : others) other->die();
    for (const std::string& id : ids) {
      auto wait = survivor.becomes(id, v1::JOB_STATE_QUEUED);
      const v1::Job job = co_await wait;
      EXPECT_EQ(job.crashes(), 1u);
    }
    EXPECT_EQ(survivor.store->stats().leases_expired, 3u);
  };
  with_server(body);
}

TEST(RedisWorkers, WhoHasJustConnectedGivesNobodyUp) {
  auto body = [](Cast& cast, RedisProcess& redis) -> Task<void> {
    Member& a = cast.add(1);
    auto submit = a.submit(1);
    const std::vector<std::string> ids = co_await submit;
    auto take = a.take(1);
    const auto taken = co_await take;
    a.die();
    EXPECT_THAT(taken, SizeIs(1));
    const std::string lease = "{weft:00}:leases";
    const double end = std::stod(redis.command({"ZSCORE", lease, to_hex(a.self)}));
    const auto server_us = [&redis] {
      const std::string time = redis.command({"TIME"});
      return std::stod(time) * 1e6 + std::stod(time.substr(time.find('\n') + 1));
    };
    while (server_us() <= end) co_await sleep_for(std::chrono::milliseconds(5));
    // It is over; but b has to be there for a lease of its own.
    const double came = server_us();
    Member& b = cast.add(2);
    auto wait = b.becomes(ids[0], v1::JOB_STATE_QUEUED);
    const v1::Job job = co_await wait;
    EXPECT_EQ(job.crashes(), 1u);
    EXPECT_GE(server_us() - came, (kLeaseMs - kRenewMs) * 1e3);
  };
  with_server(body);
}

// Nobody would take its readers out again, should it die now.
TEST(RedisWorkers, OneThatWasGivenUpFollowsNothingBeforeItHasStartedAnew) {
  auto body = [](Cast& cast, RedisProcess& redis) -> Task<void> {
    Member& a = cast.add(1, kNever);  // renews too late
    Member& b = cast.add(2);
    auto submit = a.submit(2);
    const std::vector<std::string> ids = co_await submit;
    auto take = b.take(1);
    const std::vector<v1::Job> taken = co_await take;
    WEFT_ASSERT(taken.size() == 1);
    WEFT_ASSERT(co_await a.has_lease());
    a.store->follow(ids[0], {.passive = 1});
    const bool heard = co_await comes_true([&b] { return !b.told.readers.empty(); });
    WEFT_ASSERT(heard);
    EXPECT_EQ(b.told.readers[0].attempt, 1u) << "that of the job as it runs";
    const bool given_up = co_await comes_true([&b] { return b.told.readers.size() == 2; });
    WEFT_ASSERT(given_up);
    EXPECT_EQ(b.told.readers[1].readers, StreamReaders());
    EXPECT_EQ(b.told.readers[1].from, a.self);
    a.store->follow(ids[1], {.passive = 1});
    const bool lost = co_await comes_true([&a] { return !a.told.became.empty(); });
    WEFT_ASSERT(lost);
    // As who it is now it follows both.
    const bool again = co_await comes_true([&] {
      const std::string its = "{weft:00}:follows:" + to_hex(a.told.became[0]);
      return redis.command({"SCARD", its}) == "2";
    });
    EXPECT_TRUE(again);
    EXPECT_EQ(redis.command({"EXISTS", "{weft:00}:follows:" + to_hex(a.self)}), "0");
    const std::string watch = redis.command({"HGET", "{weft:00}:watch", ids[1]});
    EXPECT_EQ(watch.find(to_bytes(a.self)), std::string::npos);
  };
  with_server(body);
}

TEST(RedisWorkers, OneThatWasGivenUpAliveStartsAnewAndItsJobsAreForgiven) {
  auto body = [](Cast& cast, RedisProcess& redis) -> Task<void> {
    Member& a = cast.add(1, kNever);  // renews too late
    Member& b = cast.add(2);
    auto submit = a.submit(2);
    const std::vector<std::string> ids = co_await submit;
    auto take = a.take(2);
    const std::vector<v1::Job> taken = co_await take;
    WEFT_ASSERT(taken.size() == 2);
    auto wait = b.becomes(ids[0], v1::JOB_STATE_QUEUED);
    const v1::Job given_up = co_await wait;
    EXPECT_EQ(given_up.crashes(), 1u);
    EXPECT_EQ(given_up.errors_size(), 1);
    const Status stale = co_await a.settle(taken[0], a.self);
    EXPECT_EQ(stale.code(), StatusCode::kAborted);
    EXPECT_THAT(a.told.became, IsEmpty());
    // It tries to take, and hears that it has no lease.
    TakeRequest request{a.self, "worker", 1};
    auto refused = a.store->settle_and_take({}, std::move(request));
    const auto nothing = co_await refused;
    EXPECT_THAT(nothing->jobs, IsEmpty());
    const bool lost = co_await comes_true([&a] { return !a.told.became.empty(); });
    WEFT_ASSERT(lost);
    EXPECT_EQ(a.store->stats().lease_losses, 1u);
    EXPECT_FALSE(a.told.became[0] == a.self);
    const bool forgiven = co_await comes_true([&redis, &a] {
      return redis.command({"EXISTS", "{weft:00}:dead:" + to_hex(a.self)}) == "0";
    });
    EXPECT_TRUE(forgiven);
    for (const std::string& id : ids) {
      const v1::Job job = co_await b.get(id);
      EXPECT_EQ(job.crashes(), 0u);
      EXPECT_EQ(job.errors_size(), 0);
    }
    // Under its new name it works on.
    const auto jobs = [&]() -> Task<size_t> {
      TakeRequest next{a.told.became[0], "worker", 2};
      auto call = a.store->settle_and_take({}, std::move(next));
      const auto answer = co_await call;
      co_return answer.ok() ? answer->jobs.size() : 0;
    };
    size_t got = 0;
    const auto until = std::chrono::steady_clock::now() + Process::kPatience;
    while (got == 0 && std::chrono::steady_clock::now() < until) {
      auto call = jobs();
      got = co_await call;
      if (got == 0) co_await sleep_for(std::chrono::milliseconds(2));
    }
    EXPECT_EQ(got, 2u);
  };
  with_server(body);
}

TEST(RedisWorkers, ADeathCountsAgainstASuspectAloneAndTheFifthEndsIt) {
  auto body = [](Cast& cast, RedisProcess&) -> Task<void> {
    Member& survivor = cast.add(1);
    auto submit = survivor.submit(1);
    const std::string poison = (co_await submit)[0];
    std::string innocent;
    for (uint32_t death = 1; death <= limits::kDeadCrashes; ++death) {
      if (death == limits::kSuspectCrashes + 1) {
        auto another = survivor.submit(1);
        innocent = (co_await another)[0];
      }
      Member& victim = cast.add(1 + death);
      auto take = victim.take(2);
      const auto taken = co_await take;
      EXPECT_THAT(taken, SizeIs(innocent.empty() ? 1 : 2)) << death;
      victim.die();
      const bool last = death == limits::kDeadCrashes;
      auto wait = survivor.becomes(poison, last ? v1::JOB_STATE_DEAD : v1::JOB_STATE_QUEUED);
      const v1::Job job = co_await wait;
      EXPECT_EQ(job.crashes(), death);
      if (!innocent.empty()) {
        auto other = survivor.becomes(innocent, v1::JOB_STATE_QUEUED);
        const v1::Job neighbour = co_await other;
        EXPECT_EQ(neighbour.crashes(), 0u);
      }
    }
    WEFT_ASSERT(survivor.told.finished.size() == 1);
    EXPECT_EQ(survivor.told.finished[0].spec().id(), poison);
    EXPECT_EQ(survivor.told.finished[0].outcome().error_code(), "crashed");
    EXPECT_EQ(survivor.store->stats().dead_jobs, 1u);
    EXPECT_EQ(survivor.store->stats().queued_jobs, 1u);
  };
  with_server(body);
}

TEST(RedisWorkers, AnswersThatComeAfterTheLeaseWasLostChangeNothing) {
  auto body = [](Cast& cast, RedisProcess& redis) -> Task<void> {
    Member& a = cast.add(1, kNever);
    auto submit = a.submit(2);
    const std::vector<std::string> ids = co_await submit;
    auto take = a.take(1);
    const std::vector<v1::Job> taken = co_await take;
    WEFT_ASSERT(taken.size() == 1);
    const std::string workers = "{weft:00}:workers";
    redis.command({"HDEL", workers, to_hex(a.self)});
    EXPECT_EQ(a.store->look_at_lease(false), LeaseState::kGone);
    redis.command({"HSET", workers, to_hex(a.self), "0 "});
    std::optional<StatusOr<Taken>> late;
    auto both = [&](TaskGroup& group) -> Task<void> {
      redis.pause();
      auto call = [](Member* member, v1::Job job,
                     std::optional<StatusOr<Taken>>* to) -> Task<void> {
        std::vector<Settlement> one;
        one.emplace_back(Token(job.spec().id(), job.attempt(), member->self),
                         v1::JOB_STATE_SUCCEEDED, v1::Outcome(), 0);
        TakeRequest request{member->self, "worker", 1};
        auto asked = member->store->settle_and_take(std::move(one), std::move(request));
        *to = co_await asked;
      };
      group.start(call, &a, taken[0], &late);
      co_await sleep_for(std::chrono::milliseconds(20));  // it is on its way
      a.store->give_up_lease();
      redis.resume();
    };
    co_await with_group(both);
    WEFT_ASSERT(late.has_value() && late->ok());
    EXPECT_THAT(a.told.became, SizeIs(1));
    EXPECT_THAT((*late)->jobs, IsEmpty());
    const v1::Job settled = co_await a.get(ids[0]);
    EXPECT_EQ(settled.state(), v1::JOB_STATE_SUCCEEDED);
    auto wait = a.becomes(ids[1], v1::JOB_STATE_QUEUED);
    const v1::Job other = co_await wait;
    EXPECT_EQ(other.crashes(), 0u);
  };
  with_server(body);
}

TEST(RedisWorkers, AJobToBeCancelledEndsWhenItsWorkerDies) {
  auto body = [](Cast& cast, RedisProcess& redis) -> Task<void> {
    Member& a = cast.add(1);
    Member& b = cast.add(2);
    auto submit = a.submit(1);
    const std::string id = (co_await submit)[0];
    auto take = a.take(1);
    const auto taken = co_await take;
    EXPECT_THAT(taken, SizeIs(1));
    auto cancel = b.store->cancel(id, "enough");
    const auto answer = co_await cancel;
    EXPECT_EQ(answer->result(), v1::CancelResponse::REQUESTED);
    // It is wanted to end, so it does not matter that this death would be the last that it may see.
    redis.command({"EVAL",
                   "local jobs = '{weft:00}:job' local its = redis.call('HGET', jobs, ARGV[1]) "
                   "redis.call('HSET', jobs, ARGV[1], its:sub(1, 10) .. string.char(ARGV[2]) .. "
                   "its:sub(12))",
                   "0", id, std::to_string(limits::kDeadCrashes - 1)});
    WEFT_ASSERT(co_await b.has_lease());
    a.die();
    auto wait = b.becomes(id, v1::JOB_STATE_CANCELLED);
    const v1::Job job = co_await wait;
    EXPECT_EQ(job.outcome().error_message(), "enough");
    EXPECT_THAT(b.told.finished, SizeIs(1));
  };
  with_server(body);
}

TEST(RedisWorkers, WhatADeadOneFollowedIsForgottenAndTheJobsWorkerIsTold) {
  auto body = [](Cast& cast, RedisProcess& redis) -> Task<void> {
    Member& a = cast.add(1);
    Member& b = cast.add(2);
    auto submit = a.submit(1);
    const std::string id = (co_await submit)[0];
    auto take = b.take(1);
    const auto taken = co_await take;
    EXPECT_THAT(taken, SizeIs(1));
    WEFT_ASSERT(co_await a.has_lease());
    const auto entry = [](Incarnation who) { return to_bytes(who) + std::string(32, '\1'); };
    redis.command({"HSET", "{weft:00}:watch", id, entry(a.self) + entry({7, 7})});
    redis.command({"SADD", "{weft:00}:follows:" + to_hex(a.self), id});
    a.die();
    const bool told = co_await comes_true([&b] { return !b.told.readers.empty(); });
    WEFT_ASSERT(told);
    EXPECT_EQ(b.told.readers[0].job_id, id);
    EXPECT_EQ(b.told.readers[0].from, a.self);
    EXPECT_EQ(b.told.readers[0].readers.passive + b.told.readers[0].readers.attached, 0u);
    EXPECT_EQ(redis.command({"HGET", "{weft:00}:watch", id}), entry({7, 7}));
  };
  with_server(body);
}

TEST(RedisWorkers, AnotherThreadKeepsTheLeaseOfAHeldLoopAndSeesItGo) {
  auto body = [](Cast& cast, RedisProcess&) -> Task<void> {
    Member& a = cast.add(1, kNever);
    Member& b = cast.add(2);
    WEFT_ASSERT(co_await a.has_lease());
    WEFT_ASSERT(co_await b.has_lease());
    std::atomic<bool> renewing = true, ended = false;
    std::atomic<int> renewed = 0;
    LeaseState last = LeaseState::kUnknown;
    std::thread keeper([&] {
      while (renewing) {
        if (a.store->look_at_lease(true) == LeaseState::kHeld) ++renewed;
        std::this_thread::sleep_for(std::chrono::milliseconds(kRenewMs / 3));
      }
      do {
        last = a.store->look_at_lease(false);
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      } while (last == LeaseState::kHeld);
      ended = true;
    });
    co_await sleep_for(std::chrono::milliseconds(3 * kLeaseMs));
    EXPECT_EQ(b.store->stats().leases_expired, 0u);
    EXPECT_GT(renewed, 3);
    renewing = false;
    const bool seen = co_await comes_true([&ended] { return ended.load(); });
    keeper.join();
    EXPECT_TRUE(seen);
    EXPECT_EQ(last, LeaseState::kGone);
    EXPECT_EQ(b.store->stats().leases_expired, 1u);
    a.store->give_up_lease();
    EXPECT_THAT(a.told.became, SizeIs(1));
    a.store->give_up_lease();  // it is over already
    EXPECT_THAT(a.told.became, SizeIs(1));
  };
  with_server(body);
}

TEST(RedisWorkers, KnowWhatTheyHold) {
  auto body = [](Cast& cast, RedisProcess&) -> Task<void> {
    Member& a = cast.add(1);
    auto submit = a.submit(2000);
    const auto ids = co_await submit;
    EXPECT_THAT(ids, SizeIs(2000));
    auto take = a.take(1500);
    const std::vector<v1::Job> taken = co_await take;
    EXPECT_THAT(taken, SizeIs(1500));
    auto held = a.store->held();
    const auto tokens = co_await held;
    WEFT_ASSERT(tokens.ok() && tokens->size() == 1500);
    EXPECT_EQ(tokens->front().attempt, 1u);
    EXPECT_EQ(tokens->front().worker, a.self);
  };
  with_server(body);
}

// Sets the time a queued job was submitted.
void backdate(RedisProcess& redis, const std::string& id, int64_t by_ms) {
  redis.command({"EVAL",
                 "local r = redis.call('HGET', KEYS[1], ARGV[1]) "
                 "local at = struct.unpack('>I8', r, 9) - ARGV[2] "
                 "redis.call('HSET', KEYS[1], ARGV[1], r:sub(1, 8) .. struct.pack('>I8', at) .. "
                 "r:sub(17))",
                 "1", "{weft:00}:spec", id, std::to_string(by_ms * 1000)});
}

TEST(RedisWorkers, JobsOfATypeNobodyHasEndAfterTenMinutes) {
  auto body = [](Cast& cast, RedisProcess& redis) -> Task<void> {
    const std::string foreign = "{weft:00}:foreign";
    const std::string long_ago = "1000000";
    Member& a = cast.add(1);
    auto submit = a.submit(3);
    const std::vector<std::string> ids = co_await submit;
    // Nobody runs anything: that all workers are down is no reason.
    co_await sleep_for(std::chrono::milliseconds(2 * kLeaseMs));
    EXPECT_EQ(redis.command({"EXISTS", foreign}), "0");
    v1::Worker other;
    other.add_types("other");
    other.set_name("other");
    a.store->set_description([other] { return other; });
    const auto types = [](int count) {
      return [count](const v1::Worker& worker) { return worker.types_size() == count; };
    };
    WEFT_ASSERT(co_await a.is_listed(types(1)));
    // Too late by one look: it is the type that nobody has had for so long, and jobs as old as
    // that.
    redis.command({"HSET", foreign, "it", long_ago, "gone", long_ago});
    // But there was nobody for a while who could have seen a worker that has it.
    redis.command({"HSET", foreign, "", long_ago});
    cast.add(4);
    const bool forgot =
        co_await comes_true([&redis, &foreign] { return redis.command({"HLEN", foreign}) == "2"; });
    EXPECT_TRUE(forgot);
    EXPECT_NE(redis.command({"HGET", foreign, "it"}), long_ago);
    redis.command({"HSET", foreign, "it", long_ago, "gone", long_ago});
    for (int i = 0; i < 2; ++i)
      backdate(redis, ids[static_cast<size_t>(i)], limits::kForeignTypeMs);
    // Entries of jobs that are gone, more than one call goes through.
    std::vector<std::string> gone = {"LPUSH", "{weft:00}:lane:default:it"};
    gone.resize(2 + 5000, "00000000nobody");
    redis.command(gone);
    Member& b = cast.add(2);
    for (int i = 0; i < 2; ++i) {
      auto wait = b.becomes(ids[static_cast<size_t>(i)], v1::JOB_STATE_DEAD);
      const v1::Job job = co_await wait;
      EXPECT_EQ(job.outcome().error_code(), "no_handler");
    }
    EXPECT_THAT(b.told.finished, SizeIs(2));
    const v1::Job young = co_await b.get(ids[2]);
    EXPECT_EQ(young.state(), v1::JOB_STATE_QUEUED);
    EXPECT_EQ(b.store->stats().queued_jobs, 1u);
    EXPECT_EQ(redis.command({"HLEN", foreign}), "2");
    // Its worker has come.
    other.add_types("it");
    a.store->set_description([other] { return other; });
    WEFT_ASSERT(co_await a.is_listed(types(2)));
    backdate(redis, ids[2], limits::kForeignTypeMs);
    Member& c = cast.add(3);
    const bool cleared =
        co_await comes_true([&redis, &foreign] { return redis.command({"HLEN", foreign}) == "1"; });
    EXPECT_TRUE(cleared);
    const v1::Job waits = co_await c.get(ids[2]);
    EXPECT_EQ(waits.state(), v1::JOB_STATE_QUEUED);
  };
  with_server(body);
}

TEST(RedisWorkers, MoreThanTheLimitAreToldToWait) {
  auto body = [](Cast& cast, RedisProcess& redis) -> Task<void> {
    redis.command({"EVAL",
                   "for i = 1, " + std::to_string(limits::kWorkers) +
                       " do redis.call('HSET', '{weft:00}:workers', i, '1 ') end",
                   "0"});
    Member& a = cast.add(1);
    auto submit = a.submit(1);
    const auto ids = co_await submit;
    EXPECT_THAT(ids, SizeIs(1));
    co_await sleep_for(std::chrono::milliseconds(kRenewMs));
    TakeRequest request{a.self, "worker", 1};
    auto call = a.store->settle_and_take({}, std::move(request));
    const auto nothing = co_await call;
    EXPECT_THAT(nothing->jobs, IsEmpty());
    redis.command({"HDEL", "{weft:00}:workers", "1"});
    auto take = a.take(1);
    const auto taken = co_await take;
    EXPECT_THAT(taken, SizeIs(1));
  };
  with_server(body);
}

}  // namespace
}  // namespace weft::testing
