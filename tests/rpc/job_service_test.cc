// JobService over a real store, hub and worker, by a real client.
#include <gtest/gtest.h>

#include <future>

#include "tests/rpc/attached.h"
#include "tests/rpc/job_service_bed.h"

namespace weft::testing {
namespace {

class JobServiceTest : public JobServiceBed {};

TEST_F(JobServiceTest, SubmittedJobIsWatchedToItsEnd) {
  const std::string id = submit("count", R"({"from":1,"to":5})");
  v1::WatchRequest request;
  request.set_id(id);
  Read read;
  EXPECT_TRUE(watch(request, &read).ok());
  EXPECT_EQ(read.chunks, (std::vector<std::string>{"1", "2", "3", "4", "5"}));
  ASSERT_TRUE(read.finished);
  EXPECT_EQ(read.finished->state(), v1::JOB_STATE_SUCCEEDED);
  grpc::ClientContext context;
  v1::GetRequest get;
  get.set_id(id);
  v1::Job job;
  EXPECT_TRUE(stub_->Get(&context, get, &job).ok());
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(job.spec().payload(), R"({"from":1,"to":5})");
}

TEST_F(JobServiceTest, RefusesAnUnknownTypeAndNamesTheNearestOne) {
  v1::JobSpec spec;
  spec.set_type("cuont");
  v1::SubmitResponse response;
  const grpc::Status status = submit(spec, &response);
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_NE(status.error_message().find("did you mean 'count'?"), std::string::npos)
      << status.error_message();
  EXPECT_NE(status.error_message().find("sleep"), std::string::npos) << "lists those it knows";
  EXPECT_EQ(violated_field(status), "spec.type");
}

TEST_F(JobServiceTest, RefusesAQueueNameOutsideItsAlphabet) {
  v1::JobSpec spec;
  spec.set_type("echo");
  spec.set_queue("Not A Queue");
  v1::SubmitResponse response;
  const grpc::Status status = submit(spec, &response);
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(violated_field(status), "spec.queue");
}

TEST_F(JobServiceTest, PayloadAndResultAtTheirLimitsCanBeRead) {
  const std::string id = submit("echo", std::string(limits::kPayloadBytes, 'x'));
  v1::WatchRequest request;
  request.set_id(id);
  Read read;
  EXPECT_TRUE(watch(request, &read).ok());
  grpc::ClientContext context;
  v1::GetRequest get;
  get.set_id(id);
  v1::Job job;
  const grpc::Status status = stub_->Get(&context, get, &job);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(job.spec().payload().size(), limits::kPayloadBytes);
  EXPECT_EQ(job.outcome().result().size(), limits::kResultBytes);
}

TEST_F(JobServiceTest, RefusesAPayloadOverItsLimit) {
  v1::JobSpec spec;
  spec.set_type("echo");
  spec.set_payload(std::string(limits::kPayloadBytes + 1, 'x'));
  v1::SubmitResponse response;
  const grpc::Status status = submit(spec, &response);
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(violated_field(status), "spec.payload");
}

TEST_F(JobServiceTest, SameIdAndSpecIsTheSameJob) {
  v1::JobSpec spec;
  spec.set_id("a-client-made-id");
  spec.set_type("echo");
  v1::SubmitResponse first;
  v1::SubmitResponse second;
  EXPECT_TRUE(submit(spec, &first).ok());
  EXPECT_TRUE(submit(spec, &second).ok());
  EXPECT_EQ(first.id(), second.id());
  EXPECT_FALSE(first.existing());
  EXPECT_TRUE(second.existing());
  spec.set_payload("other");
  EXPECT_EQ(submit(spec, &second).error_code(), grpc::INVALID_ARGUMENT);
}

TEST_F(JobServiceTest, RefusesTimesAndRetriesThatCannotBe) {
  const auto expect_refused = [&](v1::JobSpec spec, const std::string& field) {
    spec.set_type("echo");
    v1::SubmitResponse response;
    const grpc::Status status = submit(std::move(spec), &response);
    EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT) << field;
    EXPECT_EQ(violated_field(status), "spec." + field);
  };
  v1::JobSpec both;
  both.mutable_delay()->set_seconds(1);
  both.mutable_run_at()->set_seconds(2'000'000'000);
  expect_refused(both, "delay");
  v1::JobSpec too_late;
  const int64_t now = RealClock::instance().wall_ns() / 1'000'000'000;
  too_late.mutable_run_at()->set_seconds(now + 3600);
  too_late.mutable_expire_at()->set_seconds(now + 1800);
  expect_refused(too_late, "expire_at");
  v1::JobSpec far;
  far.mutable_run_at()->set_seconds(now + limits::kRunAtSecondsMax + 60);
  expect_refused(far, "run_at");
  v1::JobSpec hasty;
  hasty.mutable_retry()->mutable_listed()->add_pauses();
  expect_refused(hasty, "retry.listed.pauses[0]");
}

TEST_F(JobServiceTest, ASubmissionThatSaysAnotherTimeIsNotTheSame) {
  v1::JobSpec spec;
  spec.set_type("echo");
  spec.set_idempotency_key("order-7");
  spec.mutable_delay()->set_seconds(3600);
  v1::SubmitResponse first;
  ASSERT_TRUE(submit(spec, &first).ok());
  v1::SubmitResponse again;
  ASSERT_TRUE(submit(spec, &again).ok());
  EXPECT_EQ(again.id(), first.id());
  EXPECT_TRUE(again.existing());
  spec.mutable_delay()->set_seconds(3601);
  EXPECT_EQ(violated_field(submit(spec, &again)), "spec.idempotency_key");
  spec.mutable_delay()->set_seconds(3600);
  spec.mutable_retry()->set_max_attempts(7);
  EXPECT_EQ(violated_field(submit(spec, &again)), "spec.idempotency_key");
}

TEST_F(JobServiceTest, UnknownJobIsNotFoundByEveryMethod) {
  const std::string id = "0000000000000000";
  v1::GetRequest get;
  get.set_id(id);
  v1::Job job;
  grpc::ClientContext get_context;
  EXPECT_EQ(stub_->Get(&get_context, get, &job).error_code(), grpc::NOT_FOUND);
  v1::SendRequest send;
  send.set_id(id);
  v1::SendResponse sent;
  grpc::ClientContext send_context;
  EXPECT_EQ(stub_->Send(&send_context, send, &sent).error_code(), grpc::NOT_FOUND);
  v1::CancelRequest cancel;
  cancel.set_id(id);
  v1::CancelResponse cancelled;
  grpc::ClientContext cancel_context;
  EXPECT_EQ(stub_->Cancel(&cancel_context, cancel, &cancelled).error_code(), grpc::NOT_FOUND);
  v1::WatchRequest request;
  request.set_id(id);
  Read read;
  EXPECT_EQ(watch(request, &read).error_code(), grpc::NOT_FOUND);
  request.set_id("short");
  EXPECT_EQ(watch(request, &read).error_code(), grpc::INVALID_ARGUMENT);
}

TEST_F(JobServiceTest, WatchBeyondTheEndIsOutOfRange) {
  const std::string id = submit("count", R"({"to":3})");
  v1::WatchRequest request;
  request.set_id(id);
  Read read;
  EXPECT_TRUE(watch(request, &read).ok());
  request.set_from_sequence(100);
  EXPECT_EQ(watch(request, &read).error_code(), grpc::OUT_OF_RANGE);
}

TEST_F(JobServiceTest, TwoWatchersFromDifferentSequencesAreEachComplete) {
  const std::string id = submit("count", R"({"to":2000})");
  v1::WatchRequest request;
  request.set_id(id);
  Read all;
  EXPECT_TRUE(watch(request, &all).ok());
  request.set_from_sequence(1500);
  Read tail;
  EXPECT_TRUE(watch(request, &tail).ok());
  EXPECT_EQ(all.chunks.size(), 2000u);
  ASSERT_EQ(tail.chunks.size(), 501u);
  EXPECT_EQ(tail.sequences.front(), 1500u);
}

TEST_F(JobServiceTest, AttachGivesCreditAndSends) {
  const std::string id = submit("count", R"({"to":1000000000})", v1::STREAM_POLICY_PAUSE);
  Attached attached(*stub_, id, 10);
  attached.read(10);
  EXPECT_EQ(attached.got.chunks[9], "10");
  attached.send(1, R"({"step":1000})");
  // The step changes at some later value, at the latest beyond the window.
  attached.credit(20'000);
  attached.read(20'000);
  const auto& chunks = attached.got.chunks;
  ASSERT_GE(chunks.size(), 20'000u);
  EXPECT_EQ(std::stoll(chunks[19'999]) - std::stoll(chunks[19'998]), 1000);
  v1::AttachRequest request;
  request.mutable_cancel()->set_reason("enough");
  attached.stream().Write(request);
  attached.credit(1'000'000);  // what was computed ahead comes before the end
  EXPECT_TRUE(attached.finish().ok());
  ASSERT_TRUE(attached.got.finished);
  EXPECT_EQ(attached.got.finished->state(), v1::JOB_STATE_CANCELLED);
}

TEST_F(JobServiceTest, AttachAcknowledgesSendsAlsoWhenTheyAreRepeated) {
  const std::string id = submit("count", R"({"to":1000000000})", v1::STREAM_POLICY_PAUSE);
  for (int connection = 0; connection < 2; ++connection) {
    Attached attached(*stub_, id, 10, "the-sender");
    for (uint64_t number = 1; number <= 3; ++number) attached.send(number, R"({"step":2})");
    attached.read_accepted(3);
    EXPECT_EQ(attached.accepted, 3u);
    attached.context().TryCancel();
  }
  grpc::ClientContext context;
  v1::GetRequest get;
  get.set_id(id);
  v1::Job job;
  EXPECT_TRUE(stub_->Get(&context, get, &job).ok());
  EXPECT_EQ(job.last_send(), 3u);
}

// A job that is out of credit takes no sends: the credit behind them must reach it.
TEST_F(JobServiceTest, SendsBeyondTheJobsBoundWaitAndLetCreditPass) {
  constexpr uint64_t kSends = 3 * limits::kUnconsumedSends;
  const std::string id = submit("count", R"({"to":1000000000})", v1::STREAM_POLICY_PAUSE);
  Attached attached(*stub_, id, 1);
  attached.read(1);
  uint64_t sent = 0;
  for (uint64_t credit = 1000; sent < kSends; credit += 100'000) {
    const uint64_t end = std::min(kSends, attached.accepted + limits::kUnconsumedSends);
    while (sent < end) attached.send(++sent, R"({"step":2})");
    attached.credit(credit);
    attached.read_accepted(end - limits::kUnconsumedSends / 2);
    ASSERT_GE(attached.accepted, end - limits::kUnconsumedSends / 2);
  }
  v1::AttachRequest request;
  request.mutable_cancel();
  attached.stream().Write(request);
  attached.credit(UINT64_MAX);
  EXPECT_TRUE(attached.finish().ok());
  EXPECT_TRUE(attached.got.finished);
}

TEST_F(JobServiceTest, CancelPassesSendsThatTheirJobNeverTakes) {
  const std::string id = submit("sleep", R"({"ms":600000})");
  Attached attached(*stub_, id, 1);
  for (uint64_t number = 1; number <= limits::kUnconsumedSends + 10; ++number) {
    attached.send(number, "{}");
  }
  attached.read_accepted(limits::kUnconsumedSends);
  v1::AttachRequest request;
  request.mutable_cancel();
  attached.stream().Write(request);
  EXPECT_TRUE(attached.finish().ok());
  ASSERT_TRUE(attached.got.finished);
  EXPECT_EQ(attached.got.finished->state(), v1::JOB_STATE_CANCELLED);
}

TEST_F(JobServiceTest, AttachHalfClosedByTheClientGoesOnToTheEnd) {
  const std::string id = submit("count", R"({"to":100})", v1::STREAM_POLICY_PAUSE);
  Attached attached(*stub_, id, 1000);
  attached.stream().WritesDone();
  EXPECT_TRUE(attached.finish().ok());
  EXPECT_EQ(attached.got.chunks.size(), 100u);
  EXPECT_TRUE(attached.got.finished);
}

TEST_F(JobServiceTest, AttachRefusesMessagesInTheWrongOrder) {
  grpc::ClientContext context;
  auto stream = stub_->Attach(&context);
  v1::AttachRequest request;
  request.set_credit(5);
  stream->Write(request);
  const grpc::Status first = stream->Finish();
  EXPECT_EQ(first.error_code(), grpc::INVALID_ARGUMENT) << first.error_message();

  const std::string id = submit("sleep", R"({"ms":600000})");
  for (const bool second_open : {true, false}) {
    Attached attached(*stub_, id, 1);
    v1::AttachRequest wrong;
    if (second_open) wrong.mutable_open()->set_id(id);
    attached.stream().Write(wrong);
    EXPECT_EQ(attached.finish().error_code(), grpc::INVALID_ARGUMENT);
  }
  grpc::ClientContext empty_context;
  auto empty = stub_->Attach(&empty_context);
  empty->WritesDone();
  EXPECT_EQ(empty->Finish().error_code(), grpc::INVALID_ARGUMENT);
}

TEST_F(JobServiceTest, RefusesASendOverItsLimit) {
  const std::string id = submit("sleep", R"({"ms":600000})");
  grpc::ClientContext context;
  v1::SendRequest request;
  request.set_id(id);
  request.set_value(std::string(limits::kSendBytes + 1, 'x'));
  v1::SendResponse response;
  const grpc::Status status = stub_->Send(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(violated_field(status), "value");
}

Task<void> wait_until_quiet(JobService* service, std::promise<void>* quiet) {
  co_await service->wait_until_quiet();
  quiet->set_value();
}

TEST_F(JobServiceTest, IsQuietOnceReadersOfEndedJobsHaveEverything) {
  const std::string running = submit("sleep", R"({"ms":600000})");
  Attached of_running(*stub_, running, 1);
  const std::string id = submit("count", R"({"to":3})");
  Attached attached(*stub_, id, 1);
  attached.read(1);
  const auto get_state = [&] {
    grpc::ClientContext context;
    v1::GetRequest get;
    get.set_id(id);
    v1::Job job;
    EXPECT_TRUE(stub_->Get(&context, get, &job).ok());
    return job.state();
  };
  while (get_state() != v1::JOB_STATE_SUCCEEDED) {
  }
  std::promise<void> quiet;
  std::future<void> is_quiet = quiet.get_future();
  on_loop([&] { group_->start(&wait_until_quiet, service_, &quiet); });
  // A reader that asks for nothing for a while has not had everything.
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
  while (std::chrono::steady_clock::now() < until) {
    get_state();
    EXPECT_NE(is_quiet.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  }
  attached.credit(10);
  EXPECT_TRUE(attached.finish().ok());
  EXPECT_TRUE(attached.got.finished);
  is_quiet.wait();
  of_running.context().TryCancel();
}

TEST_F(JobServiceTest, DrainingRefusesSubmissionsOnly) {
  const std::string id = submit("echo", "hello");
  on_loop([this] { service_->drain(); });
  v1::JobSpec spec;
  spec.set_type("echo");
  v1::SubmitResponse response;
  const grpc::Status status = submit(spec, &response);
  EXPECT_EQ(status.error_code(), grpc::UNAVAILABLE);
  EXPECT_FALSE(status.error_details().empty());
  v1::WatchRequest request;
  request.set_id(id);
  Read read;
  EXPECT_TRUE(watch(request, &read).ok());
}

class SmallServerTest : public JobServiceBed {
 protected:
  SmallServerTest() : JobServiceBed({.server = small(), .make_store = {}}) {}
  static RpcServerOptions small() {
    RpcServerOptions options;
    options.held_bytes = 30'000;
    return options;
  }
};

TEST_F(SmallServerTest, RefusesAnAnswerThatIsMoreThanItHolds) {
  const std::string small = submit("sleep", R"({"ms":600000})");
  const std::string large = submit("echo", std::string(20'000, 'x'));
  v1::WatchRequest request;
  request.set_id(large);
  Read read;
  EXPECT_TRUE(watch(request, &read).ok());
  const auto get = [&](const std::string& id) {
    grpc::ClientContext context;
    v1::GetRequest get_request;
    get_request.set_id(id);
    v1::Job job;
    return stub_->Get(&context, get_request, &job);
  };
  const grpc::Status status = get(large);  // its payload and as large a result
  EXPECT_EQ(status.error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_FALSE(status.error_details().empty()) << "it says when to try again";
  // An answer is held a moment longer than it takes to the client.
  const auto nothing_held = [&] { return server_->stats().held_bytes == 0; };
  EXPECT_TRUE(wait_for(nothing_held));
  EXPECT_TRUE(get(small).ok());
  EXPECT_TRUE(wait_for(nothing_held));
}

}  // namespace
}  // namespace weft::testing
