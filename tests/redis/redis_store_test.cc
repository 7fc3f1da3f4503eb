// What only a store in Redis has: lost answers, calls that are cut, prefixes, its layout.
#include <gmock/gmock.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <functional>
#include <set>
#include <sstream>

#include <weft/base/limits.h>
#include <weft/runtime/combinators.h>
#include <weft/runtime/sleep.h>
#include <weft/runtime/task_group.h>
#include <weft/store/redis/redis_record.h>
#include <weft/store/redis/redis_store.h>

#include "tests/redis/redis_store_bed.h"
#include "tests/support/coro_test.h"
#include "tests/support/redis_server.h"
#include "tests/support/tcp_proxy.h"

namespace weft::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(RedisStore, ATakeWhoseAnswerWasLostGivesTheSameJobsAgain) {
  RedisProcess redis({.tcp = true});
  TcpProxy proxy(redis.port());
  const std::string url = "redis://127.0.0.1:" + std::to_string(proxy.port());
  with_store(url, quiet(), [&](Harness& h) -> Task<void> {
    co_await add_many(h, 5);
    proxy.lose_answer();
    const auto lost = co_await take(h, 3);
    EXPECT_EQ(lost.status().code(), StatusCode::kUnavailable) << lost.status();
    const bool back = co_await is_healthy(h.store());
    WEFT_ASSERT(back);
    h.told.events.clear();
    const auto again = co_await take(h, 3);
    WEFT_ASSERT(again.ok());
    EXPECT_THAT(h.told.events, ElementsAre("work")) << "there may be more by now";
    EXPECT_EQ(again->jobs.size(), 3u);
    for (const v1::Job& job : again->jobs) EXPECT_EQ(job.attempt(), 1u);
    const auto rest = co_await take(h, 3);
    WEFT_ASSERT(rest.ok());
    EXPECT_EQ(rest->jobs.size(), 2u);
    std::set<std::string> all;
    for (const auto& part : {ids(again->jobs), ids(rest->jobs)})
      all.insert(part.begin(), part.end());
    EXPECT_EQ(all.size(), 5u);
  });
}

TEST(RedisStore, WhatALostTakeGotTooMuchIsReleased) {
  RedisProcess redis({.tcp = true});
  TcpProxy proxy(redis.port());
  const std::string url = "redis://127.0.0.1:" + std::to_string(proxy.port());
  with_store(url, quiet(), [&](Harness& h) -> Task<void> {
    co_await add_many(h, 5);
    proxy.lose_answer();
    const auto lost = co_await take(h, 4);
    EXPECT_FALSE(lost.ok());
    const bool back = co_await is_healthy(h.store());
    WEFT_ASSERT(back);
    const auto fewer = co_await take(h, 1);
    WEFT_ASSERT(fewer.ok());
    EXPECT_EQ(fewer->jobs.size(), 1u);
    EXPECT_EQ(h.store().stats().running_jobs, 1u);
    EXPECT_EQ(h.store().stats().queued_jobs, 4u);
  });
}

TEST(RedisStore, AWorkerThatTakesNoMoreIsToldOfNoWork) {
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    const auto nothing = co_await take(h, 1);
    EXPECT_TRUE(nothing.ok());
    EXPECT_EQ(redis.command({"HLEN", "{weft:00}:idle"}), "1");
    const auto no_more = co_await take(h, 0);
    EXPECT_TRUE(no_more.ok());
    EXPECT_EQ(redis.command({"HLEN", "{weft:00}:idle"}), "0");
  });
}

TEST(RedisStore, AScheduleThatDoesNotParseHoldsUpNoOther) {
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    for (const char* name : {"a", "b", "c"}) {
      v1::Schedule schedule;
      schedule.set_name(name);
      co_await h.must(h.store().put_schedule(std::move(schedule), 0, 1));
    }
    redis.command({"HSET", "{weft:00}:schedule", "b", "no schedule"});
    const auto names = [](const std::vector<StoredSchedule>& all) {
      std::string text;
      for (const StoredSchedule& stored : all) text += stored.schedule.name();
      return text;
    };
    const auto page = co_await h.store().list_schedules("", 2);
    WEFT_ASSERT(page.ok());
    EXPECT_EQ(names(*page), "ac");
    const auto due = co_await h.store().due_schedules(10);
    WEFT_ASSERT(due.ok());
    EXPECT_EQ(names(due->schedules), "ac");
    const auto damaged = co_await h.store().get_schedule("b");
    EXPECT_EQ(damaged.status().code(), StatusCode::kDataLoss) << damaged.status();
    co_await h.must(h.store().remove_schedule("b", 0));
    const auto gone = co_await h.store().get_schedule("b");
    EXPECT_EQ(gone.status().code(), StatusCode::kNotFound) << gone.status();
  });
}

TEST(RedisStore, AnEarlierAttemptOfTheSameWorkerDoesNotEndALaterOne) {
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    const v1::Job first = co_await h.run_one();
    co_await h.must(h.release(Harness::token_of(first)));
    const auto second = co_await h.take(1);
    WEFT_ASSERT(second.size() == 1);
    EXPECT_EQ(redis.command({"SMEMBERS", "{weft:00}:touched"}), first.spec().id());
    const Status late = co_await h.settle(Harness::token_of(first));
    EXPECT_FALSE(late.ok());
    co_await h.must(h.settle(Harness::token_of(second[0])));
    EXPECT_EQ(redis.command({"EXISTS", "{weft:00}:touched"}), "0");
  });
}

TEST(RedisStore, ManyQueuesOfTypesItHasNotDoNotKeepAWorkerBusy) {
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    constexpr size_t kQueues = 4100;  // one call looks at 4,000
    std::vector<v1::JobSpec> specs;
    for (size_t i = 0; i < kQueues; ++i) specs.push_back(Harness::make_spec(std::to_string(i)));
    const auto answers = co_await h.store().submit(std::move(specs));
    EXPECT_TRUE(answers.back().ok());
    h.told.events.clear();
    TakeRequest other{.worker = Harness::kWorker, .worker_name = "tester", .max_jobs = 1};
    other.types = {"other"};
    std::vector<Settlement> none;
    const auto taken = co_await h.store().settle_and_take(std::move(none), std::move(other));
    WEFT_ASSERT(taken.ok());
    EXPECT_THAT(taken->jobs, IsEmpty());
    EXPECT_THAT(h.told.events, IsEmpty()) << "it would ask again and again";
    EXPECT_EQ(redis.command({"HLEN", "{weft:00}:idle"}), "1");
    EXPECT_EQ(redis.command({"LLEN", "{weft:00}:turns"}), std::to_string(kQueues));
    // Queues that are empty lose their turns.
    const auto some = co_await take(h, 300);
    WEFT_ASSERT(some.ok());
    EXPECT_EQ(some->jobs.size(), 300u);
    EXPECT_EQ(redis.command({"LLEN", "{weft:00}:turns"}), std::to_string(kQueues - 300));
  });
}

TEST(RedisStore, ATakeThatComesAfterALaterOneGetsNothing) {
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    co_await add_many(h, 1);
    const std::string took = "{weft:00}:took:" + to_hex(Harness::kWorker);
    redis.command({"SET", took, "9000000000000000 another-job"});
    const auto late = co_await take(h, 1);
    WEFT_ASSERT(late.ok());
    EXPECT_THAT(late->jobs, IsEmpty());
    EXPECT_EQ(h.store().stats().queued_jobs, 1u);
    redis.command({"DEL", took});
    const auto next = co_await take(h, 1);
    WEFT_ASSERT(next.ok());
    EXPECT_EQ(next->jobs.size(), 1u);
  });
}

TEST(RedisStore, CallsOfOneTurnAreCarriedOutInTheirOrderThoughTheServerForgotTheScripts) {
  RedisProcess redis({.tcp = true});
  TcpProxy proxy(redis.port());
  const std::string url = "redis://127.0.0.1:" + std::to_string(proxy.port());
  with_store(url, quiet(), [&](Harness& h) -> Task<void> {
    const v1::Job job = co_await h.run_one();
    redis.command({"SCRIPT", "FLUSH"});
    proxy.cut();
    const auto lost = co_await h.store().get(job.spec().id(), false);
    EXPECT_FALSE(lost.ok());
    const bool back = co_await is_healthy(h.store());
    WEFT_ASSERT(back);
    h.told.events.clear();
    auto cancel = h.store().cancel(job.spec().id(), "r");
    auto settle = h.settle(Harness::token_of(job), v1::JOB_STATE_CANCELLED);
    co_await all_of(std::move(cancel), std::move(settle));
    EXPECT_EQ(h.told.events.size(), 2u) << "cancelled first, and then ended";
  });
}

TEST(RedisStore, AUserWhoMayNotPublishIsRefused) {
  RedisProcess redis({.tcp = true});
  const std::string url = "redis://weft:secret@127.0.0.1:" + std::to_string(redis.port());
  redis.command({"ACL", "SETUSER", "weft", "on", ">secret", "~*", "+@all", "resetchannels"});
  const auto refused = open_redis_store(url, quiet());
  EXPECT_EQ(refused.status().code(), StatusCode::kPermissionDenied) << refused.status();
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("&{weft:00}:*"));
  redis.command({"ACL", "SETUSER", "weft", "&{weft:00}:*"});
  with_store(url, quiet(), [&](Harness& h) -> Task<void> {
    co_await add_many(h, 1);
    // Somebody else waits for work: not to be able to tell it leaves the counts right.
    redis.command({"HSET", "{weft:00}:idle", std::string(32, 'f'), ""});
    redis.command({"ACL", "SETUSER", "weft", "resetchannels"});
    co_await add_many(h, 1);
    const auto taken = co_await take(h, 5);
    WEFT_ASSERT(taken.ok());
    EXPECT_EQ(taken->jobs.size(), 2u);
    EXPECT_EQ(h.store().stats().running_jobs, 2u);
  });
}

TEST(RedisStore, AnEndWhoseAnswerWasLostIsToldOnce) {
  RedisProcess redis({.tcp = true});
  TcpProxy proxy(redis.port());
  const std::string url = "redis://127.0.0.1:" + std::to_string(proxy.port());
  for (const int64_t retention_s : {int64_t{0}, int64_t{60}}) {
    with_store(url, quiet("weft-" + std::to_string(retention_s)), [&](Harness& h) -> Task<void> {
      v1::JobSpec spec = Harness::make_spec_with_id("one-job-of-all");
      spec.mutable_retention()->set_seconds(retention_s);
      const v1::Job job = co_await h.run_one(std::move(spec));
      proxy.lose_answer();
      const Status lost =
          co_await h.settle(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, 0, "result");
      EXPECT_EQ(lost.code(), StatusCode::kUnavailable) << lost;
      EXPECT_THAT(h.told.finished, IsEmpty());
      const bool back = co_await is_healthy(h.store());
      WEFT_ASSERT(back);
      for (int i = 0; i < 2; ++i) {
        const Status again =
            co_await h.settle(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, 0, "result");
        const auto known = retention_s == 0 ? StatusCode::kNotFound : StatusCode::kOk;
        EXPECT_EQ(again.code(), known) << again;
      }
      WEFT_ASSERT(h.told.finished.size() == 1);
      EXPECT_EQ(h.told.finished[0].outcome().result(), "result");
      EXPECT_EQ(h.told.finished[0].spec().type(), "echo");
    });
  }
}

TEST(RedisStore, AServerThatForgotTheScriptsGetsThemAgain) {
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    co_await add_many(h, 1);
    redis.command({"SCRIPT", "FLUSH"});
    const auto taken = co_await take(h, 1);
    WEFT_ASSERT(taken.ok());
    EXPECT_EQ(taken->jobs.size(), 1u);
  });
}

TEST(RedisStore, BatchesLargerThanAScriptCallAreCut) {
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    constexpr size_t kJobs = 2 * limits::kRedisScriptItems + 1;
    co_await add_many(h, kJobs);
    EXPECT_EQ(h.store().stats().queued_jobs, kJobs);
    const auto taken = co_await take(h, kJobs + 5);
    WEFT_ASSERT(taken.ok());
    EXPECT_EQ(taken->jobs.size(), kJobs);
    std::vector<Settlement> settlements;
    for (const v1::Job& job : taken->jobs) {
      settlements.emplace_back(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, v1::Outcome(), 0);
    }
    const auto settled = co_await take(h, 0, std::move(settlements));
    WEFT_ASSERT(settled.ok());
    EXPECT_EQ(settled->settled.size(), kJobs);
    for (const Status& status : settled->settled) EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(h.told.finished.size(), kJobs);
    EXPECT_EQ(h.store().stats().succeeded_jobs, kJobs);
  });
}

TEST(RedisStore, WhatRedisTakesNotInOnePieceIsRefused) {
  RedisProcess redis({.arguments = {"--proto-max-bulk-len", "3mb"}});
  with_store(redis.unix_url(), quiet(), [](Harness& h) -> Task<void> {
    const auto refused = co_await h.submit(Harness::make_spec("q", std::string(4 << 20, 'x')));
    EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument) << refused.status();
    EXPECT_EQ(field_of(refused.status()), "payload");
    EXPECT_THAT(std::string(refused.status().message()), HasSubstr("proto-max-bulk-len"));
    const v1::Job job = co_await h.run_one(Harness::make_spec("q", std::string(2 << 20, 'x')));
    EXPECT_EQ(job.spec().payload().size(), size_t{2} << 20);
    co_await h.must(
        h.settle(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, 0, std::string(4 << 20, 'y')));
    const v1::Job ended = co_await h.get(job.spec().id());
    EXPECT_EQ(ended.state(), v1::JOB_STATE_DEAD);
    EXPECT_EQ(ended.outcome().error_code(), "result_too_large");
  });
}

TEST(RedisStore, WhatRedisTakesNoLongerInOnePieceIsRefusedFromTheNextConnectionOn) {
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    const std::string large(4 << 20, 'x');
    const v1::Job job = co_await h.run_one();
    redis.command({"CONFIG", "SET", "proto-max-bulk-len", "3mb"});
    // Redis ends the connection, so nobody may try this again for long.
    const auto first = co_await h.submit(Harness::make_spec("q", large));
    EXPECT_EQ(first.status().code(), StatusCode::kUnavailable) << first.status();
    while (h.store().stats().connects < 2) co_await sleep_for(milliseconds(1));
    const bool back = co_await is_healthy(h.store());
    WEFT_ASSERT(back);
    const auto again = co_await h.submit(Harness::make_spec("q", large));
    EXPECT_EQ(again.status().code(), StatusCode::kInvalidArgument) << again.status();
    EXPECT_EQ(field_of(again.status()), "payload");
    co_await h.must(h.settle(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, 0, large));
    const v1::Job ended = co_await h.get(job.spec().id());
    EXPECT_EQ(ended.outcome().error_code(), "result_too_large");
    EXPECT_EQ(h.store().stats().connects, 2u);
  });
}

TEST(RedisStore, AServerThatTakesNoChunkInOnePieceIsRefused) {
  RedisProcess redis({.arguments = {"--proto-max-bulk-len", "1mb"}});
  const auto store = open_redis_store(redis.unix_url(), quiet());
  EXPECT_EQ(store.status().code(), StatusCode::kFailedPrecondition) << store.status();
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("proto-max-bulk-len"));
}

TEST(RedisStore, TwoPrefixesOfOneDatabaseDoNotMeet) {
  RedisProcess redis;
  with_store(redis.unix_url(), quiet("one"), [&](Harness& h) -> Task<void> {
    co_await h.add(Harness::make_spec_with_id("the-job-of-one"));
  });
  with_store(redis.unix_url(), quiet("other"), [&](Harness& h) -> Task<void> {
    EXPECT_EQ(h.store().stats().queued_jobs, 0u);
    const auto job = co_await h.store().get("the-job-of-one", false);
    EXPECT_EQ(job.status().code(), StatusCode::kNotFound) << job.status();
    const auto jobs = co_await h.take(5);
    EXPECT_THAT(jobs, IsEmpty());
  });
  std::istringstream keys(redis.command({"KEYS", "*"}));
  for (std::string key; std::getline(keys, key);) {
    EXPECT_TRUE(key.starts_with("{one:00}:") || key.starts_with("{other:00}:")) << key;
  }
}

// A newer weftd may have taken over the keys, or another server the address.
TEST(RedisStore, LooksAtTheLayoutOnEveryConnection) {
  RedisProcess redis({.tcp = true});
  TcpProxy proxy(redis.port());
  const std::string url = "redis://127.0.0.1:" + std::to_string(proxy.port());
  const std::string key = "{weft:00}:layout";
  std::ostringstream log;
  const auto logger = spdlog::default_logger();
  const auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(log);
  logger->sinks().push_back(sink);
  with_store(url, quiet(), [&](Harness& h) -> Task<void> {
    const std::string ours = redis.command({"GET", key});
    const v1::Job before = co_await h.run_one();
    redis.command({"SET", key, "99"});
    proxy.cut();
    const uint64_t accepted = proxy.accepted();
    while (proxy.accepted() < accepted + 8) co_await sleep_for(milliseconds(1));  // it goes on
    const StatusOr<Submitted> refused = co_await h.submit(Harness::make_spec());
    EXPECT_EQ(refused.status().code(), StatusCode::kUnavailable);
    EXPECT_THAT(std::string(refused.status().message()), HasSubstr("the layout 99"));
    EXPECT_THAT(std::string(h.store().stats().health.message()), HasSubstr("the layout 99"));
    EXPECT_EQ(h.store().look_at_lease(true), LeaseState::kUnknown);
    redis.command({"SET", key, ours});
    const bool back = co_await is_healthy(h.store());
    WEFT_ASSERT(back);
    const Status settled = co_await h.settle(Harness::token_of(before));
    EXPECT_TRUE(settled.ok()) << settled;
    // One that is empty becomes ours, so that no other layout can begin beside it.
    redis.command({"FLUSHALL"});
    const uint64_t connects = h.store().stats().connects;
    proxy.cut();
    while (h.store().stats().connects == connects) co_await sleep_for(milliseconds(1));
    const bool anew = co_await is_healthy(h.store());
    WEFT_ASSERT(anew);
    co_await h.add(Harness::make_spec());
    EXPECT_EQ(redis.command({"GET", key}), ours);
  });
  logger->sinks().pop_back();
  const std::string said = log.str();
  const size_t first = said.find("the layout 99");
  EXPECT_NE(first, said.npos);
  EXPECT_EQ(said.find("the layout 99", first + 1), said.npos) << said;
}

TEST(RedisStore, AnotherLayoutIsLeftAlone) {
  RedisProcess redis;
  for (const auto& written : {std::vector<std::string>{"SET", "{weft:00}:layout", "99"},
                              std::vector<std::string>{"SET", "{weft:00}:layout", "3"},
                              std::vector<std::string>{"RPUSH", "{weft:00}:layout", "a list"}}) {
    redis.command({"FLUSHALL"});
    redis.command(written);
    const auto store = open_redis_store(redis.unix_url(), quiet());
    EXPECT_EQ(store.status().code(), StatusCode::kDataLoss) << store.status();
    EXPECT_THAT(std::string(store.status().message()), HasSubstr("--store-prefix"));
    EXPECT_EQ(redis.command({"DBSIZE"}), "1");
  }
}

TEST(RedisStore, ABadPrefixIsRefused) {
  for (const char* prefix : {"", "a b", "a{b", "a}b", "a\nb"}) {
    const auto store = open_redis_store("redis://127.0.0.1:1", quiet(prefix));
    EXPECT_EQ(field_of(store.status()), "prefix") << prefix;
  }
}

TEST(RedisStore, AWorkerThatWasNotToldOfWorkLooksByItself) {
  RedisProcess redis;
  StoreOptions options = quiet();
  options.renew_ms = limits::kRedisPollMs;
  with_store(redis.unix_url(), options, [&](Harness& h) -> Task<void> {
    const auto none = co_await take(h, 1);
    EXPECT_TRUE(none.ok() && none->jobs.empty()) << none.status();
    h.told.events.clear();
    co_await sleep_for(milliseconds(limits::kRedisPollMs));
    EXPECT_THAT(h.told.events, ElementsAre("work"));
    co_await sleep_for(milliseconds(2 * limits::kRedisPollMs));
    EXPECT_THAT(h.told.events, ElementsAre("work")) << "it asks when it has taken, and got nothing";
  });
}

TEST(RedisStore, RetentionZeroLeavesNothingOfAJob) {
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    v1::JobSpec spec = Harness::make_spec("q", std::string(limits::kRedisInlinePayload + 1, 'x'));
    spec.set_id("short-lived-1");
    spec.mutable_retention();
    const v1::Job job = co_await h.run_one(std::move(spec));
    co_await h.must(h.append(Harness::token_of(job), 1, {"a", "b"}));
    co_await h.must(h.store().send("short-lived-1", "ann", 1, "v"));
    v1::Progress progress;
    progress.set_fraction(0.5);
    std::vector<std::pair<Token, v1::Progress>> one{{Harness::token_of(job), progress}};
    co_await h.store().save_progress(std::move(one));
    co_await h.must(h.settle(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, 2, "result"));
    std::istringstream keys(redis.command({"KEYS", "*"}));
    for (std::string key; std::getline(keys, key);) {
      const std::string name = key.substr(std::string("{weft:00}:").size());
      // The last answer of a worker names the jobs it got; the rest counts all jobs there were, or
      // is the worker's own.
      const std::set<std::string> kept = {"totals", "age", "layout", "workers", "leases"};
      EXPECT_TRUE(kept.contains(name) || name.starts_with("took:")) << name;
    }
  });
}

TEST(RedisStore, AStreamThatRedisCannotAddToDoesNotStopOthers) {
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    std::vector<Token> tokens;
    for (int i = 0; i < 3; ++i) {
      const v1::Job job = co_await h.run_one(Harness::make_spec());
      tokens.push_back(Harness::token_of(job));
    }
    redis.command({"SET", "{weft:00}:chunks:" + tokens[1].job_id, "a stranger's"});
    std::vector<Append> appends;
    for (const Token& token : tokens) {
      auto block = std::make_shared<ChunkBlock>(1);
      block->add("x");
      appends.emplace_back(token, std::move(block));
    }
    const auto answers = co_await h.store().append(std::move(appends));
    EXPECT_TRUE(answers[0].ok()) << answers[0];
    EXPECT_EQ(answers[1].code(), StatusCode::kDataLoss) << answers[1];
    EXPECT_TRUE(answers[2].ok()) << answers[2];
    // Nor does one that it cannot trim wait for ever.
    redis.command({"SET", "{weft:00}:chunks:" + tokens[0].job_id, "a stranger's"});
    const Status trimmed = co_await h.store().trim(tokens[0].job_id, 2);
    EXPECT_EQ(trimmed.code(), StatusCode::kDataLoss) << trimmed;
    // What was not added is no gap before its end.
    co_await h.must(h.settle(tokens[1], v1::JOB_STATE_DEAD, 0, ""));
  });
}

TEST(RedisStore, WithoutAServerItIsUnavailable) {
  const auto store = open_redis_store("redis+unix:///nonexistent/redis.sock", quiet());
  EXPECT_EQ(store.status().code(), StatusCode::kUnavailable) << store.status();
}

}  // namespace
}  // namespace weft::testing
