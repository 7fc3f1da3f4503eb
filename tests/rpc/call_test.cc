// What a call does between a real client and its coroutine.
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include <weft/runtime/sleep.h>

#include "tests/rpc/test_server.h"
#include "tests/support/coro_test.h"

namespace weft::testing {
namespace {

using GetCall = ScriptedService::GetCall;
using WatchCall = ScriptedService::WatchCall;
using AttachCall = ScriptedService::AttachCall;

// Sets its flag when the coroutine that holds it is gone, and says why its scope was cancelled.
struct Witness {
  std::atomic<bool> started{false};
  std::atomic<CancelReason> reason{CancelReason::kNone};
  std::atomic<bool> gone{false};
};
class Presence {
 public:
  Presence(Witness& witness, Call& call) : witness_(witness), call_(call) {
    witness_.started = true;
  }
  ~Presence() {
    witness_.reason = call_.scope().own_reason();
    witness_.gone = true;
  }

 private:
  Witness& witness_;
  Call& call_;
};

v1::Event chunk_event(uint64_t sequence, size_t bytes) {
  v1::Event event;
  event.mutable_chunks()->set_first_sequence(sequence);
  event.mutable_chunks()->add_data(std::string(bytes, 'x'));
  return event;
}

google::rpc::Status details_of(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details;
}

Task<void> answer_with_id(GetCall& call) {
  v1::Job job;
  job.mutable_spec()->set_id(call.request().id());
  call.finish(std::move(job));
  co_return;
}

// What gRPC has answered may be on its way to the rpc thread when no call is known yet.
CORO_TEST(CallDomain, IsClosedOnceEveryAcceptorHasAnsweredAndNoCallIsLeft) {
  auto body = [](TaskGroup& group) -> Task<void> {
    CallDomain domain(*EventLoop::current(), group, 10, 1000);
    bool closed = false;
    domain.count_acceptor();
    domain.count_acceptor();
    domain.stop_accepting();
    auto wait = [&]() -> Task<void> {
      co_await domain.wait_until_empty();
      co_await domain.wait_until_closed();
      closed = true;
    };
    group.start([&] { return wait(); });
    co_await sleep_for(std::chrono::milliseconds(1));
    EXPECT_FALSE(closed);
    domain.count_answered();
    const Status room = domain.count_arrival(7);
    EXPECT_TRUE(room.ok());
    domain.count_answered();
    co_await sleep_for(std::chrono::milliseconds(1));
    EXPECT_FALSE(closed);
    domain.count_end(7);
    co_await sleep_for(std::chrono::milliseconds(1));
    EXPECT_TRUE(closed);
    co_await domain.wait_for_mail();
  };
  co_await with_group(body);
}

TEST(UnaryCall, AnswersWithTheHandlersMessage) {
  ScriptedService service;
  service.get = answer_with_id;
  TestServer server(service);
  auto stub = server.stub();
  for (int i = 0; i < 200; ++i) {
    grpc::ClientContext context;
    v1::GetRequest request;
    request.set_id("job-" + std::to_string(i));
    v1::Job job;
    const grpc::Status status = stub->Get(&context, request, &job);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(job.spec().id(), request.id());
  }
}

TEST(UnaryCall, ErrorCarriesTheFieldAtFaultAsBadRequest) {
  ScriptedService service;
  service.get = [](GetCall& call) -> Task<void> {
    call.finish(field_error("spec.queue", "use a-z"));
    co_return;
  };
  TestServer server(service);
  grpc::ClientContext context;
  v1::Job job;
  const grpc::Status status = server.stub()->Get(&context, {}, &job);
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "use a-z");
  const google::rpc::Status details = details_of(status);
  EXPECT_EQ(details.code(), 3);
  google::rpc::BadRequest detail;
  ASSERT_EQ(details.details_size(), 1);
  ASSERT_TRUE(details.details(0).UnpackTo(&detail));
  EXPECT_EQ(details.details(0).type_url(), "type.googleapis.com/google.rpc.BadRequest");
  EXPECT_EQ(detail.field_violations(0).field(), "spec.queue");
  EXPECT_EQ(detail.field_violations(0).description(), "use a-z");
}

TEST(UnaryCall, ErrorCarriesTheRetryTime) {
  ScriptedService service;
  service.get = [](GetCall& call) -> Task<void> {
    call.finish(retry_error(StatusCode::kResourceExhausted, "full: try again", 1500));
    co_return;
  };
  TestServer server(service);
  grpc::ClientContext context;
  v1::Job job;
  const grpc::Status status = server.stub()->Get(&context, {}, &job);
  EXPECT_EQ(status.error_code(), grpc::RESOURCE_EXHAUSTED);
  const google::rpc::Status details = details_of(status);
  google::rpc::RetryInfo retry;
  google::rpc::QuotaFailure quota;
  ASSERT_EQ(details.details_size(), 2);
  ASSERT_TRUE(details.details(0).UnpackTo(&retry));
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 500'000'000);
  EXPECT_TRUE(details.details(1).UnpackTo(&quota));
}

TEST(UnaryCall, HandlerThatForgetsToAnswerAnswersUnavailable) {
  ScriptedService service;
  service.get = [](GetCall&) -> Task<void> { co_return; };
  TestServer server(service);
  grpc::ClientContext context;
  v1::Job job;
  EXPECT_EQ(server.stub()->Get(&context, {}, &job).error_code(), grpc::UNAVAILABLE);
}

TEST(UnaryCall, HandlerThatThrowsFailsItsOwnCallOnly) {
  ScriptedService service;
  service.get = [](GetCall& call) -> Task<void> {
    if (call.request().id().empty()) throw std::runtime_error("a bug");
    v1::Job job;
    call.finish(std::move(job));
    co_return;
  };
  TestServer server(service);
  auto stub = server.stub();
  grpc::ClientContext context;
  v1::Job job;
  EXPECT_EQ(stub->Get(&context, {}, &job).error_code(), grpc::INTERNAL);
  grpc::ClientContext next;
  v1::GetRequest request;
  request.set_id("a-job");
  EXPECT_TRUE(stub->Get(&next, request, &job).ok());
}

// Waits for ever, seen by `witness`.
template <typename C>
auto waits_for_ever(Witness& witness) {
  return [&witness](C& call) {
    return [](C& waiting, Witness* seen) -> Task<void> {
      const Presence presence(*seen, waiting);
      co_await sleep_for(std::chrono::hours(1));
    }(call, &witness);
  };
}

TEST(UnaryCall, DeadlineReachesTheCoroutine) {
  Witness witness;
  ScriptedService service;
  service.get = waits_for_ever<GetCall>(witness);
  TestServer server(service);
  auto stub = server.stub();
  // A busy machine may take longer than that to get a call to its coroutine.
  for (int ms = 100; ms < 60'000 && !witness.started; ms *= 4) {
    grpc::ClientContext context;
    // By hand: a deadline of the client's own would let it cancel the call a moment earlier.
    context.AddMetadata("grpc-timeout", std::to_string(ms) + "m");
    v1::Job job;
    EXPECT_FALSE(stub->Get(&context, {}, &job).ok());
  }
  EXPECT_TRUE(server.wait_for([&] { return witness.gone.load(); }));
  EXPECT_EQ(witness.reason.load(), CancelReason::kDeadline);
  EXPECT_TRUE(server.wait_for([&] { return server.server().stats().calls == 0; }));
}

TEST(UnaryCall, ClientCancellationReachesTheCoroutine) {
  Witness witness;
  ScriptedService service;
  service.get = waits_for_ever<GetCall>(witness);
  TestServer server(service);
  grpc::ClientContext context;
  std::thread canceller([&] {
    EXPECT_TRUE(server.wait_for([&] { return witness.started.load(); }));
    context.TryCancel();
  });
  v1::Job job;
  EXPECT_EQ(server.stub()->Get(&context, {}, &job).error_code(), grpc::CANCELLED);
  canceller.join();
  EXPECT_TRUE(server.wait_for([&] { return witness.gone.load(); }));
  EXPECT_EQ(witness.reason.load(), CancelReason::kConsumerGone);
}

TEST(ServerStreamCall, DeliversEveryMessageInOrder) {
  constexpr uint64_t kMessages = 5000;
  ScriptedService service;
  service.watch = [](WatchCall& call) -> Task<void> {
    for (uint64_t i = 1; i <= kMessages; ++i) {
      const bool there = co_await call.write(chunk_event(i, 10));
      if (!there) co_return;
    }
    call.finish(absl::OkStatus());
  };
  TestServer server(service);
  grpc::ClientContext context;
  auto stub = server.stub();
  auto reader = stub->Watch(&context, {});
  v1::Event event;
  uint64_t count = 0;
  while (reader->Read(&event)) ASSERT_EQ(event.chunks().first_sequence(), ++count);
  EXPECT_EQ(count, kMessages);
  EXPECT_TRUE(reader->Finish().ok());
}

TEST(ServerStreamCall, SlowReaderHoldsItsHandlerBackAndNobodyElse) {
  constexpr size_t kBytes = 64 << 10;
  constexpr uint64_t kMessages = 2000;  // 128 MB: far beyond what sockets and queues hold
  std::atomic<uint64_t> written{0};
  ScriptedService service;
  service.watch = [&written](WatchCall& call) {
    return [](WatchCall& slow, std::atomic<uint64_t>* count) -> Task<void> {
      for (uint64_t i = 1; i <= kMessages; ++i) {
        const bool there = co_await slow.write(chunk_event(i, kBytes));
        if (!there) co_return;
        ++*count;
      }
      slow.finish(absl::OkStatus());
    }(call, &written);
  };
  service.get = answer_with_id;
  TestServer server(service);
  grpc::ClientContext context;
  auto stub = server.stub();
  auto reader = stub->Watch(&context, {});
  // While nobody reads, others are served; the writer comes to a stop long before its end.
  uint64_t before = 0;
  int same = 0;
  for (int i = 0; i < 20'000 && same < 500; ++i) {
    grpc::ClientContext other;
    v1::Job job;
    ASSERT_TRUE(stub->Get(&other, {}, &job).ok());
    same = written == before ? same + 1 : 0;
    before = written;
  }
  EXPECT_GT(same, 0);
  EXPECT_LT(written.load(), kMessages / 2);
  v1::Event event;
  uint64_t count = 0;
  while (reader->Read(&event)) ASSERT_EQ(event.chunks().first_sequence(), ++count);
  EXPECT_EQ(count, kMessages);
  EXPECT_TRUE(reader->Finish().ok());
}

// What waits for a slow reader counts, and a server that holds much lets less of it wait.
TEST(ServerStreamCall, QueuedAnswersCountAsHeldAndAreFewerWhileTheServerHoldsMuch) {
  constexpr size_t kBytes = 8 << 10;
  size_t queued[2] = {};
  for (const bool crowded : {false, true}) {
    std::atomic<uint64_t> written{0};
    ScriptedService service;
    service.watch = [&written, crowded](WatchCall& call) {
      return [](WatchCall& slow, std::atomic<uint64_t>* count, bool much) -> Task<void> {
        if (much) EXPECT_TRUE(slow.hold(limits::kRequestBytes / 2 + 1).ok());
        for (uint64_t i = 1;; ++i) {
          const bool there = co_await slow.write(chunk_event(i, kBytes));
          if (!there) co_return;
          ++*count;
        }
      }(call, &written, crowded);
    };
    service.get = answer_with_id;
    TestServer server(service);
    grpc::ClientContext context;
    auto stub = server.stub();
    auto reader = stub->Watch(&context, {});
    uint64_t before = 0;
    for (int same = 0; same < 500;) {
      grpc::ClientContext other;
      v1::Job job;
      ASSERT_TRUE(stub->Get(&other, {}, &job).ok());
      same = written > 0 && written == before ? same + 1 : 0;
      before = written;
    }
    queued[crowded] = server.stats().held_bytes - (crowded ? limits::kRequestBytes / 2 + 1 : 0);
    context.TryCancel();
    EXPECT_TRUE(server.wait_for([&] { return server.server().stats().held_bytes == 0; }));
  }
  EXPECT_GE(queued[0], limits::kCrowdedQueueBytes * 2);
  EXPECT_LE(queued[0], limits::kCallQueueBytes + kBytes + 100);
  EXPECT_GT(queued[1], 0u);
  EXPECT_LE(queued[1], limits::kCrowdedQueueBytes + kBytes + 100);
}

TEST(ServerStreamCall, ClientCancellationEndsAHandlerThatWaitsForRoom) {
  Witness witness;
  ScriptedService service;
  service.watch = [&witness](WatchCall& call) {
    return [](WatchCall& stuck, Witness* seen) -> Task<void> {
      const Presence presence(*seen, stuck);
      for (uint64_t i = 1;; ++i) {
        const bool there = co_await stuck.write(chunk_event(i, 256 << 10));
        if (!there) co_return;
      }
    }(call, &witness);
  };
  TestServer server(service);
  grpc::ClientContext context;
  auto stub = server.stub();
  auto reader = stub->Watch(&context, {});
  v1::Event event;
  ASSERT_TRUE(reader->Read(&event));
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::CANCELLED);
  EXPECT_TRUE(server.wait_for([&] { return witness.gone.load(); }));
  EXPECT_TRUE(server.wait_for([&] { return server.server().stats().calls == 0; }));
}

TEST(BidiCall, EchoesUntilTheClientHalfCloses) {
  ScriptedService service;
  service.attach = [](AttachCall& call) -> Task<void> {
    uint64_t sum = 0;
    for (;;) {
      auto request = co_await call.read();
      if (!request) break;
      sum += request->credit();
      co_await call.write(chunk_event(request->credit(), 1));
    }
    co_await call.write(chunk_event(sum, 1));
    call.finish(absl::OkStatus());
  };
  TestServer server(service);
  grpc::ClientContext context;
  auto stub = server.stub();
  auto stream = stub->Attach(&context);
  v1::Event event;
  for (uint64_t i = 1; i <= 100; ++i) {
    v1::AttachRequest request;
    request.set_credit(i);
    ASSERT_TRUE(stream->Write(request));
    ASSERT_TRUE(stream->Read(&event));
    EXPECT_EQ(event.chunks().first_sequence(), i);
  }
  stream->WritesDone();
  ASSERT_TRUE(stream->Read(&event));
  EXPECT_EQ(event.chunks().first_sequence(), 5050u);
  EXPECT_FALSE(stream->Read(&event));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST(BidiCall, ServerReadsNoFurtherThanItsHandlerAsks) {
  // The handler never reads: the client's writes come to a stop at the transport's window.
  Witness witness;
  ScriptedService service;
  service.attach = waits_for_ever<AttachCall>(witness);
  TestServer server(service);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(2));
  auto stub = server.stub();
  auto stream = stub->Attach(&context);
  v1::AttachRequest request;
  request.mutable_send()->set_value(std::string(1 << 20, 'x'));
  int sent = 0;
  while (sent < 100 && stream->Write(request)) ++sent;
  EXPECT_LT(sent, 10) << "a few MiB fit into sockets and windows";
  EXPECT_EQ(stream->Finish().error_code(), grpc::DEADLINE_EXCEEDED);
}

}  // namespace
}  // namespace weft::testing
