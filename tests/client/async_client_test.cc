// The async client on a real loop, against a server that fails in chosen ways.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <semaphore>

#include <weft/base/limits.h>
#include <weft/client/async_client.h>
#include <weft/runtime/combinators.h>
#include <weft/runtime/task_group.h>

#include "tests/client/fake_server.h"
#include "tests/support/coro_test.h"

namespace weft {
namespace {

using namespace std::chrono_literals;
using testing::attempt_event;
using testing::chunks_event;
using ::testing::ElementsAre;
using testing::FakeServer;
using testing::finished_event;
using ::testing::HasSubstr;
using testing::restarting;

constexpr char kId[] = "0123456789";

// Runs a body on a loop with real time: the server's answers do not come in virtual time.
template <typename Body>
void on_loop(Body body) {
  const int64_t frames_before = live_frames();
  {
    EventLoop loop;
    loop.run(body());
  }
  EXPECT_EQ(live_frames() - frames_before, 0) << "coroutine frames outlived the test's loop";
}

Task<std::vector<std::string>> read_all(AsyncResultStream& stream) {
  std::vector<std::string> seen;
  while (std::optional<Chunk> chunk = co_await stream.next()) {
    seen.push_back(std::to_string(chunk->sequence) + "=" + chunk->bytes);
  }
  co_return seen;
}

void wait_until_cancelled(grpc::ServerContext& context) {
  while (!context.IsCancelled()) std::this_thread::sleep_for(1ms);
}

TEST(AsyncClient, SubmitsReadsToTheEndAndDecodes) {
  v1::JobSpec got;
  FakeServer server;
  server.on_submit = [&](const v1::SubmitRequest& request, v1::SubmitResponse* response) {
    got = request.spec();
    response->set_id(request.spec().id());
    return grpc::Status::OK;
  };
  server.on_get = [&](const v1::GetRequest&, v1::Job* job) {
    job->set_state(v1::JOB_STATE_RUNNING);
    job->set_last_sequence(2);
    return grpc::Status::OK;
  };
  std::vector<uint64_t> asked;
  server.on_watch = [&](grpc::ServerContext&, const v1::WatchRequest& request,
                        FakeServer::WatchWriter& writer) {
    asked.push_back(request.from_sequence());
    if (request.from_sequence() == 0) writer.Write(chunks_event(1, {"{\"n\":1}", "{\"n\":2}"}));
    v1::Event end = finished_event(v1::JOB_STATE_SUCCEEDED, 2);
    end.mutable_finished()->mutable_outcome()->set_result("{\"sum\":3}");
    writer.Write(end);
    return grpc::Status::OK;
  };
  auto body = [&]() -> Task<void> {
    AsyncClient client({.server = server.address()});
    StatusOr<JobHandle> handle =
        co_await client.submit(make_spec("add", nlohmann::json{{"to", 2}}));
    WEFT_ASSERT(handle.ok());
    EXPECT_EQ(got.type(), "add");
    EXPECT_EQ(got.payload(), "{\"to\":2}");
    EXPECT_EQ(got.id(), handle->id());
    EXPECT_EQ(got.idempotency_key(), handle->id());
    AsyncResultStream stream = co_await handle->open();
    int sum = 0;
    while (std::optional<Chunk> chunk = co_await stream.next()) {
      sum += chunk->as<nlohmann::json>().at("n").get<int>();
    }
    EXPECT_EQ(sum, 3);
    EXPECT_TRUE(stream.status().ok()) << stream.status();
    EXPECT_TRUE(stream.finished().has_value());
    StatusOr<nlohmann::json> result = co_await handle->result<nlohmann::json>();
    WEFT_ASSERT(result.ok());
    EXPECT_EQ(result->at("sum"), 3);
  };
  on_loop(body);
  EXPECT_THAT(asked, ElementsAre(0, 3)) << "a result needs no chunk that is there already";
}

TEST(AsyncClient, AResultThatIsNoneSaysWhy) {
  FakeServer server;
  server.on_get = [](const v1::GetRequest& request, v1::Job* job) {
    job->set_state(request.id() == kId ? v1::JOB_STATE_DEAD : v1::JOB_STATE_SUCCEEDED);
    job->mutable_outcome()->set_error_code("no_account");
    job->mutable_outcome()->set_error_message("there is no such account");
    job->mutable_outcome()->set_result("{");
    return grpc::Status::OK;
  };
  auto body = [&]() -> Task<void> {
    AsyncClient client({.server = server.address()});
    StatusOr<std::string> dead = co_await client.job(kId).result();
    EXPECT_EQ(dead.status().code(), StatusCode::kAborted);
    EXPECT_THAT(std::string(dead.status().message()), HasSubstr("there is no such account"));
    StatusOr<nlohmann::json> unread = co_await client.job("9876543210").result<nlohmann::json>();
    EXPECT_EQ(unread.status().code(), StatusCode::kDataLoss);
  };
  on_loop(body);
}

TEST(AsyncClient, RepeatsACallUntilItsServerAnswers) {
  std::vector<std::string> ids;
  FakeServer server;
  server.on_submit = [&](const v1::SubmitRequest& request, v1::SubmitResponse* response) {
    ids.push_back(request.spec().id());
    if (ids.size() < 3) return restarting();
    response->set_id(request.spec().id());
    return grpc::Status::OK;
  };
  auto body = [&]() -> Task<void> {
    AsyncClient client({.server = server.address()});
    StatusOr<JobHandle> handle = co_await client.submit(make_spec("echo"));
    EXPECT_TRUE(handle.ok()) << handle.status();
    StatusOr<JobHandle> refused = co_await client.submit(make_spec("echo", "\xff"));
    v1::JobSpec bad = make_spec("echo");
    bad.set_queue("\xff");
    refused = co_await client.submit(bad);
    EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument);
  };
  on_loop(body);
  ASSERT_GE(ids.size(), 3u);
  EXPECT_EQ(ids[0], ids[1]);
  EXPECT_EQ(ids[1], ids[2]);
}

TEST(AsyncResultStream, ComesBackAfterALossWithNoGapAndNoRepeat) {
  std::vector<uint64_t> asked;
  FakeServer server;
  server.on_watch = [&](grpc::ServerContext&, const v1::WatchRequest& request,
                        FakeServer::WatchWriter& writer) {
    asked.push_back(request.from_sequence());
    switch (asked.size()) {
      case 1:
        writer.Write(chunks_event(1, {"1", "2"}));
        return restarting();
      case 2:
        return restarting();
      case 3:  // repeats what the client has
        writer.Write(chunks_event(2, {"2", "3"}));
        return grpc::Status::OK;  // ends without Finished: as a loss
      default:
        writer.Write(attempt_event(2, 4));
        writer.Write(chunks_event(5, {"1"}));
        writer.Write(finished_event(v1::JOB_STATE_SUCCEEDED, 5));
        return grpc::Status::OK;
    }
  };
  auto body = [&]() -> Task<void> {
    AsyncClient client({.server = server.address()});
    AsyncResultStream stream = client.job(kId).watch();
    const std::vector<std::string> seen = co_await read_all(stream);
    EXPECT_THAT(seen, ElementsAre("1=1", "2=2", "3=3", "5=1"));
    EXPECT_TRUE(stream.status().ok()) << stream.status();
    EXPECT_TRUE(stream.finished().has_value());
    EXPECT_EQ(stream.next_sequence(), 6u);
  };
  on_loop(body);
  EXPECT_THAT(asked, ElementsAre(0, 3, 3, 4));
}

TEST(AsyncResultStream, GoesOnWithTheProcessThatReplacesItsServer) {
  auto first = std::make_unique<FakeServer>();
  const std::string address = first->address();
  first->on_watch = [](grpc::ServerContext& context, const v1::WatchRequest&,
                       FakeServer::WatchWriter& writer) {
    writer.Write(chunks_event(1, {"1"}));
    wait_until_cancelled(context);
    return grpc::Status::OK;
  };
  std::unique_ptr<FakeServer> second;
  auto body = [&]() -> Task<void> {
    AsyncClient client({.server = address});
    AsyncResultStream stream = client.job(kId).watch();
    std::optional<Chunk> chunk = co_await stream.next();
    WEFT_ASSERT(chunk.has_value());
    first.reset();
    second = std::make_unique<FakeServer>(address);
    second->on_watch = [](grpc::ServerContext&, const v1::WatchRequest& request,
                          FakeServer::WatchWriter& writer) {
      writer.Write(chunks_event(request.from_sequence(), {"2"}));
      writer.Write(finished_event(v1::JOB_STATE_SUCCEEDED, 2));
      return grpc::Status::OK;
    };
    const std::vector<std::string> rest = co_await read_all(stream);
    EXPECT_THAT(rest, ElementsAre("2=2"));
    EXPECT_TRUE(stream.status().ok()) << stream.status();
  };
  on_loop(body);
}

TEST(AsyncResultStream, ACancelledReadLosesNothingAndTheDestructorEndsTheCall) {
  std::binary_semaphore write_now{0};
  std::promise<void> gone;
  FakeServer server;  // its calls use what is above
  server.on_watch = [&](grpc::ServerContext& context, const v1::WatchRequest&,
                        FakeServer::WatchWriter& writer) {
    writer.Write(chunks_event(1, {"1"}));
    write_now.acquire();
    writer.Write(chunks_event(2, {"2"}));
    wait_until_cancelled(context);
    gone.set_value();
    return grpc::Status::OK;
  };
  auto body = [&]() -> Task<void> {
    AsyncClient client({.server = server.address()});
    {
      AsyncResultStream stream = client.job(kId).watch();
      std::optional<Chunk> chunk = co_await stream.next();
      WEFT_ASSERT(chunk.has_value());
      const auto timed_out = co_await with_timeout(5ms, stream.next());
      EXPECT_FALSE(timed_out.has_value());
      write_now.release();
      chunk = co_await stream.next();
      WEFT_ASSERT(chunk.has_value());
      EXPECT_EQ(chunk->bytes, "2");
    }
    EXPECT_EQ(gone.get_future().wait_for(30s), std::future_status::ready);
  };
  on_loop(body);
}

TEST(AsyncClient, ACancelledCallIsCancelledAtTheServerAndLeavesNothing) {
  std::binary_semaphore answer{0};
  FakeServer server;  // its calls use what is above
  server.on_submit = [&](const v1::SubmitRequest&, v1::SubmitResponse*) {
    answer.acquire();
    return grpc::Status::OK;
  };
  auto body = [&]() -> Task<void> {
    AsyncClient client({.server = server.address()});
    const auto submitted = co_await with_timeout(20ms, client.submit(make_spec("echo")));
    EXPECT_FALSE(submitted.has_value());
  };
  on_loop(body);  // ends although the server has not answered
  answer.release();
}

TEST(AsyncClient, DeadlinesEndCallsAndAttachments) {
  std::binary_semaphore answer{0};
  FakeServer server;  // its calls use what is above
  server.on_submit = [&](const v1::SubmitRequest&, v1::SubmitResponse*) {
    answer.acquire();
    return grpc::Status::OK;
  };
  server.on_attach = [&](grpc::ServerContext& context, FakeServer::AttachStream&) {
    wait_until_cancelled(context);
    return grpc::Status::OK;
  };
  auto body = [&]() -> Task<void> {
    AsyncClient client({.server = server.address(), .call_deadline_ms = 50});
    StatusOr<JobHandle> late = co_await client.submit(make_spec("echo"));
    EXPECT_EQ(late.status().code(), StatusCode::kDeadlineExceeded);
    AsyncAttachment attachment = client.job(kId).attach({.deadline_ms = 50});
    std::optional<Chunk> chunk = co_await attachment.next();
    EXPECT_FALSE(chunk.has_value());
    EXPECT_EQ(attachment.status().code(), StatusCode::kDeadlineExceeded);
  };
  on_loop(body);
  answer.release();
}

TEST(AsyncAttachment, RepeatsItsSendsAndItsCancelAfterALoss) {
  std::vector<std::string> seen;
  std::vector<std::string> senders;
  int calls = 0;
  FakeServer server;
  server.on_attach = [&](grpc::ServerContext&, FakeServer::AttachStream& stream) {
    v1::AttachRequest request;
    ++calls;
    stream.Read(&request);
    senders.push_back(request.open().sender());
    seen.push_back("open " + std::to_string(request.open().from_sequence()));
    if (calls == 1) stream.Write(chunks_event(1, {"1"}));
    for (int i = 0; i < 2; ++i) {
      do {
        if (!stream.Read(&request)) return restarting();
      } while (request.has_credit());
      seen.push_back(request.has_send() ? "send " + std::to_string(request.send().number()) + " " +
                                              request.send().value()
                                        : "cancel " + request.cancel().reason());
    }
    if (calls == 1) return restarting();
    stream.Write(finished_event(v1::JOB_STATE_CANCELLED, 1));
    return grpc::Status::OK;
  };
  auto body = [&]() -> Task<void> {
    AsyncClient client({.server = server.address()});
    AsyncAttachment attachment = client.job(kId).attach({.credit_ahead = 0});
    std::optional<Chunk> chunk = co_await attachment.next();
    WEFT_ASSERT(chunk.has_value());
    Status sent = co_await attachment.send(nlohmann::json{{"step", 5}});
    EXPECT_TRUE(sent.ok()) << sent;
    attachment.cancel("enough");
    chunk = co_await attachment.next();
    EXPECT_FALSE(chunk.has_value());
    EXPECT_TRUE(attachment.finished().has_value()) << attachment.status();
    sent = co_await attachment.send("late");
    EXPECT_EQ(sent.code(), StatusCode::kFailedPrecondition);
  };
  on_loop(body);
  EXPECT_THAT(seen, ElementsAre("open 0", "send 1 {\"step\":5}", "cancel enough", "open 2",
                                "send 1 {\"step\":5}", "cancel enough"));
  ASSERT_EQ(senders.size(), 2u);
  EXPECT_EQ(senders[0], senders[1]);
}

TEST(AsyncAttachment, GrantsCreditAsItConsumesAndBoundsItsSends) {
  FakeServer server;
  server.on_attach = [&](grpc::ServerContext&, FakeServer::AttachStream& stream) {
    v1::AttachRequest request;
    uint64_t credit = 0, sent = 0;
    while (sent < 50 && stream.Read(&request)) {
      credit = std::max({credit, request.open().credit(), request.credit()});
      while (sent < std::min<uint64_t>(credit, 50)) {
        ++sent;
        stream.Write(chunks_event(sent, {std::to_string(sent)}));
      }
    }
    stream.Write(finished_event(v1::JOB_STATE_SUCCEEDED, sent));
    return grpc::Status::OK;
  };
  auto body = [&]() -> Task<void> {
    AsyncClient client({.server = server.address()});
    AsyncAttachment attachment = client.job(kId).attach({.credit_ahead = 8});
    for (size_t i = 0; i < limits::kUnconsumedSends; ++i) {
      const Status sent = co_await attachment.send("x");
      EXPECT_TRUE(sent.ok());
    }
    const auto one_more = co_await with_timeout(1ms, attachment.send("x"));
    EXPECT_FALSE(one_more.has_value()) << "it waits for room";
    int chunks = 0;
    while (std::optional<Chunk> chunk = co_await attachment.next()) ++chunks;
    EXPECT_EQ(chunks, 50);
    EXPECT_TRUE(attachment.finished().has_value()) << attachment.status();
  };
  on_loop(body);
}

TEST(AsyncClient, AThousandWatchesAtOnceOnOneLoop) {
  constexpr int kWatches = 1000;
  std::atomic<int> open = 0;
  FakeServer server;
  server.on_watch = [&](grpc::ServerContext& context, const v1::WatchRequest&,
                        FakeServer::WatchWriter& writer) {
    ++open;
    writer.Write(chunks_event(1, {"a"}));
    while (open < kWatches && !context.IsCancelled()) std::this_thread::sleep_for(5ms);
    writer.Write(chunks_event(2, {"b"}));
    writer.Write(finished_event(v1::JOB_STATE_SUCCEEDED, 2));
    return grpc::Status::OK;
  };
  int complete = 0;
  auto one = [&](AsyncClient* client, int) -> Task<void> {
    AsyncResultStream stream = client->job(kId).watch();
    const std::vector<std::string> seen = co_await read_all(stream);
    complete += seen == std::vector<std::string>{"1=a", "2=b"} && stream.finished().has_value();
  };
  auto body = [&]() -> Task<void> {
    AsyncClient client({.server = server.address()});
    auto all = [&](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < kWatches; ++i) group.start(std::ref(one), &client, i);
      co_return;
    };
    co_await with_group(all);
  };
  on_loop(body);
  EXPECT_EQ(complete, kWatches);
}

TEST(AsyncClient, OpensNoMoreStreamsThanItsLimit) {
  std::counting_semaphore<8> end{0};
  std::atomic<int> open = 0, most = 0;
  FakeServer server;  // its calls use what is above
  server.on_watch = [&](grpc::ServerContext&, const v1::WatchRequest&,
                        FakeServer::WatchWriter& writer) {
    const int now = ++open;
    most = std::max(most.load(), now);
    writer.Write(chunks_event(1, {"a"}));
    end.acquire();
    --open;
    writer.Write(finished_event(v1::JOB_STATE_SUCCEEDED, 1));
    return grpc::Status::OK;
  };
  int complete = 0;
  auto one = [&](AsyncClient* client) -> Task<void> {
    AsyncResultStream stream = client->job(kId).watch();
    co_await stream.next();
    if (complete++ < 2) {
      while (most < 2) co_await sleep_for(1ms);
      co_await sleep_for(20ms);  // as long as a third could come
    }
    end.release();
    co_await stream.next();
  };
  auto body = [&]() -> Task<void> {
    AsyncClient client({.server = server.address()}, {.calls = 1, .streams = 2});
    auto all = [&](TaskGroup& group) -> Task<void> {
      for (int i = 0; i < 3; ++i) group.start(std::ref(one), &client);
      co_return;
    };
    co_await with_group(all);
  };
  on_loop(body);
  EXPECT_EQ(complete, 3);
  EXPECT_EQ(most, 2);
}

}  // namespace
}  // namespace weft
