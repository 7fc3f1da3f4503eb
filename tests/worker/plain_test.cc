// Plain functions and generators as handlers, on the executor.
#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "tests/support/coro_test.h"
#include "tests/support/worker_bed.h"

namespace weft {
namespace {

using testing::BedOptions;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Read;
using testing::read;
using testing::settle_down;
using testing::with_bed;
using testing::WorkerBed;

template <typename F>
Task<v1::Job> outcome_of(F handler, std::string payload = "") {
  Registry registry;
  registry.add("it", make_handler(handler));
  v1::Job job;
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it", payload);
    co_await bed.finished(id);
    job = co_await bed.get(id);
  };
  co_await with_bed({}, std::move(registry), body);
  co_return job;
}

// Blocks a pool thread until `flag` is set. False: not within 10 s.
bool wait_on_thread(const std::atomic<bool>& flag) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!flag.load()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

std::string upper(const std::string& text) {
  std::string result = text;
  for (char& c : result) c = static_cast<char>(std::toupper(c));
  return result;
}

CORO_TEST(Plain, AFunctionOfThePayloadReturnsTheResult) {
  const v1::Job job = co_await outcome_of(upper, "abc");
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(job.outcome().result(), "ABC");
}

CORO_TEST(Plain, JsonProtobufAndVoid) {
  auto json = [](const nlohmann::json& given) {
    nlohmann::json sum = given;
    sum["c"] = given.at("a").get<int>() + given.at("b").get<int>();
    return sum;
  };
  const v1::Job first = co_await outcome_of(json, R"({"a":1,"b":2})");
  EXPECT_EQ(first.outcome().result(), R"({"a":1,"b":2,"c":3})");
  auto message = [](const v1::Progress& given) {
    v1::Progress twice = given;
    twice.set_fraction(2 * given.fraction());
    return twice;
  };
  v1::Progress progress;
  progress.set_fraction(0.25);
  const v1::Job second = co_await outcome_of(message, progress.SerializeAsString());
  EXPECT_TRUE(progress.ParseFromString(second.outcome().result()));
  EXPECT_EQ(progress.fraction(), 0.5);
  auto nothing = [](PlainJob) {};
  const v1::Job third = co_await outcome_of(nothing);
  EXPECT_EQ(third.state(), v1::JOB_STATE_SUCCEEDED);
}

CORO_TEST(Plain, RunsOnAPoolThreadAndSeesItsJob) {
  const std::thread::id loop_thread = std::this_thread::get_id();
  bool elsewhere = false;
  auto handler = [&](PlainJob job) {
    elsewhere = std::this_thread::get_id() != loop_thread;
    job.progress(0.5, "half");
    job.progress(0.75, "more");
    return job.type() + " " + job.queue() + " " + job.payload() + " " +
           std::to_string(job.attempt()) + (job.cancelled() ? " cancelled" : "");
  };
  const v1::Job job = co_await outcome_of(handler, "payload");
  EXPECT_TRUE(elsewhere);
  EXPECT_EQ(job.outcome().result(), "it default payload 1");
  EXPECT_EQ(job.progress().fraction(), 0.75);
  EXPECT_EQ(job.progress().message(), "more");
}

CORO_TEST(Plain, ABadPayloadAndAnExceptionEndTheJob) {
  auto json = [](const nlohmann::json&) {};
  const v1::Job bad = co_await outcome_of(json, "{");
  EXPECT_EQ(bad.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(bad.outcome().error_code(), "invalid_payload");
  auto failing = [](PlainJob) { throw Permanent("no such account", "no_account"); };
  const v1::Job failed = co_await outcome_of(failing);
  EXPECT_EQ(failed.outcome().error_code(), "no_account");
}

CORO_TEST(Plain, ItSeesThatItIsCancelled) {
  std::atomic<bool> started = false;
  auto handler = [&](PlainJob job) {
    started = true;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (std::chrono::steady_clock::now() < end) job.throw_if_cancelled();
  };
  Registry registry;
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    while (!started) co_await yield_now();
    co_await bed.cancel(id, "enough");
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_EQ(end.state(), v1::JOB_STATE_CANCELLED);
    EXPECT_EQ(end.outcome().error_message(), "enough");
  };
  co_await with_bed({}, std::move(registry), body);
}

CORO_TEST(Plain, WaitingForALoopOrAJobFailsAndNamesTheHandler) {
  auto with_loop = [](PlainJob) { EventLoop loop; };
  const v1::Job first = co_await outcome_of(with_loop);
  EXPECT_EQ(first.state(), v1::JOB_STATE_DEAD);
  EXPECT_THAT(first.outcome().error_message(), HasSubstr("handler 'it' is a plain function"));
  EXPECT_THAT(first.outcome().error_message(), HasSubstr("an event loop"));

  std::optional<Job> other;
  Registry registry;
  auto keep = [&](Job job) -> Task<void> {
    other = job;
    co_await job.receive();
  };
  registry.add("keep", make_handler(keep));
  auto use = [&](PlainJob) { static_cast<void>(other->offload([] {})); };
  registry.add("use", make_handler(use));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string kept = co_await bed.submit("keep");
    co_await settle_down();
    const std::string id = co_await bed.submit("use");
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_THAT(end.outcome().error_message(), HasSubstr("handler 'use' is a plain function"));
    co_await bed.send(kept, "go");
    co_await bed.finished(kept);
    other.reset();
  };
  co_await with_bed({}, std::move(registry), body);
}

CORO_TEST(ExecutorStream, ComputesWhatIsReadAWindowAndTheRing) {
  std::atomic<uint64_t> computed = 0;
  auto handler = [&](PlainJob) -> Generator<std::string> {
    for (uint64_t i = 1; i <= 1'000'000'000; ++i) {
      computed = i;
      co_yield std::to_string(i);
    }
  };
  Registry registry;
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it", "", v1::STREAM_POLICY_PAUSE);
    co_await settle_down();
    EXPECT_EQ(computed, 0u);  // nobody wants any
    const auto reader = co_await bed.attach(id, 10);
    const Read got = co_await read(*reader, 10);
    EXPECT_EQ(got.chunks.back(), std::to_string(got.chunks.size()));
    co_await settle_down();
    EXPECT_GE(computed, 10u);
    EXPECT_LE(computed, 10 + 20 + limits::kExecutorStreamValues);
    EXPECT_EQ(bed.executor.stats().running, 0u);  // and it holds no thread
    EXPECT_EQ(bed.worker.stats().slots_used, 0u);
    co_await bed.cancel(id, "");
    co_await bed.finished(id);
  };
  BedOptions options;
  options.hub.window_chunks = 20;
  co_await with_bed(std::move(options), std::move(registry), body);
}

CORO_TEST(ExecutorStream, YieldsEverythingInOrder) {
  auto handler = [](const nlohmann::json& given) -> Generator<std::string> {
    const int to = given.at("to").get<int>();
    for (int i = 1; i <= to; ++i) co_yield std::to_string(i);
  };
  Registry registry;
  registry.add("it", make_handler(handler));
  auto body = [](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it", R"({"to":5000})");
    const auto reader = co_await bed.attach(id, 100'000);
    const Read got = co_await read(*reader);
    WEFT_ASSERT(got.chunks.size() == 5000);
    for (size_t i = 0; i < 5000; ++i) EXPECT_EQ(got.chunks[i], std::to_string(i + 1));
    WEFT_ASSERT(got.finished.has_value());
    EXPECT_EQ(got.finished->state(), v1::JOB_STATE_SUCCEEDED);
  };
  co_await with_bed({}, std::move(registry), body);
}

CORO_TEST(ExecutorStream, AValueIsShownWhileTheNextIsComputed) {
  std::atomic<bool> seen = false;
  auto handler = [&](PlainJob) -> Generator<std::string> {
    co_yield "first";
    co_yield wait_on_thread(seen) ? "second" : "the first was not shown";
  };
  Registry registry;
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    const auto reader = co_await bed.attach(id, 100);
    const Read first = co_await read(*reader, 1);
    EXPECT_THAT(first.chunks, ElementsAre("first"));
    seen = true;
    const Read rest = co_await read(*reader);
    EXPECT_THAT(rest.chunks, ElementsAre("second"));
  };
  co_await with_bed({}, std::move(registry), body);
}

CORO_TEST(ExecutorStream, ACancelEndsItAtItsNextValue) {
  std::atomic<bool> destroyed = false;
  auto handler = [&](PlainJob) -> Generator<std::string> {
    struct Clean {
      std::atomic<bool>& done;
      ~Clean() { done = true; }
    } clean{destroyed};
    for (;;) co_yield "x";
  };
  Registry registry;
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it", "", v1::STREAM_POLICY_PAUSE);
    const auto reader = co_await bed.attach(id, 10);
    co_await read(*reader, 10);
    co_await bed.cancel(id, "enough");
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_EQ(end.state(), v1::JOB_STATE_CANCELLED);
    EXPECT_TRUE(destroyed);
  };
  co_await with_bed({}, std::move(registry), body);
}

CORO_TEST(ExecutorStream, ValuesBeforeAnExceptionAreKept) {
  auto handler = [](PlainJob) -> Generator<std::string> {
    co_yield "1";
    co_yield "2";
    throw Permanent("no third one", "no_third");
  };
  Registry registry;
  registry.add("it", make_handler(handler));
  auto body = [](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    const auto reader = co_await bed.watch(id);
    const Read got = co_await read(*reader);
    EXPECT_THAT(got.chunks, ElementsAre("1", "2"));
    WEFT_ASSERT(got.finished.has_value());
    EXPECT_EQ(got.finished->outcome().error_code(), "no_third");
  };
  co_await with_bed({}, std::move(registry), body);
}

CORO_TEST(ExecutorStream, AChunkOverTheLimitEndsTheJob) {
  auto handler = [](PlainJob) -> Generator<std::string> {
    co_yield std::string(limits::kChunkBytes + 1, 'x');
  };
  const v1::Job job = co_await outcome_of(handler);
  EXPECT_EQ(job.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(job.outcome().error_code(), "chunk_too_large");
}

CORO_TEST(ExecutorStream, TwoShareOneThreadInTurns) {
  std::string order;  // one pool thread writes it
  std::atomic<size_t> inside = 0;
  auto handler = [&](PlainJob job) -> Generator<std::string> {
    ++inside;
    for (int i = 0; i < 2000; ++i) {
      if (inside == 2) order += job.payload();
      co_yield "x";
    }
    --inside;
  };
  Registry registry;
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string a = co_await bed.submit("it", "a");
    const std::string b = co_await bed.submit("it", "b");
    co_await bed.finished(a);
    co_await bed.finished(b);
    size_t longest = 0;
    for (size_t i = 0, run = 0; i < order.size(); ++i) {
      run = i > 0 && order[i] == order[i - 1] ? run + 1 : 1;
      longest = std::max(longest, run);
    }
    EXPECT_GE(order.size(), 1000u);
    EXPECT_LE(longest, 3 * limits::kExecutorStreamValues);
  };
  co_await with_bed({}, std::move(registry), body);
}

}  // namespace
}  // namespace weft
