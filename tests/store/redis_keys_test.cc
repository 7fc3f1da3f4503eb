// Which keys of a Redis database the store uses, and which it leaves.
#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <sstream>

#include <weft/base/limits.h>
#include <weft/runtime/sleep.h>
#include <weft/runtime/task_group.h>
#include <weft/store/redis/redis_store.h>

#include "tests/store_contract/harness.h"
#include "tests/support/redis_server.h"

namespace weft::testing {
namespace {

using ::testing::AnyOf;
using ::testing::Each;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Not;
using ::testing::StartsWith;

constexpr std::chrono::milliseconds kKeyLife(limits::kIdempotencyMs);
constexpr int64_t kYear_ms = 365LL * 24 * 3600 * 1000;
constexpr char kPrefix[] = "{weft:00}:";

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  std::sort(lines.begin(), lines.end());
  return lines;
}

// Without the prefix.
std::vector<std::string> own_keys(RedisProcess& redis) {
  std::vector<std::string> names = lines_of(redis.command({"KEYS", std::string(kPrefix) + "*"}));
  for (std::string& name : names) name.erase(0, sizeof(kPrefix) - 1);
  return names;
}

// Every key that is not the store's, with its value and its end.
std::vector<std::string> dump_of_others(RedisProcess& redis) {
  std::vector<std::string> all;
  for (const std::string& name : lines_of(redis.command({"KEYS", "*"}))) {
    if (name.starts_with(kPrefix)) continue;
    all.push_back(name + " " + redis.command({"DUMP", name}) + " " +
                  redis.command({"PEXPIRETIME", name}));
  }
  return all;
}

using Body = Task<void> (*)(Harness&, RedisProcess&);

Task<void> run_beside(Harness& harness, RedisProcess& redis, Body body) {
  Store* store = &harness.store();
  auto beside = [&](TaskGroup& group) -> Task<void> {
    group.start([](Store* running) { return running->run(); }, store);
    while (!store->stats().health.ok()) co_await sleep_for(std::chrono::milliseconds(1));
    co_await body(harness, redis);
    co_await store->close();
    group.cancel(CancelReason::kShutdown);
  };
  co_await with_group(beside);
}

void run(RedisProcess& redis, Body body, StoreOptions options = {}) {
  options.self = Harness::kWorker;
  options.renew_ms = kYear_ms;  // days pass, and nobody dies of it
  options.lease_ms = 3 * kYear_ms;
  StatusOr<std::unique_ptr<Store>> opened = open_redis_store(redis.unix_url(), options);
  ASSERT_TRUE(opened.ok()) << opened.status();
  Harness harness(*std::move(opened));
  run_coro_test([&] { return run_beside(harness, redis, body); });
}

v1::JobSpec spec_of(const std::string& id, int64_t retention_s, const std::string& key = "") {
  v1::JobSpec spec = Harness::make_spec_with_id(id);
  spec.set_payload(std::string(2 * limits::kRedisInlinePayload, 'p'));
  spec.mutable_retention()->set_seconds(retention_s);
  spec.set_idempotency_key(key);
  return spec;
}

// A job that leaves something everywhere: payload, progress, chunks of two attempts, sends, result.
Task<void> run_one_of_everything(Harness& h, v1::JobSpec spec) {
  const std::string id = spec.id();
  v1::Job job = co_await h.run_one(std::move(spec));
  co_await h.must(h.append(Harness::token_of(job), 1, {"a", "b"}));
  co_await h.must(h.release(Harness::token_of(job)));
  auto again = co_await h.take(1);
  WEFT_ASSERT(again.size() == 1);
  const Token token = Harness::token_of(again[0]);
  std::vector<std::pair<Token, v1::Progress>> progress(1);
  progress[0].first = token;
  progress[0].second.set_message("half");
  const auto saved = co_await h.store().save_progress(std::move(progress));
  EXPECT_TRUE(saved[0].ok()) << saved[0];
  co_await h.must(h.append(token, 4, {"c"}));
  co_await h.must(h.store().trim(id, 2));
  co_await h.must(h.store().send(id, "ann", 1, "value"));
  h.store().consumed(token, 1);
  co_await h.must(h.settle(token, v1::JOB_STATE_SUCCEEDED, 4, "result"));
}

// What stays while the store is used at all: counters, and what a live process says of itself.
void expect_no_job_left(RedisProcess& redis) {
  EXPECT_THAT(own_keys(redis), Each(AnyOf("layout", "age", "totals", "workers", "leases", "idle",
                                          StartsWith("took:"))));
}

Task<void> forgets_jobs_without_retention(Harness& h, RedisProcess& redis) {
  for (int i = 0; i < 3; ++i) {
    co_await run_one_of_everything(h, spec_of("short-lived-" + std::to_string(i), 0));
  }
  co_await h.add(spec_of("cancelled-job-1", 0));
  co_await h.must(h.store().cancel("cancelled-job-1", "enough"));
  const v1::Job job = co_await h.run_one(spec_of("cancelled-job-2", 0));
  co_await h.must(h.store().cancel("cancelled-job-2", "enough"));
  co_await h.must(h.release(Harness::token_of(job)));
  expect_no_job_left(redis);
}

TEST(RedisKeys, JobsWithoutRetentionLeaveNothing) {
  RedisProcess redis;
  run(redis, forgets_jobs_without_retention);
}

Task<void> forgets_what_is_over(Harness& h, RedisProcess& redis) {
  co_await run_one_of_everything(h, spec_of("keyed-job-1", 0, "key of no retention"));
  co_await run_one_of_everything(h, spec_of("keyed-job-2", 60, "key of a minute"));
  co_await run_one_of_everything(h, spec_of("minute-long", 60));
  co_await run_one_of_everything(h, spec_of("removed-job-1", 60));
  co_await h.must(h.store().remove("removed-job-1"));
  const v1::Job dead = co_await h.run_one(spec_of("retried-job-1", 60));
  co_await h.must(h.settle(Harness::token_of(dead), v1::JOB_STATE_DEAD));
  co_await h.must(h.store().retry("retried-job-1"));
  co_await h.must(h.store().cancel("retried-job-1", "enough"));
  EXPECT_THAT(own_keys(redis),
              IsSupersetOf({"job", "spec", "payload", "outcome", "progress", "expire", "key",
                            "chunks:minute-long", "sends:minute-long", "done:default"}));
  co_await sleep_for(std::chrono::minutes(2));
  co_await h.must(h.store().sweep(100));
  EXPECT_THAT(own_keys(redis), ::testing::Contains("key"));
  EXPECT_THAT(own_keys(redis), Not(::testing::Contains("job")));
  co_await sleep_for(kKeyLife);
  co_await h.must(h.store().sweep(100));
  expect_no_job_left(redis);
}

TEST(RedisKeys, NothingIsLeftOfJobsAndKeysWhoseTimeIsOver) {
  RedisProcess redis;
  run(redis, forgets_what_is_over);
}

Task<void> forgets_a_key_that_was_asked_for(Harness& h, RedisProcess& redis) {
  const v1::JobSpec keyed = spec_of("keyed-job-1", 60, "some key");
  const v1::Job job = co_await h.run_one(keyed);
  co_await h.must(h.settle(Harness::token_of(job)));
  co_await h.must(h.store().remove("keyed-job-1"));
  co_await sleep_for(kKeyLife);
  co_await h.add(spec_of("no-room-left", 0));
  const auto refused = co_await h.submit(keyed);
  EXPECT_EQ(refused.status().code(), StatusCode::kResourceExhausted) << refused.status();
  co_await h.must(h.store().cancel("no-room-left", "enough"));
  co_await h.must(h.store().sweep(100));
  expect_no_job_left(redis);
}

TEST(RedisKeys, AKeyWhoseTimeIsOverIsForgottenThoughAFullQueueRefusedItsNextJob) {
  RedisProcess redis;
  StoreOptions options;
  options.queued_per_queue = 1;
  run(redis, forgets_a_key_that_was_asked_for, options);
}

int64_t length_of(RedisProcess& redis, const std::string& list) {
  return std::stoll(redis.command({"LLEN", kPrefix + list}));
}

Task<void> drops_dead_entries(Harness& h, RedisProcess& redis) {
  constexpr int kJobs = 300;
  co_await h.add(Harness::make_spec_with_id("first-in-lane"));
  co_await h.add(spec_of("long-lived-job", 3600));
  const auto both = co_await h.take(2);
  WEFT_ASSERT(both.size() == 2);
  co_await h.must(h.settle(Harness::token_of(both[1])));  // the first that has finished
  co_await h.must(h.release(Harness::token_of(both[0])));
  std::vector<v1::JobSpec> specs;
  for (int i = 0; i < kJobs; ++i) specs.push_back(spec_of("cancelled-" + std::to_string(i), 60));
  co_await h.store().submit(std::move(specs));
  co_await h.add(Harness::make_spec_with_id("last-in-lane"));
  for (int i = 0; i < kJobs; ++i) {
    co_await h.must(h.store().cancel("cancelled-" + std::to_string(i), "enough"));
  }
  EXPECT_GT(length_of(redis, "lane:default:echo"), kJobs);
  EXPECT_GT(length_of(redis, "done:default"), kJobs);
  co_await sleep_for(std::chrono::minutes(2));
  const auto swept = co_await h.store().sweep(1000);
  WEFT_ASSERT(swept.ok());
  EXPECT_EQ(*swept, static_cast<size_t>(kJobs));
  EXPECT_EQ(length_of(redis, "lane:default:echo"), 2);
  EXPECT_EQ(length_of(redis, "done:default"), 1);
  const auto left = co_await h.take(5);
  WEFT_ASSERT(left.size() == 2);
  EXPECT_EQ(left[0].spec().id(), "first-in-lane");
  EXPECT_EQ(left[1].spec().id(), "last-in-lane");
}

TEST(RedisKeys, ASweepDropsEntriesThatStandForNoJob) {
  RedisProcess redis;
  run(redis, drops_dead_entries);
}

TEST(RedisKeys, KeysOfOtherProgramsStayAsTheyAre) {
  RedisProcess redis;
  redis.command({"SET", "weft", "w"});
  redis.command({"SET", "{weft:00}", "w"});
  redis.command({"SET", "{weft:00}x", "w"});
  redis.command({"HSET", "job", "minute-long", "w"});
  redis.command({"HSET", "weft:job", "minute-long", "w"});
  redis.command({"HSET", "{weft:01}:job", "minute-long", "w"});
  redis.command({"HSET", "{other:00}:count", "queued", "7"});
  redis.command({"RPUSH", "lane:default:echo", "minute-long"});
  redis.command({"XADD", "chunks:minute-long", "1-0", "b", "w"});
  redis.command({"ZADD", "expire", "1", "minute-long"});
  redis.command({"SET", "with an end", "w", "PXAT", "32503680000000"});
  const std::vector<std::string> before = dump_of_others(redis);
  ASSERT_EQ(before.size(), 11u);
  run(redis, forgets_jobs_without_retention);
  run(redis, forgets_what_is_over);
  EXPECT_EQ(dump_of_others(redis), before);
}

}  // namespace
}  // namespace weft::testing
