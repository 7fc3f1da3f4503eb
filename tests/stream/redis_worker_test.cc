// Jobs of a worker as another process sees and steers them, over a real Redis server.
#include <gmock/gmock.h>

#include <algorithm>

#include <weft/store/redis/redis_news_message.h>
#include <weft/store/redis/redis_record.h>

#include "tests/stream/redis_processes.h"
#include "tests/support/coro_test.h"

namespace weft {
namespace {

using testing::BedOptions;
using testing::comes_true;
using ::testing::ElementsAre;
using testing::open_in;
using testing::Read;
using testing::read;
using testing::RedisProcess;
using testing::RedisProcesses;
using testing::StreamBed;
using testing::WorkerBed;

// A worker, and a front end that has none.
class Line {
 public:
  explicit Line(Registry registry)
      : worker(options(redis), std::move(registry)),
        front({}, open_in(redis, RedisProcesses::with_self({}, {2, 2}, "front")), {2, 2}) {}
  static BedOptions options(RedisProcess& redis) {
    BedOptions options;
    options.store = open_in(redis, RedisProcesses::with_self({}, {1, 2}, "worker"));
    return options;
  }
  Task<std::string> submit(std::string type, v1::StreamPolicy policy = v1::STREAM_POLICY_RUN) {
    v1::JobSpec spec;
    spec.set_type(std::move(type));
    spec.set_queue("default");
    spec.set_stream_policy(policy);
    std::vector<v1::JobSpec> specs(1, spec);
    const auto answers = co_await front.store->submit(std::move(specs));
    WEFT_CHECK(answers[0].ok(), "the job is submitted");
    co_return answers[0]->id;
  }
  Task<void> send(std::string id, std::string sender, uint64_t number, std::string value) {
    const auto answer =
        co_await front.store->send(std::move(id), std::move(sender), number, std::move(value));
    EXPECT_TRUE(answer.ok()) << answer.status();
  }

  RedisProcess redis;
  WorkerBed worker;
  StreamBed front;
};

void on_a_line(Registry registry, std::function<Task<void>(Line&)> body) {
  const int64_t frames_before = live_frames();
  {
    EventLoop loop;
    Line line(std::move(registry));
    auto all = [&]() -> Task<void> {
      auto outer = [&](TaskGroup& stores) -> Task<void> {
        stores.start([&line] { return line.worker.store->run(); });
        stores.start([&line] { return line.worker.hub.run(); });
        stores.start([&line] { return line.front.store->run(); });
        stores.start([&line] { return line.front.hub.run(); });
        auto connected = [&] {
          return line.worker.store->stats().health.ok() && line.front.store->stats().health.ok();
        };
        const bool there = co_await comes_true(connected);
        EXPECT_TRUE(there);
        auto inner = [&](TaskGroup& group) -> Task<void> {
          group.start([&line] { return line.worker.worker.run(); });
          co_await body(line);
          line.worker.worker.drain(std::chrono::nanoseconds(0));
        };
        co_await with_group(inner);
        co_await line.worker.store->close();
        co_await line.front.store->close();
        stores.cancel(CancelReason::kShutdown);
      };
      co_await with_group(outer);
    };
    loop.run(all());
  }
  EXPECT_EQ(live_frames() - frames_before, 0);
}

uint64_t computed = 0;  // values of "endless"
// A job type that counts for ever.
Registry with_endless() {
  computed = 0;
  auto endless = [](Job) -> Stream<std::string> {
    for (;;) co_yield std::to_string(++computed);
  };
  Registry registry;
  registry.add("endless", make_handler(endless));
  return registry;
}

TEST(RedisWorker, ALazyStreamComputesNoMoreThanItsWindowBeyondWhatIsReadElsewhere) {
  auto body = [](Line& line) -> Task<void> {
    const std::string id = co_await line.submit("endless", v1::STREAM_POLICY_PAUSE);
    auto reader = co_await line.front.attach(id, 10);
    const Read got = co_await read(*reader, 10);
    EXPECT_EQ(got.chunks.back(), "10");
    co_await sleep_for(std::chrono::milliseconds(20));
    EXPECT_LE(computed, 10 + limits::kWindowChunks + 1);
    const auto cancelled = co_await line.front.store->cancel(id, "enough");
    WEFT_ASSERT(cancelled.ok());
    EXPECT_EQ(cancelled->result(), v1::CancelResponse::REQUESTED);
    reader->set_credit(UINT64_MAX);
    const Read rest = co_await read(*reader);
    WEFT_ASSERT(rest.finished.has_value());
    EXPECT_EQ(rest.finished->state(), v1::JOB_STATE_CANCELLED);
    EXPECT_EQ(rest.finished->outcome().error_message(), "enough");
  };
  on_a_line(with_endless(), body);
}

// They were on their way when the job began again.
TEST(RedisWorker, NewsOfReadersOfAnotherAttemptCountNothing) {
  auto body = [](Line& line) -> Task<void> {
    const std::string id = co_await line.submit("endless", v1::STREAM_POLICY_PAUSE);
    auto reader = co_await line.front.attach(id, 10);
    const Read got = co_await read(*reader, 10);
    EXPECT_EQ(got.chunks.back(), "10");
    constexpr uint64_t kCredit = 10 * limits::kWindowChunks;
    const auto tell = [&](uint64_t attempt) {
      std::string entry = watch_entry({9, 9}, {.attached = 1, .credit = kCredit});
      entry.replace(40, 8, to_bytes(attempt));
      const std::string news = "R" + std::string(1, static_cast<char>(id.size())) + id + entry;
      line.redis.command({"PUBLISH", "{weft:00}:d:" + to_hex({1, 2}), news});
    };
    const uint64_t pushes = line.worker.store->stats().pushes;
    tell(2);
    const bool came =
        co_await comes_true([&] { return line.worker.store->stats().pushes > pushes; });
    EXPECT_TRUE(came);
    co_await sleep_for(std::chrono::milliseconds(20));
    EXPECT_LE(computed, 10 + limits::kWindowChunks + 1);
    tell(1);
    const bool goes_on = co_await comes_true([&] { return computed >= kCredit; });
    EXPECT_TRUE(goes_on);
    const auto cancelled = co_await line.front.store->cancel(id, "enough");
    EXPECT_TRUE(cancelled.ok());
  };
  on_a_line(with_endless(), body);
}

// A job type that yields what it is sent, up to "end". A yield takes the next value that is there.
Registry with_echo() {
  auto echo = [](Job job) -> Stream<std::string> {
    std::optional<std::string> value = co_await job.receive();
    while (value && *value != "end") {
      value = co_yield *value;
      if (!value) value = co_await job.receive();
    }
  };
  Registry registry;
  registry.add("echo", make_handler(echo));
  return registry;
}

// What is sent through any process comes in one order, and once.
TEST(RedisWorker, SendsThroughSeveralProcessesComeOnceAndInOrder) {
  auto body = [](Line& line) -> Task<void> {
    const std::string id = co_await line.submit("echo");
    auto reader = co_await line.front.attach(id, 1'000'000);
    std::vector<std::string> sent;
    for (int i = 1; i <= 200; ++i) {
      Store& store = i % 3 == 0 ? *line.worker.store : *line.front.store;
      sent.push_back(std::to_string(i));
      StatusOr<uint64_t> number = 0;
      do {  // the job may be behind
        number = co_await store.send(id, "me", static_cast<uint64_t>(i), std::to_string(i));
        if (!number.ok()) co_await sleep_for(std::chrono::milliseconds(2));
      } while (number.status().code() == StatusCode::kResourceExhausted);
      WEFT_ASSERT(number.ok());
      EXPECT_EQ(*number, static_cast<uint64_t>(i));
      // The same again through the other one is the same send.
      Store& other = i % 3 == 0 ? *line.front.store : *line.worker.store;
      const auto again = co_await other.send(id, "me", static_cast<uint64_t>(i), std::to_string(i));
      WEFT_ASSERT(again.ok());
      EXPECT_EQ(*again, *number);
    }
    co_await line.send(id, "", 0, "end");
    const Read got = co_await read(*reader);
    EXPECT_EQ(got.chunks, sent);
    EXPECT_TRUE(got.finished.has_value());
  };
  on_a_line(with_echo(), body);
}

TEST(RedisWorker, SendsAndACancelThatWereNotHeardOfAreLookedUp) {
  auto body = [](Line& line) -> Task<void> {
    const std::string id = co_await line.submit("echo");
    auto reader = co_await line.front.attach(id, 1'000'000);
    co_await line.send(id, "", 0, "first");
    Read got = co_await read(*reader, 1);
    EXPECT_THAT(got.chunks, ElementsAre("first"));
    co_await testing::kill_connection(&line.redis, "weft-news-worker");
    co_await line.send(id, "", 0, "second");
    got = co_await read(*reader, 1);
    EXPECT_THAT(got.chunks, ElementsAre("second"));
    co_await testing::kill_connection(&line.redis, "weft-news-worker");
    const auto cancelled = co_await line.front.store->cancel(id, "enough");
    EXPECT_TRUE(cancelled.ok());
    got = co_await read(*reader);
    WEFT_ASSERT(got.finished.has_value());
    EXPECT_EQ(got.finished->state(), v1::JOB_STATE_CANCELLED);
  };
  on_a_line(with_echo(), body);
}

TEST(RedisWorker, AResultIsThereAfterAFewCallsAndNoPoll) {
  auto quick = [](Job) -> Task<std::string> { co_return "done"; };
  Registry registry;
  registry.add("quick", make_handler(quick));
  auto body = [](Line& line) -> Task<void> {
    constexpr int kJobs = 200;
    std::vector<int64_t> took_us;
    const uint64_t before = line.front.store->stats().commands;
    for (int i = 0; i < kJobs; ++i) {
      const int64_t start_ns = EventLoop::current()->exact_now_ns();
      const std::string id = co_await line.submit("quick");
      auto reader = co_await line.front.watch(id);
      const Read got = co_await read(*reader);
      WEFT_ASSERT(got.finished.has_value());
      EXPECT_EQ(got.finished->outcome().result(), "done");
      took_us.push_back((EventLoop::current()->exact_now_ns() - start_ns) / 1000);
    }
    std::sort(took_us.begin(), took_us.end());
    std::printf("submit to result through another process: p50 %lld us, p99 %lld us\n",
                static_cast<long long>(took_us[kJobs / 2]),
                static_cast<long long>(took_us[kJobs * 99 / 100]));
    // Each: submit, follow, get, follow no longer. Some more keep the lease.
    EXPECT_LE(line.front.store->stats().commands - before, 4 * kJobs + 20u);
  };
  on_a_line(std::move(registry), body);
}

}  // namespace
}  // namespace weft
