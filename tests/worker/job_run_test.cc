// How a handler's end becomes the job's end.
#include <gmock/gmock.h>

#include "tests/support/coro_test.h"
#include "tests/support/worker_bed.h"

namespace weft {
namespace {

using testing::BedOptions;
using ::testing::HasSubstr;
using testing::Read;
using testing::read;
using testing::settle_down;
using testing::with_bed;
using testing::WorkerBed;

Task<std::string> upper(Job job) {
  std::string text = job.payload();
  for (char& c : text) c = static_cast<char>(std::toupper(c));
  co_return text;
}

// Runs one job of `handler` to its end.
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
  co_await with_bed({.max_attempts = 1}, std::move(registry), body);
  co_return job;
}

CORO_TEST(JobRun, ReturnedValueIsTheResult) {
  const v1::Job job = co_await outcome_of(upper, "abc");
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(job.outcome().result(), "ABC");
  EXPECT_EQ(job.outcome().error_code(), "");
}

CORO_TEST(JobRun, VoidTaskSucceedsWithAnEmptyResult) {
  auto handler = [](Job) -> Task<void> { co_return; };
  const v1::Job job = co_await outcome_of(handler);
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(job.outcome().result(), "");
}

CORO_TEST(JobRun, JsonAndProtobufResultsAreEncoded) {
  auto json = [](Job job) -> Task<nlohmann::json> {
    nlohmann::json value = job.payload_as<nlohmann::json>();
    value["b"] = 2;
    co_return value;
  };
  const v1::Job first = co_await outcome_of(json, R"({"a":1})");
  EXPECT_EQ(first.outcome().result(), R"({"a":1,"b":2})");
  auto message = [](Job job) -> Task<v1::Progress> {
    v1::Progress progress = job.payload_as<v1::Progress>();
    progress.set_fraction(0.5);
    co_return progress;
  };
  v1::Progress sent;
  sent.set_message("half");
  const v1::Job second = co_await outcome_of(message, sent.SerializeAsString());
  v1::Progress got;
  EXPECT_TRUE(got.ParseFromString(second.outcome().result()));
  EXPECT_EQ(got.message(), "half");
  EXPECT_EQ(got.fraction(), 0.5);
}

CORO_TEST(JobRun, StreamOfJsonAndOfProtobufIsEncoded) {
  auto json = [](Job) -> Stream<nlohmann::json> { co_yield nlohmann::json{{"n", 1}}; };
  auto message = [](Job) -> Stream<v1::Progress> {
    v1::Progress progress;
    progress.set_message("m");
    co_yield progress;
  };
  Registry registry;
  registry.add("json", make_handler(json));
  registry.add("message", make_handler(message));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string a = co_await bed.submit("json");
    const std::string b = co_await bed.submit("message");
    auto first = co_await bed.watch(a);
    auto second = co_await bed.watch(b);
    const Read got_a = co_await read(*first);
    const Read got_b = co_await read(*second);
    EXPECT_EQ(got_a.chunks, std::vector<std::string>{R"({"n":1})"});
    v1::Progress progress;
    WEFT_ASSERT(got_b.chunks.size() == 1);
    EXPECT_TRUE(progress.ParseFromString(got_b.chunks[0]));
    EXPECT_EQ(progress.message(), "m");
  };
  co_await with_bed({}, std::move(registry), body);
}

CORO_TEST(JobRun, ThrowingHandlerMakesTheJobDead) {
  auto handler = [](Job) -> Task<void> {
    co_await yield_now();
    throw std::runtime_error("the disk is full");
  };
  const v1::Job job = co_await outcome_of(handler);
  EXPECT_EQ(job.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(job.outcome().error_code(), "handler_error");
  EXPECT_EQ(job.outcome().error_message(), "the disk is full");
}

CORO_TEST(JobRun, ThrowingAnIntMakesTheJobDead) {
  auto handler = [](Job) -> Stream<std::string> {
    co_yield "one";
    throw 42;
  };
  const v1::Job job = co_await outcome_of(handler);
  EXPECT_EQ(job.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(job.outcome().error_code(), "handler_error");
  EXPECT_EQ(job.last_sequence(), 1u);
}

CORO_TEST(JobRun, ThrowingOutsideOfACoroutineMakesTheJobDead) {
  auto handler = [](Job job) -> Task<void> {
    if (job.attempt() == 1) throw std::runtime_error("at once");
    return [](Job) -> Task<void> { co_return; }(job);
  };
  const v1::Job job = co_await outcome_of(handler);
  EXPECT_EQ(job.outcome().error_message(), "at once");
}

// A task that has its answer when the handler ends takes one more step.
CORO_TEST(JobRun, TaskStartedAfterTheHandlersEndDoesNotRun) {
  Event go;
  bool late = false;
  bool ran = false;
  std::optional<Job> kept;
  auto handler = [&](Job job) -> Task<void> {
    kept = job;
    auto starts_late = [&](Job starting) -> Task<void> {
      co_await go.wait();
      late = true;
      auto never = [&]() -> Task<void> {
        ran = true;
        co_return;
      };
      starting.start(never);
    };
    job.start(starts_late, job);
    co_await yield_now();
    go.set();
  };
  const v1::Job job = co_await outcome_of(handler);
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_TRUE(late);
  EXPECT_FALSE(ran);
  auto nothing = []() -> Task<void> { co_return; };
  EXPECT_THROW(kept->start(nothing), std::logic_error);
}

CORO_TEST(JobRun, ThrowingACancellationNobodyAskedForMakesTheJobDead) {
  auto handler = [](Job) -> Task<void> {
    co_await yield_now();
    throw Cancelled(CancelReason::kDeadline);
  };
  const v1::Job job = co_await outcome_of(handler);
  EXPECT_EQ(job.state(), v1::JOB_STATE_DEAD);
  EXPECT_THAT(job.outcome().error_message(), HasSubstr("nobody asked for"));
}

CORO_TEST(JobRun, ErrorMessageIsCutAndMadeUtf8) {
  auto handler = [](Job) -> Task<void> {
    co_await yield_now();
    throw std::runtime_error("\xff" + std::string(10'000, 'x'));
  };
  const v1::Job job = co_await outcome_of(handler);
  EXPECT_EQ(job.outcome().error_message().size(), limits::kErrorMessageBytes);
  EXPECT_EQ(job.outcome().error_message().substr(0, 4), "\xEF\xBF\xBDx");
}

CORO_TEST(JobRun, PermanentCarriesItsCode) {
  auto handler = [](Job) -> Task<void> {
    co_await yield_now();
    throw Permanent("no such account", "no_account");
  };
  const v1::Job job = co_await outcome_of(handler);
  EXPECT_EQ(job.outcome().error_code(), "no_account");
}

CORO_TEST(JobRun, BrokenJsonPayloadNamesTheFault) {
  auto handler = [](Job job) -> Task<void> {
    job.payload_as<nlohmann::json>();
    co_return;
  };
  const v1::Job job = co_await outcome_of(handler, R"({"a": )");
  EXPECT_EQ(job.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(job.outcome().error_code(), "invalid_payload");
  EXPECT_THAT(job.outcome().error_message(), HasSubstr("the payload is not JSON"));
  EXPECT_THAT(job.outcome().error_message(), HasSubstr("column 7"));
}

CORO_TEST(JobRun, UnknownTypeMakesTheJobDead) {
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("nothing");
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_EQ(end.state(), v1::JOB_STATE_DEAD);
    EXPECT_EQ(end.outcome().error_code(), "no_handler");
  };
  co_await with_bed({}, Registry(), body);
}

CORO_TEST(JobRun, ResultAtTheLimitIsKept) {
  auto handler = [](Job) -> Task<std::string> { co_return std::string(limits::kResultBytes, 'r'); };
  const v1::Job job = co_await outcome_of(handler);
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(job.outcome().result().size(), limits::kResultBytes);
}

CORO_TEST(JobRun, ResultOverTheLimitMakesTheJobDead) {
  auto handler = [](Job) -> Task<std::string> {
    co_return std::string(limits::kResultBytes + 1, 'r');
  };
  const v1::Job job = co_await outcome_of(handler);
  EXPECT_EQ(job.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(job.outcome().error_code(), "result_too_large");
  EXPECT_THAT(job.outcome().error_message(), HasSubstr("4194304"));
}

CORO_TEST(JobRun, ChunkAtTheLimitIsKept) {
  auto handler = [](Job) -> Stream<std::string> { co_yield std::string(limits::kChunkBytes, 'c'); };
  const v1::Job job = co_await outcome_of(handler);
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(job.last_sequence(), 1u);
}

CORO_TEST(JobRun, ChunkOverTheLimitMakesTheJobDead) {
  auto handler = [](Job) -> Stream<std::string> {
    co_yield std::string(limits::kChunkBytes + 1, 'c');
  };
  const v1::Job job = co_await outcome_of(handler);
  EXPECT_EQ(job.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(job.outcome().error_code(), "chunk_too_large");
  EXPECT_EQ(job.last_sequence(), 0u);
}

CORO_TEST(JobRun, TasksOfAJobEndWithItsHandler) {
  auto handler = [](Job job) -> Task<std::string> {
    auto count = std::make_shared<int>(0);
    auto helper = [](Job own, std::shared_ptr<int> shared) -> Task<void> {
      for (;;) {
        ++*shared;
        co_await own.sleep(std::chrono::milliseconds(10));
      }
    };
    job.start(helper, job, count);
    co_await job.sleep(std::chrono::milliseconds(35));
    co_return std::to_string(*count);
  };
  const v1::Job job = co_await outcome_of(handler);
  EXPECT_EQ(job.outcome().result(), "4");
}

CORO_TEST(JobRun, FailureOfATaskOfAJobFailsTheJob) {
  auto handler = [](Job job) -> Task<void> {
    auto helper = [](Job own) -> Task<void> {
      co_await own.sleep(std::chrono::milliseconds(1));
      throw std::runtime_error("helper failed");
    };
    job.start(helper, job);
    co_await job.sleep(std::chrono::hours(1));
  };
  const v1::Job job = co_await outcome_of(handler);
  EXPECT_EQ(job.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(job.outcome().error_message(), "helper failed");
}

CORO_TEST(JobRun, StreamHoldingAScopeAcrossAYieldIsClosed) {
  bool closed = false;
  auto handler = [&closed](Job) -> Stream<std::string> {
    struct Mark {
      bool& closed;
      ~Mark() { closed = true; }
    } mark{closed};
    CancelScope scope;
    ScopeEntry entry(scope);
    for (;;) co_yield "x";
  };
  Registry registry;
  registry.add("it", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("it");
    auto reader = co_await bed.attach(id, 10);
    co_await read(*reader, 10);
    co_await bed.cancel(id, "enough");
    const v1::Finished end = co_await bed.finished(id);
    EXPECT_EQ(end.state(), v1::JOB_STATE_CANCELLED);
    EXPECT_TRUE(closed);
  };
  co_await with_bed({}, std::move(registry), body);
}

}  // namespace
}  // namespace weft
