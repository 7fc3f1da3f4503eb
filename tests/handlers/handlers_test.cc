// The stock handlers: what they yield, return and refuse.
#include "daemon/handlers/handlers.h"

#include <gmock/gmock.h>

#include "tests/support/coro_test.h"
#include "tests/support/worker_bed.h"

namespace weft {
namespace {

using testing::BedOptions;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Read;
using testing::read;
using testing::settle_down;
using testing::with_bed;
using testing::WorkerBed;

Registry stock() {
  Registry registry;
  register_stock_handlers(registry, {});
  return registry;
}

// Runs one job to its end and reads all of it.
Task<Read> run(std::string type, std::string payload) {
  Read got;
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit(type, payload);
    auto reader = co_await bed.attach(id, UINT64_MAX);
    got = co_await read(*reader);
  };
  co_await with_bed({}, stock(), body);
  co_return got;
}

Task<std::vector<std::string>> counted(std::string payload) {
  const Read got = co_await run("count", std::move(payload));
  EXPECT_EQ(got.finished->state(), v1::JOB_STATE_SUCCEEDED) << got.finished->ShortDebugString();
  co_return got.chunks;
}

CORO_TEST(Count, CountsUpToAndIncludingTheEnd) {
  const auto plain = co_await counted(R"({"to":3})");
  EXPECT_THAT(plain, ElementsAre("1", "2", "3"));
  const auto steps = co_await counted(R"({"from":0,"to":10,"step":4})");
  EXPECT_THAT(steps, ElementsAre("0", "4", "8"));
  const auto down = co_await counted(R"({"from":3,"to":-1,"step":-2})");
  EXPECT_THAT(down, ElementsAre("3", "1", "-1"));
}

CORO_TEST(Count, StepThatLeadsAwayYieldsNothing) {
  const auto up = co_await counted(R"({"from":5,"to":1})");
  EXPECT_THAT(up, IsEmpty());
  const auto down = co_await counted(R"({"from":1,"to":5,"step":-1})");
  EXPECT_THAT(down, IsEmpty());
}

CORO_TEST(Count, EndsAtTheEdgeOfTheNumbers) {
  const auto top = co_await counted(R"({"from":9223372036854775806,"to":9223372036854775807})");
  EXPECT_THAT(top, ElementsAre("9223372036854775806", "9223372036854775807"));
}

CORO_TEST(Count, WaitsBetweenValues) {
  const int64_t start_ns = EventLoop::current()->now_ns();
  const auto slow = co_await counted(R"({"to":3,"delay_ms":500})");
  EXPECT_THAT(slow, ElementsAre("1", "2", "3"));
  EXPECT_EQ((EventLoop::current()->now_ns() - start_ns) / 1'000'000, 1500);
}

CORO_TEST(Count, SendChangesTheStepFromTheNextValueOn) {
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("count", R"({"to":1000,"delay_ms":1000})");
    auto reader = co_await bed.attach(id, UINT64_MAX);
    co_await read(*reader, 65);
    co_await bed.send(id, R"({"step":100})");
    const Read got = co_await read(*reader);
    // 66 was on its way already when the send came.
    EXPECT_THAT(got.chunks,
                ElementsAre("66", "166", "266", "366", "466", "566", "666", "766", "866", "966"));
  };
  co_await with_bed({}, stock(), body);
}

CORO_TEST(Count, SendBeforeTheStartCountsFromTheFirstValue) {
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string first = co_await bed.submit("sleep", R"({"ms":1})");
    const std::string id = co_await bed.submit("count", R"({"to":10})", v1::STREAM_POLICY_PAUSE);
    co_await bed.send(id, R"({"step":5})");
    auto reader = co_await bed.attach(id, UINT64_MAX);
    const Read got = co_await read(*reader);
    EXPECT_THAT(got.chunks, ElementsAre("1", "6"));
  };
  co_await with_bed({}, stock(), body);
}

CORO_TEST(Count, BadSendsAreIgnored) {
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("count", R"({"to":4})", v1::STREAM_POLICY_PAUSE);
    for (const char* bad : {"nonsense", "[1]", "{}", R"({"step":0})", R"({"step":"x"})",
                            R"({"step":1,"more":2})", R"({"step":1.5})"}) {
      co_await bed.send(id, bad);
    }
    auto reader = co_await bed.attach(id, UINT64_MAX);
    const Read got = co_await read(*reader);
    EXPECT_THAT(got.chunks, ElementsAre("1", "2", "3", "4"));
    EXPECT_EQ(got.finished->state(), v1::JOB_STATE_SUCCEEDED);
  };
  co_await with_bed({}, stock(), body);
}

CORO_TEST(Count, AThousandMillionReadForTenComputesAWindow) {
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id =
        co_await bed.submit("count", R"({"to":1000000000})", v1::STREAM_POLICY_PAUSE);
    co_await settle_down();
    const v1::Job before = co_await bed.get(id);
    EXPECT_EQ(before.last_sequence(), 0u);  // lazy: nobody asked yet
    auto reader = co_await bed.attach(id, 10);
    const Read got = co_await read(*reader, 10);
    EXPECT_EQ(got.chunks.back(), "10");
    co_await settle_down();
    reader.reset();
    co_await settle_down();
    const v1::Job after = co_await bed.get(id);
    EXPECT_LE(after.last_sequence(), 10 + limits::kWindowChunks);
    EXPECT_EQ(after.state(), v1::JOB_STATE_RUNNING);
    co_await bed.cancel(id, "enough");
    co_await bed.finished(id);
  };
  co_await with_bed({}, stock(), body);
}

CORO_TEST(Count, OneSlowReaderOfOneJobSlowsNoOtherJob) {
  auto body = [&](WorkerBed& bed) -> Task<void> {
    std::vector<std::unique_ptr<Subscription>> readers;
    for (int i = 0; i < 51; ++i) {
      const std::string id = co_await bed.submit("count", R"({"to":20000})");
      readers.push_back(co_await bed.attach(id, 1));
    }
    co_await settle_down();  // all of them are a window ahead now
    for (size_t i = 1; i < readers.size(); ++i) readers[i]->set_credit(UINT64_MAX);
    size_t done = 0;
    size_t most_apart = 0;
    std::vector<size_t> got(readers.size());
    auto follow = [&](size_t index) -> Task<void> {
      for (;;) {
        auto event = co_await readers[index]->next();
        if ((*event)->has_finished()) break;
        got[index] += static_cast<size_t>((*event)->chunks().data_size());
        const auto [least, most] = std::minmax_element(got.begin() + 1, got.end());
        if (done == 0) most_apart = std::max(most_apart, *most - *least);
      }
      ++done;
    };
    const int64_t start_ns = EventLoop::current()->now_ns();
    auto all = [&](TaskGroup& group) -> Task<void> {
      for (size_t i = 1; i < readers.size(); ++i) group.start(follow, i);
      co_return;
    };
    co_await with_group(all);
    EXPECT_EQ(done, 50u);
    EXPECT_EQ(EventLoop::current()->now_ns(), start_ns);
    // None of the fifty runs ahead by more than the window that it could run ahead of its reader.
    EXPECT_LE(most_apart, 2 * limits::kWindowChunks);
    const Read slow = co_await read(*readers[0], 1);
    EXPECT_THAT(slow.chunks, ElementsAre("1"));
  };
  co_await with_bed({}, stock(), body);
}

CORO_TEST(Echo, ReturnsItsPayloadAsChunkAndResult) {
  const Read got = co_await run("echo", "hello\nworld");
  EXPECT_THAT(got.chunks, ElementsAre("hello\nworld"));
  EXPECT_EQ(got.finished->outcome().result(), "hello\nworld");
  const Read empty = co_await run("echo", "");
  EXPECT_THAT(empty.chunks, ElementsAre(""));
  const std::string large(limits::kPayloadBytes, 'x');
  const Read four = co_await run("echo", large);
  EXPECT_EQ(four.chunks.size(), 4u);
  EXPECT_EQ(four.finished->outcome().result(), large);
}

CORO_TEST(Sleep, TakesItsTime) {
  const int64_t start_ns = EventLoop::current()->now_ns();
  const Read got = co_await run("sleep", R"({"ms":90000})");
  EXPECT_EQ(got.finished->state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ((EventLoop::current()->now_ns() - start_ns) / 1'000'000, 90'000);
}

CORO_TEST(Fail, FailsAsOftenAsAskedForAndThenSucceeds) {
  const Read twice = co_await run("fail", R"({"times":2})");
  EXPECT_EQ(twice.finished->state(), v1::JOB_STATE_SUCCEEDED);
  const Read once_more = co_await run("fail", R"({"times":3})");
  EXPECT_EQ(once_more.finished->state(), v1::JOB_STATE_DEAD);
}

CORO_TEST(Fail, FailsWithItsMessage) {
  const Read got = co_await run("fail", R"({"message":"no luck"})");
  EXPECT_EQ(got.finished->state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(got.finished->outcome().error_code(), "handler_error");
  EXPECT_EQ(got.finished->outcome().error_message(), "no luck");
}

class BadPayload {
 public:
  const char* type;
  const char* payload;
  const char* message;
};

CORO_TEST(Payloads, AreReadStrictly) {
  static constexpr BadPayload kBad[] = {
      {"count", "", "the payload is not JSON: it is empty"},
      {"count", "{", "the payload is not JSON: parse error at line 1"},
      {"count", "[]",
       "the payload must be a JSON object with from, to, step, delay_ms, bytes, stamp, not array"},
      {"count", "{}", "the payload needs the field 'to'"},
      {"count", R"({"to":1,"form":2})", "unknown field 'form': use from, to, step, delay_ms"},
      {"count", R"({"to":"ten"})", "bad field 'to': it must be a whole number"},
      {"count", R"({"to":1e3})", "bad field 'to': it must be a whole number"},
      {"count", R"({"to":9223372036854775808})", "bad field 'to'"},
      {"count", R"({"to":9,"step":0})", "bad field 'step': it must not be 0"},
      {"count", R"({"to":9,"delay_ms":-1})",
       "bad field 'delay_ms': it must be a whole number from 0"},
      {"sleep", "{}", "needs the field 'ms'"},
      {"sleep", R"({"ms":-5})", "bad field 'ms'"},
      {"sleep", R"({"ms":true})", "bad field 'ms'"},
      {"fail", R"({"message":5})", "bad field 'message': it must be a string, not number"},
      {"digest", "{}", "needs the field 'path'"},
  };
  for (const BadPayload& bad : kBad) {
    const Read got = co_await run(bad.type, bad.payload);
    EXPECT_EQ(got.finished->state(), v1::JOB_STATE_DEAD) << bad.payload;
    EXPECT_EQ(got.finished->outcome().error_code(), "invalid_payload") << bad.payload;
    EXPECT_THAT(got.finished->outcome().error_message(), HasSubstr(bad.message));
  }
}

}  // namespace
}  // namespace weft
