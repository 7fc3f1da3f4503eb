// What follows an attempt that did not succeed: another one, when, and when not.
#include <gmock/gmock.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include <weft/runtime/task_group.h>

#include "tests/support/coro_test.h"
#include "tests/support/worker_bed.h"

namespace weft {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using testing::settle_down;
using testing::with_bed;
using testing::WorkerBed;

constexpr seconds kThirtyDays(limits::kDurationSecondsMax);

// A job that ran to its end, and how long that took.
class Ran {
 public:
  v1::Job job;
  milliseconds took{0};
  WorkerStats stats;
  TypeMetrics type;
};

v1::JobSpec spec_of(const std::string& type) {
  v1::JobSpec spec;
  spec.set_type(type);
  spec.set_queue("default");
  return spec;
}

template <typename F>
Task<Ran> run(F handler, v1::JobSpec spec = spec_of("it"), HandlerOptions options = {}) {
  Registry registry;
  registry.add("it", make_handler(handler), options);
  Ran ran;
  auto body = [&](WorkerBed& bed) -> Task<void> {
    EventLoop& loop = *EventLoop::current();
    const int64_t begin_ns = loop.exact_now_ns();
    const std::string id = co_await bed.submit(spec);
    co_await bed.finished(id);
    ran.took = milliseconds((loop.exact_now_ns() - begin_ns) / 1'000'000);
    ran.job = co_await bed.get(id);
    co_await settle_down();
    ran.stats = bed.worker.stats();
    ran.type = bed.worker.metrics().types.front();
  };
  co_await with_bed({}, std::move(registry), body);
  co_return ran;
}

Task<void> always_fails(Job) {
  co_await yield_now();
  throw std::runtime_error("no ink");
}

void set(google::protobuf::Duration* duration, int64_t whole_seconds) {
  duration->set_seconds(whole_seconds);
}

v1::JobSpec with_fixed_pauses(int64_t pause_seconds, uint32_t max_attempts) {
  v1::JobSpec spec = spec_of("it");
  set(spec.mutable_retry()->mutable_fixed(), pause_seconds);
  spec.mutable_retry()->set_max_attempts(max_attempts);
  spec.mutable_retry()->set_jitter(0);
  return spec;
}

CORO_TEST(Retry, AJobThatFailsTwiceAndThenSucceedsHasSucceeded) {
  std::vector<uint32_t> failures;
  auto handler = [&](Job job) -> Task<std::string> {
    failures.push_back(job.failures());
    if (job.failures() < 2) throw std::runtime_error("try " + std::to_string(job.attempt()));
    co_return "done";
  };
  const Ran ran = co_await run(handler);
  EXPECT_EQ(ran.job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(ran.job.outcome().result(), "done");
  EXPECT_EQ(ran.job.attempt(), 3u);
  EXPECT_EQ(ran.job.failures(), 2u);
  EXPECT_EQ(failures, (std::vector<uint32_t>{0, 1, 2}));
  WEFT_ASSERT(ran.job.errors_size() == 2);
  EXPECT_EQ(ran.job.errors(0).error_message(), "try 1");
  EXPECT_EQ(ran.job.errors(1).error_message(), "try 2");
  EXPECT_EQ(ran.job.errors(1).attempt(), 2u);
  // Pauses of 2 and 4 s, each half as long to half as long again.
  EXPECT_GE(ran.took, seconds(3));
  EXPECT_LE(ran.took, seconds(10));
  EXPECT_EQ(ran.stats.retried, 2u);
  EXPECT_EQ(ran.stats.succeeded, 1u);
  EXPECT_EQ(ran.type.retried, 2u);
  EXPECT_EQ(ran.type.dead, 0u);
}

CORO_TEST(Retry, AfterTheLastFailureItIsDeadWithAllItsErrors) {
  const Ran ran = co_await run(always_fails);
  EXPECT_EQ(ran.job.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(ran.job.outcome().error_code(), "handler_error");
  EXPECT_EQ(ran.job.outcome().error_message(), "no ink");
  EXPECT_EQ(ran.job.attempt(), limits::kAttempts);
  EXPECT_EQ(ran.job.failures(), limits::kAttempts);
  EXPECT_EQ(ran.job.errors_size(), static_cast<int>(limits::kAttempts));
  EXPECT_EQ(ran.type.retried, limits::kAttempts - 1);
  EXPECT_EQ(ran.type.dead, 1u);
}

CORO_TEST(Retry, TheJobsPolicyGoesBeforeTheHandlersAndThatBeforeTheDefault) {
  const HandlerOptions options{
      .retry = {.max_attempts = 5, .backoff = FixedBackoff{seconds(10)}, .jitter = 0}};
  Ran ran = co_await run(always_fails, spec_of("it"), options);
  EXPECT_EQ(ran.job.attempt(), 5u);
  EXPECT_GE(ran.took, seconds(40));
  EXPECT_LE(ran.took, seconds(41));
  // What the job leaves out is the handler's.
  v1::JobSpec spec = spec_of("it");
  spec.mutable_retry()->set_max_attempts(2);
  ran = co_await run(always_fails, spec, options);
  EXPECT_EQ(ran.job.attempt(), 2u);
  EXPECT_GE(ran.took, seconds(10));
  EXPECT_LE(ran.took, seconds(11));
  spec.mutable_retry()->set_max_attempts(0);
  set(spec.mutable_retry()->mutable_listed()->add_pauses(), 1);
  set(spec.mutable_retry()->mutable_listed()->add_pauses(), 20);
  ran = co_await run(always_fails, spec, options);
  EXPECT_EQ(ran.job.attempt(), 5u);
  EXPECT_GE(ran.took, seconds(61));
  EXPECT_LE(ran.took, seconds(62));
  set(spec.mutable_retry()->mutable_exponential()->mutable_first(), 3);
  spec.mutable_retry()->mutable_exponential()->set_factor(3);
  set(spec.mutable_retry()->mutable_exponential()->mutable_max(), 10);
  ran = co_await run(always_fails, spec, options);  // 3, 9, 10, 10
  EXPECT_GE(ran.took, seconds(32));
  EXPECT_LE(ran.took, seconds(33));
}

CORO_TEST(Retry, OneAttemptIsNoRetry) {
  const Ran ran = co_await run(always_fails, with_fixed_pauses(1, 1));
  EXPECT_EQ(ran.job.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(ran.job.attempt(), 1u);
  EXPECT_LE(ran.took, seconds(1));
}

CORO_TEST(Retry, APermanentFailureIsNotRetried) {
  auto handler = [](Job) -> Task<void> {
    co_await yield_now();
    throw Permanent("there is no such file", "bad_path");
  };
  const Ran ran = co_await run(handler);
  EXPECT_EQ(ran.job.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(ran.job.outcome().error_code(), "bad_path");
  EXPECT_EQ(ran.job.attempt(), 1u);
  EXPECT_EQ(ran.job.failures(), 1u);
  EXPECT_EQ(ran.job.errors_size(), 1);
}

CORO_TEST(Retry, AResultThatIsTooLargeIsNotTriedAgain) {
  auto handler = [](Job) -> Task<std::string> {
    co_return std::string(limits::kResultBytes + 1, 'x');
  };
  const Ran ran = co_await run(handler);
  EXPECT_EQ(ran.job.outcome().error_code(), "result_too_large");
  EXPECT_EQ(ran.job.attempt(), 1u);
}

CORO_TEST(Retry, ATransientFailureNamesItsCodeAndWhenToTryAgain) {
  auto handler = [](Job) -> Task<void> {
    co_await yield_now();
    throw Transient("come back later", "busy", seconds(30));
  };
  Ran ran = co_await run(handler);
  EXPECT_EQ(ran.job.outcome().error_code(), "busy");
  EXPECT_EQ(ran.job.attempt(), 3u);
  EXPECT_GE(ran.took, seconds(60));
  // No longer than the policy's own longest pause.
  ran = co_await run(handler, with_fixed_pauses(5, 3));
  EXPECT_GE(ran.took, seconds(10));
  EXPECT_LE(ran.took, seconds(11));
}

// As bytes of another encoding they could not be stored.
CORO_TEST(Retry, ACodeAndAMessageThatAreNotTextBecomeText) {
  auto handler = [](Job) -> Task<void> {
    co_await yield_now();
    throw Transient("no caf\xe9", "caf\xe9");
  };
  const Ran ran = co_await run(handler, with_fixed_pauses(1, 2));
  EXPECT_EQ(ran.job.outcome().error_code(), "caf\xef\xbf\xbd");
  EXPECT_EQ(ran.job.outcome().error_message(), "no caf\xef\xbf\xbd");
  WEFT_ASSERT(ran.job.errors_size() == 2);
  EXPECT_EQ(ran.job.errors(0).error_code(), "caf\xef\xbf\xbd");
}

CORO_TEST(Retry, ASnoozeIsNoFailureAndPassesHandlersOfExceptions) {
  auto handler = [](Job job) -> Task<std::string> {
    try {
      co_await yield_now();
      if (job.attempt() < 4) throw Snooze(seconds(50));
    } catch (const std::exception&) {
      co_return "swallowed";
    }
    co_return "done";
  };
  const Ran ran = co_await run(handler, with_fixed_pauses(1, 1));
  EXPECT_EQ(ran.job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(ran.job.outcome().result(), "done");
  EXPECT_EQ(ran.job.snoozes(), 3u);
  EXPECT_EQ(ran.job.failures(), 0u);
  EXPECT_EQ(ran.job.errors_size(), 0);
  EXPECT_GE(ran.took, seconds(150));
  EXPECT_LE(ran.took, seconds(151));
  EXPECT_EQ(ran.stats.snoozed, 3u);
  EXPECT_EQ(ran.type.snoozed, 3u);
  EXPECT_EQ(ran.type.retried, 0u);
}

CORO_TEST(Retry, AStreamAndAPlainFunctionSnoozeToo) {
  auto stream = [](Job job) -> Stream<std::string> {
    co_yield "chunk";
    if (job.attempt() == 1) throw Snooze(seconds(5));
  };
  Ran ran = co_await run(stream);
  EXPECT_EQ(ran.job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(ran.job.snoozes(), 1u);
  auto plain = [](PlainJob job) {
    if (job.attempt() == 1) throw Snooze(seconds(5));
    if (job.failures() == 0) throw std::runtime_error("once");
    return std::string("plain");
  };
  ran = co_await run(plain);
  EXPECT_EQ(ran.job.outcome().result(), "plain");
  EXPECT_EQ(ran.job.snoozes(), 1u);
  EXPECT_EQ(ran.job.failures(), 1u);
}

CORO_TEST(Retry, AHundredSnoozesAreAllowedAndOneMoreIsTheEnd) {
  uint64_t snoozes = limits::kSnoozes;
  auto handler = [&](Job job) -> Task<void> {
    co_await yield_now();
    if (job.attempt() <= snoozes) throw Snooze(seconds(1));
  };
  Ran ran = co_await run(handler);
  EXPECT_EQ(ran.job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(ran.job.snoozes(), limits::kSnoozes);
  snoozes = limits::kSnoozes + 1;
  ran = co_await run(handler);
  EXPECT_EQ(ran.job.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(ran.job.outcome().error_code(), "too_many_snoozes");
  EXPECT_EQ(ran.job.snoozes(), limits::kSnoozes);
}

CORO_TEST(Retry, ASnoozeOfNoSensibleLengthIsAFailure) {
  for (const std::chrono::nanoseconds wrong :
       {std::chrono::nanoseconds(-1),
        std::chrono::nanoseconds(kThirtyDays) + std::chrono::nanoseconds(1)}) {
    auto handler = [wrong](Job) -> Task<void> {
      co_await yield_now();
      throw Snooze(wrong);
    };
    const Ran ran = co_await run(handler, with_fixed_pauses(1, 2));
    EXPECT_EQ(ran.job.state(), v1::JOB_STATE_DEAD);
    EXPECT_EQ(ran.job.failures(), 2u);
    EXPECT_EQ(ran.job.snoozes(), 0u);
    EXPECT_THAT(ran.job.outcome().error_message(), HasSubstr("0 s to 30 days"));
  }
  for (const std::chrono::nanoseconds right :
       {std::chrono::nanoseconds(0), std::chrono::nanoseconds(kThirtyDays)}) {
    auto handler = [right](Job job) -> Task<void> {
      co_await yield_now();
      if (job.attempt() == 1) throw Snooze(right);
    };
    const Ran ran = co_await run(handler);
    EXPECT_EQ(ran.job.state(), v1::JOB_STATE_SUCCEEDED);
    EXPECT_GE(ran.took, right);
  }
}

Task<void> sleeps(Job job) { co_await job.sleep(hours(1)); }

CORO_TEST(Retry, AnAttemptThatRunsTooLongIsAFailure) {
  v1::JobSpec spec = with_fixed_pauses(10, 3);
  set(spec.mutable_attempt_timeout(), 5);
  const Ran ran = co_await run(sleeps, spec);
  EXPECT_EQ(ran.job.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(ran.job.attempt(), 3u);
  EXPECT_EQ(ran.job.outcome().error_code(), "deadline");
  EXPECT_THAT(ran.job.outcome().error_message(), HasSubstr("timeout of 5 s"));
  EXPECT_EQ(ran.job.errors_size(), 3);
  EXPECT_GE(ran.took, seconds(35));
  EXPECT_LE(ran.took, seconds(36));
}

CORO_TEST(Retry, TheTotalTimeoutEndsTheJobHoweverFarItIs) {
  v1::JobSpec spec = with_fixed_pauses(10, 3);
  set(spec.mutable_total_timeout(), 7);
  Ran ran = co_await run(sleeps, spec);
  EXPECT_EQ(ran.job.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(ran.job.attempt(), 1u);
  EXPECT_EQ(ran.job.outcome().error_code(), "deadline");
  EXPECT_THAT(ran.job.outcome().error_message(), HasSubstr("total timeout of 7 s"));
  EXPECT_GE(ran.took, seconds(7));
  EXPECT_LE(ran.took, seconds(8));
  // Over several attempts: 5 s, a pause of 10, and 4 of the second one's 5.
  set(spec.mutable_attempt_timeout(), 5);
  set(spec.mutable_total_timeout(), 19);
  ran = co_await run(sleeps, spec);
  EXPECT_EQ(ran.job.attempt(), 2u);
  EXPECT_THAT(ran.job.outcome().error_message(), HasSubstr("total timeout of 19 s"));
  EXPECT_GE(ran.took, seconds(19));
  EXPECT_LE(ran.took, seconds(20));
  WEFT_ASSERT(ran.job.errors_size() == 2);
  EXPECT_THAT(ran.job.errors(0).error_message(), HasSubstr("timeout of 5 s"));
}

CORO_TEST(Retry, TimeIsUpAlsoForAJobThatWaitsForAPlaceAmongItsKind) {
  Registry registry;
  registry.add("it", make_handler(sleeps), {.concurrency = 1});
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string first = co_await bed.submit("it");
    v1::JobSpec spec = spec_of("it");
    set(spec.mutable_total_timeout(), 3);
    const std::string second = co_await bed.submit(spec);
    const v1::Finished end = co_await bed.finished(second);
    EXPECT_EQ(end.state(), v1::JOB_STATE_DEAD);
    EXPECT_EQ(end.outcome().error_code(), "deadline");
    const v1::Job running = co_await bed.get(first);
    EXPECT_EQ(running.state(), v1::JOB_STATE_RUNNING);
  };
  co_await with_bed({}, std::move(registry), body);
}

CORO_TEST(Retry, APauseBeyondTheTotalTimeoutIsNotWaitedFor) {
  v1::JobSpec spec = with_fixed_pauses(10, 3);
  set(spec.mutable_total_timeout(), 10);
  const Ran ran = co_await run(always_fails, spec);
  EXPECT_EQ(ran.job.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(ran.job.attempt(), 1u);
  EXPECT_EQ(ran.job.outcome().error_code(), "deadline");
  EXPECT_THAT(ran.job.outcome().error_message(), HasSubstr("total timeout"));
  EXPECT_THAT(ran.job.outcome().error_message(), HasSubstr("no ink"));
  EXPECT_LE(ran.took, seconds(1));
  auto snoozes = [](Job) -> Task<void> {
    co_await yield_now();
    throw Snooze(seconds(10));
  };
  const Ran snoozed = co_await run(snoozes, spec);
  EXPECT_EQ(snoozed.job.outcome().error_code(), "deadline");
  EXPECT_LE(snoozed.took, seconds(1));
}

CORO_TEST(Retry, APauseBeyondExpireAtIsNotWaitedFor) {
  v1::JobSpec spec = with_fixed_pauses(10, 4);
  const int64_t now = EventLoop::current()->wall_ns() / 1'000'000'000;
  spec.mutable_expire_at()->set_seconds(now + 25);
  const Ran ran = co_await run(always_fails, spec);
  EXPECT_EQ(ran.job.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(ran.job.attempt(), 3u);
  EXPECT_EQ(ran.job.outcome().error_code(), "deadline");
  EXPECT_THAT(ran.job.outcome().error_message(), HasSubstr("expire_at"));
  // The end of time is further than can be counted in nanoseconds.
  spec.mutable_expire_at()->set_seconds(253'402'300'799);
  const Ran long_lived = co_await run(always_fails, spec);
  EXPECT_EQ(long_lived.job.attempt(), 4u);
}

CORO_TEST(Retry, ACancelEndsAJobThatWaitsForItsNextAttempt) {
  Registry registry;
  registry.add("it", make_handler(always_fails));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit(with_fixed_pauses(3600, 3));
    co_await sleep_for(seconds(1));
    const v1::Job waiting = co_await bed.get(id);
    EXPECT_EQ(waiting.state(), v1::JOB_STATE_SCHEDULED);
    co_await bed.cancel(id, "not needed");
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_EQ(end.state(), v1::JOB_STATE_CANCELLED);
    co_await sleep_for(hours(2));
    EXPECT_EQ(bed.worker.stats().taken, 1u);
  };
  co_await with_bed({}, std::move(registry), body);
}

CORO_TEST(Retry, AJobIsNotStartedBeforeItIsDueNorAfterItExpires) {
  Registry registry;
  std::vector<int64_t> started_ms;
  auto handler = [&](Job) -> Task<void> {
    started_ms.push_back(EventLoop::current()->exact_now_ns() / 1'000'000);
    co_return;
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const int64_t begin_ms = EventLoop::current()->exact_now_ns() / 1'000'000;
    v1::JobSpec late = spec_of("it");
    set(late.mutable_delay(), 60);
    v1::JobSpec soon = spec_of("it");
    soon.mutable_run_at()->set_seconds(EventLoop::current()->wall_ns() / 1'000'000'000 + 20);
    const std::string second = co_await bed.submit(late);
    const std::string first = co_await bed.submit(soon);
    v1::JobSpec never = spec_of("nobody-has-it");
    never.mutable_expire_at()->set_seconds(EventLoop::current()->wall_ns() / 1'000'000'000 - 1);
    const std::string expired = co_await bed.submit(never);
    const v1::Finished end = co_await bed.finished(expired);
    EXPECT_EQ(end.state(), v1::JOB_STATE_EXPIRED);
    co_await bed.finished(first);
    co_await bed.finished(second);
    WEFT_ASSERT(started_ms.size() == 2);
    EXPECT_NEAR(static_cast<double>(started_ms[0] - begin_ms), 20'000, 1000);
    EXPECT_NEAR(static_cast<double>(started_ms[1] - begin_ms), 60'000, 10);
  };
  co_await with_bed({}, std::move(registry), body);
}

// The worker's own randomness, not only the policy's.
CORO_TEST(Retry, AThousandFailuresOfOneInstantComeBackSpreadOut) {
  Registry registry;
  std::vector<int64_t> second_ms;
  auto handler = [&](Job job) -> Task<void> {
    if (job.attempt() == 1) throw std::runtime_error("all at once");
    second_ms.push_back(EventLoop::current()->exact_now_ns() / 1'000'000);
    co_return;
  };
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    std::vector<v1::JobSpec> specs(1000, spec_of("it"));
    const auto ids = co_await bed.store->submit(std::move(specs));
    co_await sleep_for(hours(1));
    EXPECT_EQ(second_ms.size(), 1000u);
    std::sort(second_ms.begin(), second_ms.end());
    size_t most = 0;
    for (size_t begin = 0, end = 0; end < second_ms.size(); ++end) {
      while (second_ms[end] - second_ms[begin] >= 100) ++begin;
      most = std::max(most, end - begin + 1);
    }
    std::printf("of 1000 failures of one instant %zu were retried within one 100 ms\n", most);
    EXPECT_LE(most, 100u);
  };
  co_await with_bed({}, std::move(registry), body);
}

}  // namespace
}  // namespace weft
