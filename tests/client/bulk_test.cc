// Batches, submit streams, lists and the rest of the blocking client's calls.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <set>

#include <weft/base/limits.h>
#include <weft/client/client.h>

#include "tests/client/fake_server.h"

namespace weft {
namespace {

using testing::accept_all;
using ::testing::ElementsAre;
using testing::FakeServer;
using ::testing::HasSubstr;
using testing::restarting;

Client client_of(const FakeServer& server) { return Client({.server = server.address()}); }

v1::JobSpec echo_spec(const std::string& payload = "") {
  v1::JobSpec spec;
  spec.set_type("echo");
  spec.set_payload(payload);
  return spec;
}

TEST(Client, GivesEachSubmissionAnIdAndAKeyThatStayTheSameWhenItIsRepeated) {
  std::vector<v1::SubmitBatchRequest> seen;
  FakeServer server;
  server.on_batch = [&](const v1::SubmitBatchRequest& request, v1::SubmitBatchResponse* response) {
    seen.push_back(request);
    if (seen.size() == 1) return restarting();
    for (int i = 0; i < request.specs_size(); ++i) {
      response->add_answers()->mutable_accepted()->set_id(request.specs(i).id());
    }
    return grpc::Status::OK;
  };
  v1::JobSpec keyed = echo_spec();
  keyed.set_idempotency_key("order-17");
  v1::JobSpec named = echo_spec();
  named.set_id("my-very-own-id");
  const auto answer = client_of(server).submit_batch({echo_spec(), keyed, named});
  ASSERT_TRUE(answer.ok()) << answer.status();
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].SerializeAsString(), seen[1].SerializeAsString());
  const v1::SubmitBatchRequest& request = seen[1];
  EXPECT_FALSE(request.specs(0).id().empty());
  EXPECT_EQ(request.specs(0).idempotency_key(), request.specs(0).id());
  EXPECT_FALSE(request.specs(1).id().empty());
  EXPECT_EQ(request.specs(1).idempotency_key(), "order-17");
  EXPECT_EQ(request.specs(2).id(), "my-very-own-id");
  EXPECT_EQ(request.specs(2).idempotency_key(), "my-very-own-id");
}

TEST(Client, RefusesABatchOverItsLimitsByItself) {
  int calls = 0;
  FakeServer server;
  server.on_batch = [&](const v1::SubmitBatchRequest&, v1::SubmitBatchResponse*) {
    ++calls;
    return grpc::Status::OK;
  };
  Client client = client_of(server);
  EXPECT_TRUE(client.submit_batch(std::vector(limits::kBatchJobs, echo_spec())).ok());
  const auto many = client.submit_batch(std::vector(limits::kBatchJobs + 1, echo_spec()));
  EXPECT_EQ(many.status().code(), StatusCode::kInvalidArgument);
  const std::string half(limits::kBatchBytes / 2, 'x');
  const auto long_one = client.submit_batch({echo_spec(half), echo_spec(half)});
  EXPECT_EQ(long_one.status().code(), StatusCode::kInvalidArgument);
  v1::JobSpec bad = echo_spec();
  bad.set_queue("\xff");
  const auto named = client.submit_batch({echo_spec(), bad});
  EXPECT_THAT(std::string(named.status().message()), HasSubstr("specs[1].queue"));
  EXPECT_EQ(calls, 1);
}

TEST(SubmitStream, AnswersEveryJobAndSendsManyInOneMessage) {
  constexpr uint64_t kJobs = 20'000;
  int messages = 0, longest = 0;
  uint64_t next = 0;
  FakeServer server;
  server.on_bulk = [&](FakeServer::BulkStream& stream) {
    v1::SubmitStreamRequest request;
    while (stream.Read(&request)) {
      ++messages;
      longest = std::max(longest, request.specs_size());
      stream.Write(accept_all(request, &next));
    }
    return grpc::Status::OK;
  };
  std::set<std::string> answered;
  SubmitStream stream = client_of(server).submit_stream(
      [&](const v1::SubmitAnswer& answer) { answered.insert(answer.accepted().id()); });
  std::set<std::string> written;
  for (uint64_t i = 0; i < kJobs; ++i) {
    const auto id = stream.write(echo_spec());
    ASSERT_TRUE(id.ok()) << id.status();
    written.insert(*id);
  }
  const Status finished = stream.finish();
  EXPECT_TRUE(finished.ok()) << finished;
  EXPECT_EQ(stream.unanswered(), 0u);
  EXPECT_EQ(written.size(), kJobs);
  EXPECT_EQ(answered, written);
  EXPECT_GT(longest, 100) << "in " << messages << " messages";
}

TEST(SubmitStream, WritesNoFurtherThanItsLimitOfUnansweredJobs) {
  std::promise<void> answer_now;
  std::atomic<uint64_t> received = 0;
  FakeServer server;
  server.on_bulk = [&](FakeServer::BulkStream& stream) {
    v1::SubmitStreamRequest request;
    std::vector<v1::SubmitStreamResponse> owed;
    uint64_t next = 0;
    // The first job goes out alone; full messages follow, and the rest when all is answered.
    while (next + 256 <= limits::kSubmitStreamJobs && stream.Read(&request)) {
      owed.push_back(accept_all(request, &next));
      received = next;
    }
    answer_now.get_future().wait();
    for (const auto& response : owed) stream.Write(response);
    while (stream.Read(&request)) stream.Write(accept_all(request, &next));
    return grpc::Status::OK;
  };
  SubmitStream stream = client_of(server).submit_stream([](const v1::SubmitAnswer&) {});
  for (size_t i = 0; i < limits::kSubmitStreamJobs; ++i) {
    ASSERT_TRUE(stream.write(echo_spec()).ok());
  }
  EXPECT_EQ(stream.unanswered(), limits::kSubmitStreamJobs);
  auto waiting = std::async(std::launch::async, [&] { return stream.write(echo_spec()).status(); });
  EXPECT_EQ(waiting.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  EXPECT_LE(received, limits::kSubmitStreamJobs);
  answer_now.set_value();
  EXPECT_TRUE(waiting.get().ok());
  EXPECT_TRUE(stream.finish().ok());
}

TEST(SubmitStream, RefusesAJobThatNoMessageHoldsAndGoesOn) {
  uint64_t next = 0;
  size_t longest = 0;
  FakeServer server;
  server.on_bulk = [&](FakeServer::BulkStream& stream) {
    v1::SubmitStreamRequest request;
    while (stream.Read(&request)) {
      longest = std::max(longest, request.ByteSizeLong());
      stream.Write(accept_all(request, &next));
    }
    return grpc::Status::OK;
  };
  SubmitStream stream = client_of(server).submit_stream([](const v1::SubmitAnswer&) {});
  v1::JobSpec large = echo_spec();
  large.set_id("0123456789");
  large.set_idempotency_key("0123456789");
  large.set_payload(std::string(limits::kBatchBytes - 100, 'x'));
  v1::SubmitStreamRequest message;
  *message.add_specs() = large;
  const size_t room = limits::kBatchBytes - message.ByteSizeLong();
  large.mutable_payload()->append(room, 'x');
  EXPECT_TRUE(stream.write(large).ok()) << "a message at the limit";
  large.mutable_payload()->push_back('x');
  ASSERT_LE(large.payload().size(), limits::kPayloadBytes);
  const auto refused = stream.write(large);
  EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("use submit"));
  EXPECT_TRUE(stream.write(echo_spec()).ok());
  const Status finished = stream.finish();
  EXPECT_TRUE(finished.ok()) << finished;
  EXPECT_EQ(next, 2u);
  EXPECT_EQ(longest, limits::kBatchBytes);
}

TEST(SubmitStream, ALossEndsIt) {
  FakeServer server;
  server.on_bulk = [&](FakeServer::BulkStream& stream) {
    v1::SubmitStreamRequest request;
    stream.Read(&request);
    return restarting();
  };
  std::atomic<int> answers = 0;
  SubmitStream stream =
      client_of(server).submit_stream([&](const v1::SubmitAnswer&) { ++answers; });
  ASSERT_TRUE(stream.write(echo_spec()).ok());
  EXPECT_EQ(stream.finish().code(), StatusCode::kUnavailable);
  EXPECT_EQ(stream.write(echo_spec()).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(answers, 0);
}

TEST(SubmitStream, AServerThatEndsEarlyHasNotAnswered) {
  FakeServer server;
  server.on_bulk = [&](FakeServer::BulkStream& stream) {
    v1::SubmitStreamRequest request;
    stream.Read(&request);
    return grpc::Status::OK;
  };
  SubmitStream stream = client_of(server).submit_stream([](const v1::SubmitAnswer&) {});
  ASSERT_TRUE(stream.write(echo_spec()).ok());
  EXPECT_EQ(stream.finish().code(), StatusCode::kUnavailable);
}

TEST(SubmitStream, StopAndTheDestructorEndWhatWaits) {
  FakeServer server;
  server.on_bulk = [&](FakeServer::BulkStream& stream) {
    v1::SubmitStreamRequest request;
    while (stream.Read(&request)) {
    }
    return grpc::Status::OK;
  };
  Client client = client_of(server);
  SubmitStream stream = client.submit_stream([](const v1::SubmitAnswer&) {});
  for (size_t i = 0; i < limits::kSubmitStreamJobs; ++i) ASSERT_TRUE(stream.write({}).ok());
  auto waiting = std::async(std::launch::async, [&] { return stream.write({}).status(); });
  stream.stop();
  EXPECT_EQ(waiting.get().code(), StatusCode::kCancelled);
  SubmitStream dropped = client.submit_stream([](const v1::SubmitAnswer&) {});
  ASSERT_TRUE(dropped.write(echo_spec()).ok());
}

TEST(Client, ListFollowsThePages) {
  std::vector<std::string> asked;
  FakeServer server;
  server.on_list = [&](const v1::ListJobsRequest& request, v1::ListJobsResponse* response) {
    asked.push_back(request.filter().queue() + ":" + request.page_token());
    const auto add = [&](const char* id) { response->add_jobs()->mutable_spec()->set_id(id); };
    if (asked.size() == 1) {
      add("a"), add("b");
      response->set_next_page_token("1");
    } else if (asked.size() == 2) {  // a page may be empty and still go on
      response->set_next_page_token("2");
    } else if (asked.size() == 3) {
      add("c");
    } else {
      return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "a token of another request");
    }
    return grpc::Status::OK;
  };
  Client client = client_of(server);
  v1::ListJobsRequest request;
  request.mutable_filter()->set_queue("mail");
  std::vector<std::string> ids;
  JobList jobs = client.jobs(request);
  for (const v1::Job& job : jobs) ids.push_back(job.spec().id());
  EXPECT_TRUE(jobs.status().ok()) << jobs.status();
  EXPECT_THAT(ids, ElementsAre("a", "b", "c"));
  EXPECT_THAT(asked, ElementsAre("mail:", "mail:1", "mail:2"));
  JobList refused = client.jobs(request);
  for (const v1::Job& job : refused) ADD_FAILURE() << job.spec().id();
  EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument);
}

TEST(Client, ChangesGoOnWithTheirSnapshotWhenTheConnectionBreaks) {
  std::vector<std::string> snapshots;
  FakeServer server;
  server.on_change_jobs = [&](const v1::ChangeJobsRequest& request,
                              grpc::ServerWriter<v1::ChangeJobsProgress>* writer) {
    snapshots.push_back(request.snapshot());
    v1::ChangeJobsProgress progress;
    progress.set_snapshot("as of then");
    progress.set_matched(snapshots.size() < 3 ? 1000 : 100);
    progress.set_changed(snapshots.size() < 3 ? 400 : 99);
    progress.set_left(snapshots.size() < 3 ? 0 : 1);
    progress.set_done(snapshots.size() == 3);
    writer->Write(progress);
    return snapshots.size() == 3 ? grpc::Status::OK : restarting();
  };
  Client client = client_of(server);
  v1::ChangeJobsRequest request;
  request.set_change(v1::ChangeJobsRequest::CANCEL);
  std::vector<uint64_t> told;
  const auto done = client.change_jobs(
      request, [&](const v1::ChangeJobsProgress& progress) { told.push_back(progress.changed()); });
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_THAT(snapshots, ElementsAre("", "as of then", "as of then"));
  EXPECT_THAT(told, ElementsAre(400u, 800u, 899u));
  EXPECT_EQ(done->matched(), 900u);
  EXPECT_EQ(done->left(), 1u);
}

TEST(Client, RepeatsARetryAndARemoveWhoseAnswersWereLost) {
  int tries = 0;
  v1::JobState state = v1::JOB_STATE_RUNNING;
  FakeServer server;
  server.on_retry = [&](const v1::RetryRequest&, v1::Job*) {
    return ++tries == 1 ? restarting()
                        : grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "it is not dead");
  };
  server.on_delete = [&](const v1::DeleteRequest&) {
    return ++tries == 1 ? restarting()
                        : grpc::Status(grpc::StatusCode::NOT_FOUND, "there is no such job");
  };
  server.on_get = [&](const v1::GetRequest& request, v1::Job* job) {
    job->mutable_spec()->set_id(request.id());
    job->set_state(state);
    return grpc::Status::OK;
  };
  Client client = client_of(server);
  const auto job = client.retry("0123456789");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->state(), v1::JOB_STATE_RUNNING);
  tries = 0;
  state = v1::JOB_STATE_CANCELLED;  // nobody has retried that
  EXPECT_EQ(client.retry("0123456789").status().code(), StatusCode::kFailedPrecondition);
  tries = 0;
  EXPECT_TRUE(client.remove("0123456789").ok());
  // At the first try both mean what they say.
  state = v1::JOB_STATE_RUNNING;
  EXPECT_EQ(client.retry("0123456789").status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(client.remove("0123456789").code(), StatusCode::kNotFound);
}

TEST(Client, RetriesRemovesAndLooksAtWorkers) {
  FakeServer server;
  server.on_retry = [](const v1::RetryRequest& request, v1::Job* job) {
    job->mutable_spec()->set_id(request.id());
    job->set_state(v1::JOB_STATE_QUEUED);
    return grpc::Status::OK;
  };
  server.on_delete = [](const v1::DeleteRequest& request) {
    return request.id() == "0123456789"
               ? grpc::Status::OK
               : grpc::Status(grpc::StatusCode::NOT_FOUND, "there is no such job");
  };
  server.workers.on_list = [](v1::ListWorkersResponse* response) {
    response->add_workers()->set_name("host-1");
    return grpc::Status::OK;
  };
  server.workers.on_dump = [](const v1::DumpWorkerRequest& request,
                              v1::DumpWorkerResponse* response) {
    response->set_text("tasks of " + request.name());
    return grpc::Status::OK;
  };
  Client client = client_of(server);
  const auto job = client.retry("0123456789");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->state(), v1::JOB_STATE_QUEUED);
  EXPECT_TRUE(client.remove("0123456789").ok());
  EXPECT_EQ(client.remove("9876543210").code(), StatusCode::kNotFound);
  const auto workers = client.workers();
  ASSERT_TRUE(workers.ok()) << workers.status();
  EXPECT_EQ(workers->workers(0).name(), "host-1");
  const auto dump = client.dump("host-1");
  ASSERT_TRUE(dump.ok()) << dump.status();
  EXPECT_EQ(*dump, "tasks of host-1");
}

}  // namespace
}  // namespace weft
