// Lanes with much in them that is nothing for who takes: each call does a bounded part of the work.
#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <sstream>

#include <weft/base/limits.h>

#include "tests/redis/redis_store_bed.h"
#include "tests/support/coro_test.h"
#include "tests/support/redis_server.h"

namespace weft::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Calls that Redis has carried out, those in scripts included.
int64_t calls_of(RedisProcess& redis, const std::string& command = "") {
  std::istringstream stats(redis.command({"INFO", "commandstats"}));
  int64_t calls = 0;
  const std::string begin = "cmdstat_" + command;
  for (std::string line; std::getline(stats, line);) {
    if (!line.starts_with(begin)) continue;
    const size_t at = line.find("calls=");
    if (!command.empty() && line[begin.size()] != ':') continue;
    calls += std::stoll(line.substr(at + 6));
  }
  return calls;
}

v1::JobSpec make_spec(std::string queue, std::string type) {
  v1::JobSpec spec = Harness::make_spec(std::move(queue));
  spec.set_type(std::move(type));
  return spec;
}

Task<std::vector<std::string>> submit_all(Harness& h, std::vector<v1::JobSpec> specs) {
  const auto answers = co_await h.store().submit(std::move(specs));
  std::vector<std::string> ids;
  for (const auto& answer : answers) ids.push_back(answer.ok() ? answer->id : "");
  co_return ids;
}

Task<void> cancel_all(Harness& h, std::vector<std::string> ids) {
  size_t next = 0;
  auto cancel = [](Store* store, std::vector<std::string>* all, size_t* at) -> Task<void> {
    while (*at < all->size()) {
      const auto answer = co_await store->cancel((*all)[(*at)++], "not needed");
      EXPECT_TRUE(answer.ok()) << answer.status();
    }
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int i = 0; i < 64; ++i) group.start(cancel, &h.store(), &ids, &next);
    co_return;
  };
  co_await with_group(body);
}

Task<std::vector<v1::Job>> take_of(Harness& h, size_t most, std::vector<std::string> types) {
  TakeRequest request{.worker = Harness::kWorker, .worker_name = "tester", .max_jobs = most};
  request.types = std::move(types);
  auto taken = co_await h.store().settle_and_take({}, std::move(request));
  EXPECT_TRUE(taken.ok()) << taken.status();
  co_return taken.ok() ? std::move(taken->jobs) : std::vector<v1::Job>();
}

// Whether there is said to be more: at once, or after a moment when a take has found nothing.
Task<bool> told_of_more(Harness& h) {
  for (int looks = 0; looks < 100 && h.told.events.empty(); ++looks) {
    co_await sleep_for(std::chrono::milliseconds(1));
  }
  co_return h.told.events == std::vector<std::string>{"work"};
}

enum class Order : uint8_t { kOldestFirst, kNewestFirst, kShuffled };
class RedisCancelledJobs : public ::testing::TestWithParam<Order> {};

TEST_P(RedisCancelledJobs, AreFewInTheWayOfWhoTakes) {
  constexpr size_t kJobs = 10'000, kOneOf = 100;
  constexpr int64_t kLeft = kJobs / kOneOf;
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    std::vector<std::string> ids, rest;
    const std::vector<std::string> all =
        co_await submit_all(h, std::vector<v1::JobSpec>(kJobs, make_spec("default", "it")));
    for (size_t i = 0; i < kJobs; ++i) (i % kOneOf == kOneOf - 1 ? rest : ids).push_back(all[i]);
    if (GetParam() == Order::kNewestFirst) std::reverse(ids.begin(), ids.end());
    if (GetParam() == Order::kShuffled) {
      Random random(7);
      for (size_t i = ids.size(); i > 1; --i) std::swap(ids[i - 1], ids[random.below(i)]);
    }
    co_await cancel_all(h, ids);
    const int64_t length = std::stoll(redis.command({"LLEN", "{weft:00}:lane:default:it"}));
    ::testing::Test::RecordProperty("entries", static_cast<int>(length));
    EXPECT_LE(length, kLeft + 2000) << "of " << kJobs;
    std::vector<std::string> got;
    while (got.size() < rest.size()) {
      const std::vector<v1::Job> jobs = co_await take_of(h, limits::kTakeBatch, {});
      WEFT_ASSERT(!jobs.empty());
      for (const v1::Job& job : jobs) got.push_back(job.spec().id());
    }
    EXPECT_EQ(got, rest);
  });
}

std::string name_of(Order order) {
  if (order == Order::kOldestFirst) return "OldestFirst";
  return order == Order::kNewestFirst ? "NewestFirst" : "Shuffled";
}
INSTANTIATE_TEST_SUITE_P(Cancelled, RedisCancelledJobs,
                         ::testing::Values(Order::kOldestFirst, Order::kNewestFirst,
                                           Order::kShuffled),
                         [](const auto& order) { return name_of(order.param); });

// Entries without jobs stand before the jobs of one lane; another may be there too.
class RedisDeadEntries : public ::testing::TestWithParam<bool> {};

TEST_P(RedisDeadEntries, AreLeftBehindAPieceAtATime) {
  constexpr size_t kDead = 5 * limits::kRedisScan;
  const bool alone = GetParam();
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    if (!alone) co_await submit_all(h, {make_spec("other", "that"), make_spec("other", "that")});
    co_await submit_all(h, {make_spec("default", "it"), make_spec("default", "it")});
    const std::string lane = "{weft:00}:lane:default:it";
    std::vector<std::string> push = {"LPUSH", lane};
    push.resize(2 + kDead, "00000000nobody");
    redis.command(push);
    std::vector<size_t> got;
    for (size_t sum = 0; sum < (alone ? 2 : 4) && got.size() < 20; sum += got.back()) {
      h.told.events.clear();
      const std::vector<v1::Job> jobs = co_await take_of(h, 10, {});
      got.push_back(jobs.size());
      const bool whole = sum + jobs.size() == (alone ? 2u : 4u);
      const bool more = co_await told_of_more(h);
      EXPECT_EQ(more, !whole) << got.size();
    }
    EXPECT_GE(got.size(), size_t{4}) << "no call goes through all of them";
    EXPECT_LE(got.size(), size_t{8}) << "and none begins anew";
    EXPECT_EQ(redis.command({"EXISTS", lane}), "0");
  });
}

INSTANTIATE_TEST_SUITE_P(InALane, RedisDeadEntries, ::testing::Bool(),
                         [](const auto& alone) { return alone.param ? "Alone" : "AmongOthers"; });

TEST(RedisLanes, OfOtherTypesAreLeftBehindAPieceAtATime) {
  constexpr size_t kQueues = 2 * limits::kRedisScan + 100;
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    std::vector<v1::JobSpec> specs;
    for (size_t i = 0; i < kQueues; ++i) specs.push_back(make_spec("q" + std::to_string(i), "f"));
    co_await submit_all(h, std::move(specs));
    h.told.events.clear();
    const std::vector<v1::Job> none = co_await take_of(h, 1, {"own"});
    EXPECT_THAT(none, IsEmpty());
    const bool asks = co_await told_of_more(h);
    EXPECT_FALSE(asks) << "there is nothing to ask again for";
    co_await submit_all(h, {make_spec("last", "own")});
    size_t takes = 0;
    for (bool found = false; !found && takes < 10; ++takes) {
      h.told.events.clear();
      const std::vector<v1::Job> jobs = co_await take_of(h, 1, {"own"});
      found = !jobs.empty();
      EXPECT_THAT(h.told.events, IsEmpty()) << "Redis has a moment for others";
      const bool more = co_await told_of_more(h);
      EXPECT_EQ(more, !found);
    }
    EXPECT_EQ(takes, 3u);
  });
}

TEST(RedisLanes, OfManyQueuesWakeWhoRunsTheirJobs) {
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    std::vector<v1::JobSpec> specs;
    for (int i = 0; i < 40; ++i) specs.push_back(make_spec("q" + std::to_string(i), "it"));
    specs.push_back(make_spec("last", "rare"));
    co_await submit_all(h, std::move(specs));
    const std::string idle = "{weft:00}:idle";
    redis.command({"HSET", idle, "of rare jobs", "\nother\nrare\n", "of others", "\nother\n"});
    const std::vector<v1::Job> one = co_await take_of(h, 1, {"it"});
    EXPECT_EQ(one.size(), 1u);
    EXPECT_EQ(redis.command({"HKEYS", idle}), "of others");
    const std::vector<v1::Job> all = co_await take_of(h, 100, {});
    EXPECT_EQ(all.size(), 40u);
    EXPECT_EQ(redis.command({"EXISTS", "{weft:00}:types"}), "0");
  });
}

// A submit of many types, job by job in turn.
Task<void> submit_types(Harness& h, size_t types, size_t jobs, const std::string& name) {
  std::vector<v1::JobSpec> specs;
  for (size_t i = 0; i < jobs; ++i) {
    specs.push_back(make_spec("default", name + std::to_string(i % types)));
  }
  co_await submit_all(h, std::move(specs));
}

TEST(RedisLanes, OfManyOtherTypesInAQueueHideNoJob) {
  constexpr size_t kTypes = limits::kRedisScan + 100;
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    co_await submit_types(h, kTypes, kTypes, "other");
    co_await submit_types(h, 1, 50, "own");
    const std::vector<v1::Job> none = co_await take_of(h, 256, {"nobody's"});
    EXPECT_THAT(none, IsEmpty());
    h.told.events.clear();
    const int64_t before = calls_of(redis);
    const std::vector<v1::Job> own = co_await take_of(h, 256, {"own0"});
    EXPECT_EQ(own.size(), 50u);
    EXPECT_LE(calls_of(redis) - before, 100) << "it looks at none of the others";
    const bool asks = co_await told_of_more(h);
    EXPECT_FALSE(asks);
    // Who runs any gets them all, if not with one take.
    size_t got = 0;
    for (int takes = 0; got < kTypes && takes < 100; ++takes) {
      const std::vector<v1::Job> some = co_await take_of(h, 256, {});
      got += some.size();
    }
    EXPECT_EQ(got, kTypes);
  });
}

// The types of one worker in a queue with several jobs of each.
class RedisOwnTypes : public ::testing::TestWithParam<size_t> {};

TEST_P(RedisOwnTypes, FillATakeOldestFirst) {
  constexpr size_t kJobs = 2100;
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    std::vector<std::string> types;
    std::vector<v1::JobSpec> specs;
    for (size_t i = 0; i < kJobs; ++i) {
      specs.push_back(make_spec("default", "own" + std::to_string(i % GetParam())));
      if (i < GetParam()) types.push_back(specs.back().type());
    }
    const std::vector<std::string> all = co_await submit_all(h, std::move(specs));
    for (size_t sum = 0; sum < kJobs; sum += 256) {
      const std::vector<v1::Job> jobs = co_await take_of(h, 256, types);
      WEFT_ASSERT(jobs.size() == std::min<size_t>(256, kJobs - sum));
      for (size_t i = 0; i < jobs.size(); ++i) EXPECT_EQ(jobs[i].spec().id(), all[sum + i]);
    }
    EXPECT_EQ(redis.command({"EXISTS", "{weft:00}:lanes:default"}), "0");
  });
}
INSTANTIATE_TEST_SUITE_P(Types, RedisOwnTypes, ::testing::Values(1, 2, 100, 1000),
                         ::testing::PrintToStringParamName());

TEST(RedisLanes, OfSuspectsOfOtherTypesHideNoJob) {
  constexpr size_t kSuspects = limits::kRedisScan + 100;
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    co_await submit_types(h, 1, 1, "own");
    co_await submit_all(h, {make_spec("last", "that")});
    std::vector<std::string> turns = {"RPUSH", "{weft:00}:xturns"};
    for (size_t i = 0; i < kSuspects; ++i) {
      turns.push_back("q" + std::to_string(i));
      redis.command({"HSET", "{weft:00}:xlanes:" + turns.back(), "other", "1"});
    }
    redis.command(turns);
    // One that is suspected and one that is not wait, as P totals says.
    std::string totals(80, '\0');
    totals[7] = 3;
    totals[55] = 1;
    redis.command({"SET", "{weft:00}:totals", totals});
    TakeRequest request{.worker = Harness::kWorker, .worker_name = "tester", .max_jobs = 10};
    request.types = {"own0", "that"};
    request.suspect = true;
    auto taken = co_await h.store().settle_and_take({}, std::move(request));
    WEFT_ASSERT(taken.ok());
    EXPECT_EQ(taken->jobs.size(), 2u);
  });
}

TEST(RedisLanes, OfSuspectsThatAreLeftWakeWhoRunsTheirJobs) {
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    co_await submit_types(h, 1, 2, "own");
    std::string totals(80, '\0');
    totals[7] = 3;
    totals[55] = 1;
    redis.command({"SET", "{weft:00}:totals", totals});
    redis.command({"RPUSH", "{weft:00}:xturns", "last"});
    redis.command({"HSET", "{weft:00}:xlanes:last", "rare", "1"});
    const std::string idle = "{weft:00}:idle";
    redis.command({"HSET", idle, "of rare jobs", "\nother\nrare\n", "of others", "\nother\n"});
    const std::vector<v1::Job> one = co_await take_of(h, 1, {"own0"});
    EXPECT_EQ(one.size(), 1u);
    EXPECT_EQ(redis.command({"HKEYS", idle}), "of others");
  });
}

// A worker takes one suspect at a time, however much room it has.
TEST(RedisLanes, OfSuspectsThatAWorkerWithRoomLeavesWakeAnother) {
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    std::vector<v1::JobSpec> specs(2, make_spec("q", "it"));
    co_await submit_all(h, std::move(specs));
    for (const std::string name : {"turns", "lanes:q", "lane:q:it"}) {
      redis.command({"RENAME", "{weft:00}:" + name, "{weft:00}:x" + name});
    }
    redis.command({"DEL", "{weft:00}:types"});
    std::string totals(80, '\0');
    totals[7] = 2;
    totals[55] = 2;
    redis.command({"SET", "{weft:00}:totals", totals});
    const std::string idle = "{weft:00}:idle";
    redis.command({"HSET", idle, "another", "\nit\n"});
    const std::vector<v1::Job> one = co_await take_of(h, 8, {"it"});
    EXPECT_EQ(one.size(), 1u);
    EXPECT_EQ(redis.command({"HEXISTS", idle, "another"}), "0");
  });
}

// `done` begins with jobs that are gone.
TEST(RedisLanes, OfEndedJobsAreTrimmedAPieceAtATime) {
  constexpr size_t kGone = 5 * limits::kRedisScan;
  RedisProcess redis;
  StoreOptions options = quiet();
  options.finished_per_queue = 3;
  with_store(redis.unix_url(), options, [&](Harness& h) -> Task<void> {
    for (int i = 0; i < 3; ++i) {
      const v1::Job job = co_await h.run_one();
      co_await h.must(h.settle(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED));
    }
    const std::string done = "{weft:00}:done:default";
    std::vector<std::string> push = {"LPUSH", done};
    push.resize(2 + kGone, "00000000nobody");
    redis.command(push);
    int64_t length = kGone + 3;
    for (int settles = 0; settles < 12; ++settles) {
      const v1::Job job = co_await h.run_one();
      co_await h.must(h.settle(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED));
      const int64_t left = std::stoll(redis.command({"LLEN", done}));
      EXPECT_GE(left, length - static_cast<int64_t>(limits::kRedisScan) - 200);
      length = left;
    }
    EXPECT_EQ(length, 3);
    EXPECT_EQ(redis.command({"HGET", "{weft:00}:count", "f:default"}), "3");
  });
}

TEST(RedisLanes, OfAgesWithoutJobsAreListedAPieceAtATime) {
  constexpr int kBlocks = 100;
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    const std::vector<std::string> first = co_await submit_all(h, {make_spec("default", "it")});
    std::vector<std::string> gone;
    for (int i = 0; i < 256; ++i) gone.push_back("gone" + std::to_string(i));
    for (int block = 1; block <= kBlocks; ++block) {
      std::vector<std::string> push = {"RPUSH", "{weft:00}:ages:" + std::to_string(block)};
      push.insert(push.end(), gone.begin(), gone.end());
      redis.command(push);
      redis.command({"ZADD", "{weft:00}:ages", std::to_string(block), std::to_string(block)});
    }
    redis.command({"SET", "{weft:00}:age", std::to_string(256 * (kBlocks + 1))});
    const int64_t scripts = calls_of(redis, "evalsha"), before = calls_of(redis);
    const auto page = co_await h.store().list({}, "", 10);
    WEFT_ASSERT(page.ok() && page->jobs.size() == 1);
    EXPECT_EQ(page->jobs[0].spec().id(), first[0]);
    EXPECT_GE(calls_of(redis, "evalsha") - scripts, 5) << "none goes through them all";
    EXPECT_LE(calls_of(redis) - before, 20 * kBlocks) << "it looks them up together";
  });
}

TEST(RedisLanes, OfKeysThatNobodyForgotAreLookedAtOnceInASubmit) {
  constexpr size_t kOld = 2000, kJobs = 100;
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    std::vector<std::string> push = {"RPUSH", "{weft:00}:keys:1"};
    const std::string at = std::string("\0\0\0\0\0\0\3\350", 8);  // the second 1
    push.resize(2 + kOld, at + std::string("\4goneq\nno", 9));
    std::vector<v1::JobSpec> specs;
    for (size_t i = 0; i < kJobs; ++i) {
      specs.push_back(make_spec("q", "it"));
      specs.back().set_idempotency_key("k" + std::to_string(i));
      const std::string name = "q\nk" + std::to_string(i);
      redis.command(
          {"HSET", "{weft:00}:key", name, std::string(16, 'F') + std::string(8, '\0') + "gone"});
      push.push_back(at + std::string("\4gone", 5) + name);
    }
    redis.command(push);
    redis.command({"ZADD", "{weft:00}:keys", "1", "1"});
    const int64_t reads = calls_of(redis, "lrange");
    const std::vector<std::string> ids = co_await submit_all(h, std::move(specs));
    EXPECT_EQ(std::count(ids.begin(), ids.end(), ""), 0);
    EXPECT_LE(calls_of(redis, "lrange") - reads, 1);
    EXPECT_EQ(redis.command({"LLEN", "{weft:00}:keys:1"}), std::to_string(kOld));
  });
}

// What took a walk through a whole list or stream before.
TEST(RedisLanes, ARetryARemoveAndARepeatedSendAreShort) {
  RedisProcess redis;
  with_store(redis.unix_url(), quiet(), [&](Harness& h) -> Task<void> {
    std::vector<std::string> dead;
    for (int i = 0; i < 3; ++i) {
      const v1::Job job = co_await h.run_one();
      co_await h.must(h.settle(Harness::token_of(job), v1::JOB_STATE_DEAD));
      dead.push_back(job.spec().id());
    }
    const int64_t walks = calls_of(redis, "lrem");
    co_await h.must(h.store().retry(dead[1]));
    co_await h.must(h.store().remove(dead[0]));
    EXPECT_EQ(calls_of(redis, "lrem"), walks);
    const v1::Job job = (co_await h.take(1)).at(0);
    for (uint64_t n = 1; n <= limits::kKeptSends + 10; ++n) {
      const auto sent = co_await h.store().send(job.spec().id(), "me", n, "v");
      EXPECT_EQ(sent.ok() ? *sent : 0, n);
      h.store().consumed(Harness::token_of(job), n);
    }
    const int64_t before = calls_of(redis);
    const auto again = co_await h.store().send(job.spec().id(), "me", 20, "v");
    EXPECT_EQ(again.ok() ? *again : 0, 20u);
    EXPECT_LE(calls_of(redis) - before, 12);
  });
}

}  // namespace
}  // namespace weft::testing
