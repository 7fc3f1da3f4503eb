// SubmitStream: many at once, each answered, and a client that misbehaves holds up itself only.
#include <gtest/gtest.h>

#include <set>

#include <weft/base/random.h>

#include "tests/rpc/gated_store.h"
#include "tests/rpc/job_service_bed.h"

namespace weft::testing {
namespace {

v1::SubmitStreamRequest message_of(size_t jobs) {
  v1::SubmitStreamRequest request;
  for (size_t i = 0; i < jobs; ++i) request.add_specs()->set_type("echo");
  return request;
}

// One stream, and the answers it has had.
class BulkStream {
 public:
  explicit BulkStream(v1::JobService::Stub& stub) : stream_(stub.SubmitStream(&context_)) {}
  bool write(const v1::SubmitStreamRequest& request) { return stream_->Write(request); }
  bool read() {
    v1::SubmitStreamResponse response;
    if (!stream_->Read(&response)) return false;
    for (const v1::SubmitAnswer& answer : response.answers()) {
      EXPECT_TRUE(indexes.insert(answer.index()).second) << "answered twice";
      if (answer.has_refused()) refused.push_back(answer);
    }
    return true;
  }
  void half_close() { stream_->WritesDone(); }
  grpc::Status finish() {
    while (read()) {
    }
    return stream_->Finish();
  }
  grpc::ClientContext& context() { return context_; }

  std::set<uint64_t> indexes;
  std::vector<v1::SubmitAnswer> refused;

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::SubmitStreamRequest, v1::SubmitStreamResponse>>
      stream_;
};

class SubmitStreamTest : public JobServiceBed {
 protected:
  explicit SubmitStreamTest(RpcServerOptions server = {})
      : SubmitStreamTest(std::move(server), std::make_shared<GatedStore*>()) {}
  ~SubmitStreamTest() override { open_gate(); }
  // Once: after a stop the store may be gone.
  void open_gate() {
    if (opened_) return;
    opened_ = true;
    on_loop([this] { store().gate.set(); });
  }
  GatedStore& store() { return **store_; }
  size_t jobs_in_store() {
    return on_loop([this] { return store().jobs; });
  }

 private:
  SubmitStreamTest(RpcServerOptions server, std::shared_ptr<GatedStore*> store)
      : JobServiceBed({.server = std::move(server),
                       .make_store =
                           [store] {
                             auto gated = std::make_unique<GatedStore>(*open_store("memory:"));
                             *store = gated.get();
                             return gated;
                           }}),
        store_(store) {}
  std::shared_ptr<GatedStore*> store_;
  bool opened_ = false;
};

TEST_F(SubmitStreamTest, ManyMessagesAreWithTheStoreAtOnceAndAllAreAnswered) {
  BulkStream stream(*stub_);
  for (const size_t jobs : {1, 3, 1, 2}) ASSERT_TRUE(stream.write(message_of(jobs)));
  stream.half_close();
  EXPECT_TRUE(wait_for([&] { return store().calls == 4; })) << "none waits for another's answer";
  EXPECT_EQ(jobs_in_store(), 7u);
  open_gate();
  const grpc::Status status = stream.finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(stream.indexes, (std::set<uint64_t>{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_TRUE(stream.refused.empty());
}

TEST_F(SubmitStreamTest, ABadItemIsNamedAndTheStreamGoesOn) {
  open_gate();
  BulkStream stream(*stub_);
  ASSERT_TRUE(stream.write(message_of(2)));
  v1::SubmitStreamRequest request = message_of(3);
  request.mutable_specs(1)->set_type("ehco");
  ASSERT_TRUE(stream.write(request));
  ASSERT_TRUE(stream.write({}));  // brings nothing and does no harm
  ASSERT_TRUE(stream.write(message_of(1)));
  stream.half_close();
  EXPECT_TRUE(stream.finish().ok());
  EXPECT_EQ(stream.indexes.size(), 6u);
  ASSERT_EQ(stream.refused.size(), 1u);
  EXPECT_EQ(stream.refused[0].index(), 3u);
  EXPECT_EQ(violated_field(stream.refused[0].refused()), "specs[1].type");
}

TEST_F(SubmitStreamTest, AnEmptyStreamIsFine) {
  BulkStream stream(*stub_);
  stream.half_close();
  EXPECT_TRUE(stream.finish().ok());
}

TEST_F(SubmitStreamTest, AMessageOverItsBoundsEndsTheStreamAfterTheAnswersBefore) {
  open_gate();
  for (const bool by_bytes : {false, true}) {
    BulkStream stream(*stub_);
    ASSERT_TRUE(stream.write(message_of(5)));
    v1::SubmitStreamRequest over = message_of(by_bytes ? 2 : limits::kBatchJobs + 1);
    if (by_bytes) {
      for (v1::JobSpec& spec : *over.mutable_specs()) {
        spec.set_payload(std::string(limits::kBatchBytes / 2, 'x'));
      }
    }
    stream.write(over);
    const grpc::Status status = stream.finish();
    EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
    EXPECT_EQ(violated_field(status), "specs");
    EXPECT_NE(status.error_message().find(by_bytes ? "4194304" : "1000"), std::string::npos)
        << status.error_message();
    EXPECT_EQ(stream.indexes.size(), 5u);
  }
}

TEST_F(SubmitStreamTest, ReadsNoFurtherAtItsLimitOfUnansweredJobs) {
  BulkStream stream(*stub_);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(stream.write(message_of(1000)));
  ASSERT_TRUE(stream.write(message_of(limits::kSubmitStreamJobs - 4000)));
  ASSERT_TRUE(wait_for([&] { return store().jobs == limits::kSubmitStreamJobs; }));
  ASSERT_TRUE(stream.write(message_of(1)));
  BulkStream other(*stub_);
  ASSERT_TRUE(other.write(message_of(2)));
  EXPECT_TRUE(wait_for([&] { return store().jobs >= limits::kSubmitStreamJobs + 2; }))
      << "another stream is not held up";
  for (int i = 0; i < 50; ++i) EXPECT_EQ(jobs_in_store(), limits::kSubmitStreamJobs + 2);
  open_gate();
  stream.half_close();
  other.half_close();
  EXPECT_TRUE(stream.finish().ok());
  EXPECT_TRUE(other.finish().ok());
  EXPECT_EQ(stream.indexes.size(), limits::kSubmitStreamJobs + 1);
}

TEST_F(SubmitStreamTest, ReadsNoFurtherAtItsLimitOfBytes) {
  BulkStream stream(*stub_);
  v1::SubmitStreamRequest large = message_of(1);
  large.mutable_specs(0)->set_payload(std::string(4'000'000, 'x'));
  const size_t fit = (limits::kSubmitStreamBytes + 3'999'999) / 4'000'000;
  std::thread writer([&] {
    for (size_t i = 0; i < fit + 3; ++i) stream.write(large);
    stream.half_close();
  });
  ASSERT_TRUE(wait_for([&] { return store().jobs == fit; }));
  const size_t held = stats().held_bytes;
  EXPECT_LT(held, limits::kSubmitStreamBytes + (size_t{8} << 20));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(jobs_in_store(), fit);
  open_gate();
  EXPECT_TRUE(stream.finish().ok());
  writer.join();
  EXPECT_EQ(stream.indexes.size(), fit + 3);
  EXPECT_TRUE(wait_for([&] { return server_->stats().held_bytes == 0; }));
}

TEST_F(SubmitStreamTest, AClientThatReadsNoAnswersStallsOnlyItself) {
  open_gate();
  grpc::ChannelArguments arguments;  // a client that buffers little
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 64 << 10);
  auto stub = v1::JobService::NewStub(channel(arguments));
  BulkStream stream(*stub);
  constexpr size_t kMessages = 60;
  v1::SubmitStreamRequest request;
  for (size_t i = 0; i < limits::kBatchJobs; ++i) request.add_specs();  // bad: long answers
  std::thread writer([&] {
    for (size_t i = 0; i < kMessages; ++i) {
      request.mutable_specs(0)->set_type("echo");  // one good: the store sees the message
      stream.write(request);
    }
    stream.half_close();
  });
  const auto others_are_served = [&] {
    for (int i = 0; i < 20; ++i) submit("echo", "x");
  };
  size_t before = 0;
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  for (;;) {  // until it moves no more, although the loop has had time
    others_are_served();
    const size_t now = jobs_in_store();
    if (now - before == 20 && now > 21) break;
    ASSERT_LT(std::chrono::steady_clock::now(), limit);
    before = now;
  }
  const RpcServerStats stalled = stats();
  EXPECT_LT(stalled.held_bytes, size_t{4} << 20);
  EXPECT_TRUE(on_loop([&] { return store().calls; }) > 0);
  EXPECT_TRUE(stream.finish().ok());
  writer.join();
  EXPECT_EQ(stream.indexes.size(), kMessages * limits::kBatchJobs);
}

TEST_F(SubmitStreamTest, DrainingAnswersWhatWasTakenThenSendsTheClientAway) {
  BulkStream idle(*stub_);
  BulkStream stream(*stub_);
  ASSERT_TRUE(stream.write(message_of(3)));
  ASSERT_TRUE(wait_for([&] { return store().jobs == 3; }));
  on_loop([this] { service_->drain(); });
  EXPECT_EQ(idle.finish().error_code(), grpc::UNAVAILABLE);
  open_gate();
  EXPECT_EQ(stream.finish().error_code(), grpc::UNAVAILABLE);
  EXPECT_EQ(stream.indexes.size(), 3u);
  BulkStream late(*stub_);
  EXPECT_EQ(late.finish().error_code(), grpc::UNAVAILABLE);
}

TEST_F(SubmitStreamTest, ShutdownAnswersWhatWasTaken) {
  BulkStream stream(*stub_);
  ASSERT_TRUE(stream.write(message_of(3)));
  ASSERT_TRUE(wait_for([&] { return store().jobs == 3; }));
  stop_server();
  open_gate();
  const grpc::Status status = stream.finish();
  EXPECT_EQ(status.error_code(), grpc::UNAVAILABLE) << status.error_message();
  EXPECT_EQ(stream.indexes.size(), 3u);
}

TEST_F(SubmitStreamTest, AClientThatLeavesIsForgottenAndItsJobsAreKept) {
  {
    BulkStream stream(*stub_);
    ASSERT_TRUE(stream.write(message_of(3)));
    ASSERT_TRUE(wait_for([&] { return store().jobs == 3; }));
    stream.context().TryCancel();
    EXPECT_EQ(stream.finish().error_code(), grpc::CANCELLED);
  }
  open_gate();
  EXPECT_TRUE(wait_for([&] { return server_->stats().calls == 0; }));
  EXPECT_EQ(stats().held_bytes, 0u);
}

TEST_F(SubmitStreamTest, AHugeMessageIsRefusedAndTheServerStaysUp) {
  open_gate();
  grpc::ChannelArguments arguments;
  arguments.SetMaxSendMessageSize(-1);
  auto stub = v1::JobService::NewStub(channel(arguments));
  BulkStream stream(*stub);
  ASSERT_TRUE(stream.write(message_of(1)));
  ASSERT_TRUE(stream.read());
  v1::SubmitStreamRequest huge = message_of(1);
  huge.mutable_specs(0)->set_payload(std::string(100'000'000, 'x'));
  stream.write(huge);
  EXPECT_EQ(stream.finish().error_code(), grpc::RESOURCE_EXHAUSTED);
  grpc::ClientContext context;
  v1::SubmitRequest request;
  request.mutable_spec()->set_type("echo");
  request.mutable_spec()->set_payload(std::string(100'000'000, 'x'));
  v1::SubmitResponse response;
  EXPECT_EQ(stub->Submit(&context, request, &response).error_code(), grpc::RESOURCE_EXHAUSTED);
  submit("echo", "still here");
}

class SmallSubmitStreamTest : public SubmitStreamTest {
 protected:
  SmallSubmitStreamTest() : SubmitStreamTest(small()) {}
  static RpcServerOptions small() {
    RpcServerOptions options;
    options.held_bytes = 100'000;
    return options;
  }
};

TEST_F(SmallSubmitStreamTest, AMessageThereIsNoRoomForEndsTheStreamAfterTheAnswersBefore) {
  BulkStream stream(*stub_);
  ASSERT_TRUE(stream.write(message_of(3)));
  ASSERT_TRUE(wait_for([&] { return store().jobs == 3; }));
  v1::SubmitStreamRequest large = message_of(1);
  large.mutable_specs(0)->set_payload(std::string(100'001, 'x'));
  ASSERT_TRUE(stream.write(large));
  ASSERT_TRUE(wait_for([&] { return server_->stats().held_bytes > 100'000; }));
  open_gate();
  const grpc::Status status = stream.finish();
  EXPECT_EQ(status.error_code(), grpc::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_EQ(stream.indexes, (std::set<uint64_t>{0, 1, 2})) << "what was committed is answered";
  EXPECT_TRUE(wait_for([&] { return server_->stats().held_bytes == 0; }));
}

// Streams that end in every way at any moment: each is closed once, and nothing stays held.
TEST_F(SubmitStreamTest, EndsCleanlyHoweverItEnds) {
  open_gate();
  const auto misbehave = [this](uint64_t seed) {
    Random random(seed);
    auto stub = v1::JobService::NewStub(channel({}));
    for (int i = 0; i < 60; ++i) {
      BulkStream stream(*stub);
      const uint64_t ending = random.below(5);
      if (ending == 0) {
        stream.context().set_deadline(std::chrono::system_clock::now() +
                                      std::chrono::microseconds(random.below(5000)));
      }
      size_t sent = 0;
      for (uint64_t n = random.below(20); n > 0; --n) {
        const size_t jobs = random.below(30);
        if (!stream.write(message_of(jobs))) break;
        sent += jobs;
        if (random.below(4) == 0 && jobs > 0 && !stream.read()) break;
      }
      if (ending == 1) {
        stream.context().TryCancel();
      } else if (ending == 2) {
        stream.half_close();
        stream.context().TryCancel();
      } else {
        stream.half_close();
      }
      const grpc::Status status = stream.finish();
      if (ending <= 2) continue;
      EXPECT_TRUE(status.ok()) << status.error_message();
      EXPECT_EQ(stream.indexes.size(), sent);
    }
  };
  std::vector<std::thread> clients;
  for (uint64_t seed = 1; seed <= 3; ++seed) clients.emplace_back(misbehave, seed);
  for (std::thread& client : clients) client.join();
  EXPECT_TRUE(wait_for([&] { return server_->stats().calls == 0; }));
  EXPECT_EQ(stats().held_bytes, 0u);
}

}  // namespace
}  // namespace weft::testing
