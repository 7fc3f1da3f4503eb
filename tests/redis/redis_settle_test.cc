// Ends of attempts whose answers are lost: told again, they are told once, and as what they were.
#include <gmock/gmock.h>

#include <functional>
#include <map>

#include <weft/base/limits.h>

#include "tests/redis/redis_store_bed.h"
#include "tests/support/coro_test.h"
#include "tests/support/redis_server.h"
#include "tests/support/tcp_proxy.h"

namespace weft::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Counts what it is told of each job.
class Ends final : public StoreListener {
 public:
  void on_work() override {}
  void on_cancel_requested(const std::string&, const std::string&) override {}
  void on_finished(const v1::Job& job) override {
    ++told[job.spec().id()];
    last = job;
    if (on_first) std::exchange(on_first, nullptr)();
  }
  void on_send(const std::string&, uint64_t, const std::string&) override {}

  std::map<std::string, int> told;
  v1::Job last;
  std::function<void()> on_first;
};

class RedisSettle : public ::testing::Test {
 protected:
  // Until it has noticed that its connection is gone, and has another.
  static Task<void> reconnected(Harness& h, uint64_t connects) {
    while (h.store().stats().connects == connects) co_await sleep_for(milliseconds(1));
    const bool back = co_await is_healthy(h.store());
    EXPECT_TRUE(back);
  }

  RedisProcess redis_{{.tcp = true}};
  TcpProxy proxy_{redis_.port()};
  const std::string url_ = "redis://127.0.0.1:" + std::to_string(proxy_.port());
};

TEST_F(RedisSettle, OfMoreThanOneCallCanLoseTheAnswerToALaterOne) {
  for (const int64_t retention_s : {int64_t{0}, int64_t{60}}) {
    Ends ends;
    with_store(url_, quiet("p" + std::to_string(retention_s)), [&](Harness& h) -> Task<void> {
      h.store().set_listener(&ends);
      constexpr size_t kJobs = limits::kRedisScriptItems + 200;
      v1::JobSpec spec = Harness::make_spec();
      spec.mutable_retention()->set_seconds(retention_s);
      co_await h.store().submit(std::vector<v1::JobSpec>(kJobs, spec));
      std::vector<Settlement> all;
      for (const v1::Job& job : co_await h.take(kJobs)) {
        all.emplace_back(Harness::token_of(job), v1::JOB_STATE_SUCCEEDED, v1::Outcome(), 0);
      }
      WEFT_ASSERT(all.size() == kJobs);
      ends.on_first = [this] { proxy_.lose_answer(); };
      const uint64_t connects = h.store().stats().connects;
      const auto lost = co_await take(h, 0, all);
      EXPECT_EQ(lost.status().code(), StatusCode::kUnavailable);
      EXPECT_THAT(ends.told, SizeIs(limits::kRedisScriptItems)) << "the first call was answered";
      co_await reconnected(h, connects);
      const auto again = co_await take(h, 0, all);
      WEFT_ASSERT(again.ok());
      for (size_t i = 0; i < kJobs; ++i) {
        const StatusCode code = again->settled[i].code();
        EXPECT_TRUE(code == StatusCode::kOk || (retention_s == 0 && code == StatusCode::kNotFound));
      }
      EXPECT_THAT(ends.told, SizeIs(kJobs));
      for (const auto& [id, times] : ends.told) EXPECT_EQ(times, 1) << id;
      EXPECT_EQ(h.store().stats().succeeded_jobs, retention_s == 0 ? 0 : kJobs);
      EXPECT_EQ(h.store().stats().running_jobs, 0u);
    });
  }
}

// Its cancel came from elsewhere, so nobody here knows that it did not end as it wanted to.
TEST_F(RedisSettle, OfACancelledJobThatIsKeptNoLongerIsToldAsCancelled) {
  Ends ends;
  with_store(url_, quiet(), [&](Harness& h) -> Task<void> {
    h.store().set_listener(&ends);
    v1::JobSpec spec = Harness::make_spec();
    spec.mutable_retention()->set_seconds(0);
    const v1::Job job = co_await h.run_one(std::move(spec));
    co_await h.must(h.store().cancel(job.spec().id(), "not needed"));
    std::vector<Settlement> one;
    one.emplace_back(Harness::token_of(job), v1::JOB_STATE_DEAD, v1::Outcome(), 0);
    const uint64_t connects = h.store().stats().connects;
    proxy_.lose_answer();
    const auto lost = co_await take(h, 0, one);
    EXPECT_EQ(lost.status().code(), StatusCode::kUnavailable);
    EXPECT_THAT(ends.told, IsEmpty());
    co_await reconnected(h, connects);
    for (int i = 0; i < 2; ++i) {
      const auto again = co_await take(h, 0, one);
      WEFT_ASSERT(again.ok());
      EXPECT_EQ(again->settled[0].code(), StatusCode::kNotFound);
      EXPECT_EQ(ends.told[job.spec().id()], 1);
      EXPECT_EQ(ends.last.state(), v1::JOB_STATE_CANCELLED);
      EXPECT_EQ(ends.last.outcome().error_code(), "cancelled");
      EXPECT_THAT(ends.last.outcome().error_message(), HasSubstr("not needed"));
    }
    // Nobody else can learn of it, and it does not stay.
    one[0].token.attempt = 2;
    const auto other = co_await take(h, 0, one);
    WEFT_ASSERT(other.ok());
    EXPECT_EQ(other->settled[0].code(), StatusCode::kNotFound);
    const std::string left = redis_.command({"TTL", "{weft:00}:fate:" + job.spec().id()});
    EXPECT_GT(std::stoll(left), 0);
  });
}

// Nobody here knew the job when its cancel was told.
TEST_F(RedisSettle, ATakeThatIsRepeatedTellsWhatWasCancelledMeanwhile) {
  for (const std::string reason : {"", "not needed"}) {
    with_store(url_, quiet("p" + std::to_string(reason.size())), [&](Harness& h) -> Task<void> {
      co_await add_many(h, 1);
      const uint64_t connects = h.store().stats().connects;
      proxy_.lose_answer();
      const auto lost = co_await take(h, 1);
      EXPECT_EQ(lost.status().code(), StatusCode::kUnavailable);
      co_await reconnected(h, connects);
      const StatusOr<JobPage> running = co_await h.store().list({}, "", 1);
      WEFT_ASSERT(running.ok() && running->jobs.size() == 1);
      co_await h.must(h.store().cancel(running->jobs[0].spec().id(), reason));
      const auto again = co_await take(h, 1);
      WEFT_ASSERT(again.ok() && again->jobs.size() == 1);
      EXPECT_EQ(again->jobs[0].attempt(), 1u);
      EXPECT_TRUE(again->jobs[0].cancel_requested());
      EXPECT_EQ(again->jobs[0].cancel_reason(), reason);
    });
  }
}

// What this process knows of its jobs is newer than what the server has then.
TEST(RedisSettleAfterLoss, AnEndWhoseLastChunksAreLostIsRefused) {
  RedisProcess redis{{.tcp = true}};
  with_store(redis.url(), quiet(), [&](Harness& h) -> Task<void> {
    const v1::Job job = co_await h.run_one();
    const Token token = Harness::token_of(job);
    const Status kept = co_await h.append(token, 1, {"1", "2", "3"});
    EXPECT_TRUE(kept.ok()) << kept;
    EXPECT_EQ(redis.command({"SAVE"}), "OK");
    const Status lost = co_await h.append(token, 4, {"4", "5"});
    EXPECT_TRUE(lost.ok()) << lost;
    const uint64_t connects = h.store().stats().connects;
    redis.kill();
    redis.start();
    while (h.store().stats().connects == connects) co_await sleep_for(milliseconds(1));
    const bool back = co_await is_healthy(h.store());
    EXPECT_TRUE(back);
    std::vector<Settlement> end;
    end.emplace_back(token, v1::JOB_STATE_SUCCEEDED, v1::Outcome(), 5);
    const auto refused = co_await take(h, 0, end);
    WEFT_ASSERT(refused.ok());
    EXPECT_EQ(refused->settled[0].code(), StatusCode::kFailedPrecondition) << refused->settled[0];
    // As far as it is there, it can end.
    end[0].last_sequence = 3;
    const auto ended = co_await take(h, 0, end);
    WEFT_ASSERT(ended.ok());
    EXPECT_TRUE(ended->settled[0].ok()) << ended->settled[0];
  });
}

}  // namespace
}  // namespace weft::testing
