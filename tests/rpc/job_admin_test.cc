// List, Retry, Delete: pages, tokens and bounds over a store that holds what the test says, and all
// three over a real one.
#include <gtest/gtest.h>

#include <set>

#include "tests/rpc/job_service_bed.h"
#include "tests/support/store_wrapper.h"

namespace weft::testing {
namespace {

// Lists made-up jobs. Positions are indexes.
class ListedStore final : public StoreWrapper {
 public:
  using StoreWrapper::StoreWrapper;

  Task<StatusOr<JobPage>> list(JobFilter filter, std::string position, size_t max_jobs) override {
    if (!position.empty() && position.find_first_not_of("0123456789") != std::string::npos) {
      co_return make_status(StatusCode::kInvalidArgument, "not a position");
    }
    last_filter = filter;
    last_max = max_jobs;
    JobPage page;
    size_t at = position.empty() ? 0 : std::stoul(position);
    for (; at < jobs.size() && page.jobs.size() < max_jobs; ++at) page.jobs.push_back(jobs[at]);
    if (at < jobs.size()) page.next = std::to_string(at);
    co_return page;
  }

  std::vector<v1::Job> jobs;
  JobFilter last_filter;
  size_t last_max = 0;
};

class ListTest : public JobServiceBed {
 protected:
  ListTest() : ListTest(std::make_shared<ListedStore*>()) {}
  ListedStore& store() { return **store_; }
  void fill(size_t count, const std::string& label = "") {
    on_loop([&] {
      for (size_t i = 0; i < count; ++i) {
        v1::Job job;
        job.mutable_spec()->set_id("job-" + std::to_string(i));
        if (!label.empty()) (*job.mutable_spec()->mutable_metadata())["label"] = label;
        store().jobs.push_back(std::move(job));
      }
    });
  }
  grpc::Status list(const v1::ListJobsRequest& request) {
    page.Clear();
    grpc::ClientContext context;
    auto usual = v1::JobService::NewStub(channel({}));  // takes 4 MiB, like most clients
    return usual->List(&context, request, &page);
  }
  v1::ListJobsResponse page;

 private:
  explicit ListTest(std::shared_ptr<ListedStore*> store)
      : JobServiceBed({.server = {},
                       .make_store =
                           [store] {
                             auto listed = std::make_unique<ListedStore>(*open_store("memory:"));
                             *store = listed.get();
                             return listed;
                           }}),
        store_(store) {}
  std::shared_ptr<ListedStore*> store_;
};

TEST_F(ListTest, PagesFollowEachOtherToTheEnd) {
  fill(250);
  v1::ListJobsRequest request;
  std::vector<int> sizes;
  std::vector<std::string> ids;
  do {
    const grpc::Status status = list(request);
    ASSERT_TRUE(status.ok()) << status.error_message();
    sizes.push_back(page.jobs_size());
    for (const v1::Job& job : page.jobs()) ids.push_back(job.spec().id());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(sizes, (std::vector<int>{100, 100, 50}));
  ASSERT_EQ(ids.size(), 250u);
  for (size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(ids[i], "job-" + std::to_string(i));
}

TEST_F(ListTest, TakesPageSizesUpToItsLimit) {
  fill(1200);
  v1::ListJobsRequest request;
  request.set_page_size(limits::kPageSizeMax);
  ASSERT_TRUE(list(request).ok());
  EXPECT_EQ(page.jobs_size(), limits::kPageSizeMax);
  for (const int wrong : {limits::kPageSizeMax + 1, -1}) {
    request.set_page_size(wrong);
    const grpc::Status status = list(request);
    EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
    EXPECT_EQ(violated_field(status), "page_size");
    EXPECT_NE(status.error_message().find("1000"), std::string::npos);
  }
}

TEST_F(ListTest, FiltersReachTheStoreAndWrongOnesAreNamed) {
  v1::ListJobsRequest request;
  request.mutable_filter()->add_states(v1::JOB_STATE_DEAD);
  request.mutable_filter()->add_states(v1::JOB_STATE_QUEUED);
  request.mutable_filter()->add_states(v1::JOB_STATE_DEAD);
  request.mutable_filter()->set_queue("mail");
  request.mutable_filter()->set_type("echo");
  ASSERT_TRUE(list(request).ok());
  const JobFilter filter = on_loop([&] { return store().last_filter; });
  EXPECT_EQ(filter.states, (std::vector{v1::JOB_STATE_DEAD, v1::JOB_STATE_QUEUED}));
  EXPECT_EQ(filter.queue, "mail");
  EXPECT_EQ(filter.type, "echo");
  v1::ListJobsRequest wrong = request;
  wrong.mutable_filter()->set_queue("Not A Queue");
  EXPECT_EQ(violated_field(list(wrong)), "filter.queue");
  wrong = request;
  wrong.mutable_filter()->set_type("not a type");
  EXPECT_EQ(violated_field(list(wrong)), "filter.type");
  wrong = request;
  wrong.mutable_filter()->add_states(static_cast<v1::JobState>(99));
  EXPECT_EQ(violated_field(list(wrong)), "filter.states[3]");
  wrong = request;
  wrong.mutable_filter()->set_error(std::string(limits::kErrorFilterBytes, 'x'));
  EXPECT_TRUE(list(wrong).ok());
  wrong.mutable_filter()->set_error(std::string(limits::kErrorFilterBytes + 1, 'x'));
  EXPECT_EQ(violated_field(list(wrong)), "filter.error");
  wrong = request;
  wrong.mutable_filter()->set_idempotency_key(std::string(limits::kIdempotencyKeyBytes + 1, 'x'));
  EXPECT_EQ(violated_field(list(wrong)), "filter.idempotency_key");
  wrong = request;
  wrong.mutable_filter()->mutable_submitted_from()->set_nanos(-1);
  EXPECT_EQ(violated_field(list(wrong)), "filter.submitted_from");
  wrong = request;
  wrong.mutable_filter()->mutable_submitted_from()->set_seconds(100);
  wrong.mutable_filter()->mutable_submitted_before()->set_seconds(100);
  EXPECT_EQ(violated_field(list(wrong)), "filter.submitted_before");
}

TEST_F(ListTest, RefusesATokenOfAnotherQueryAndWhatIsNoToken) {
  fill(30);
  v1::ListJobsRequest request;
  request.set_page_size(10);
  request.mutable_filter()->set_queue("mail");
  request.mutable_filter()->add_states(v1::JOB_STATE_DEAD);
  ASSERT_TRUE(list(request).ok());
  const std::string token = page.next_page_token();
  request.set_page_token(token);
  request.set_page_size(5);  // how much comes at once is not what is asked
  EXPECT_TRUE(list(request).ok());
  std::vector<v1::ListJobsRequest> wrong(10, request);
  wrong[0].mutable_filter()->set_queue("post");
  wrong[1].mutable_filter()->clear_states();
  wrong[2].mutable_filter()->set_type("echo");
  wrong[3].set_page_token("garbage");
  wrong[4].set_page_token(std::string(100'000, 'A'));
  wrong[5].set_page_token(token + "AAAA");
  wrong[6].mutable_filter()->set_error("x");
  wrong[7].mutable_filter()->set_idempotency_key("x");
  wrong[8].mutable_filter()->mutable_submitted_from()->set_seconds(1);
  wrong[9].mutable_filter()->mutable_submitted_before()->set_seconds(1);
  for (const v1::ListJobsRequest& asked : wrong) {
    const grpc::Status status = list(asked);
    EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
    EXPECT_EQ(violated_field(status), "page_token");
    EXPECT_NE(status.error_message().find("leave it empty"), std::string::npos);
  }
}

TEST_F(ListTest, APageOfLargeJobsIsShorterAndTheNextGoesOnBehindIt) {
  fill(1000, std::string(limits::kMetadataBytes, 'x'));
  v1::ListJobsRequest request;
  request.set_page_size(1000);
  size_t seen = 0;
  int pages = 0;
  do {
    const grpc::Status status = list(request);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_LE(page.ByteSizeLong(), limits::kListBytes + limits::kMetadataBytes);
    for (const v1::Job& job : page.jobs()) {
      EXPECT_EQ(job.spec().id(), "job-" + std::to_string(seen++));
    }
    ++pages;
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(seen, 1000u);
  EXPECT_GE(pages, 3);
}

TEST_F(ListTest, IdsOfRetryAndDeleteAreChecked) {
  grpc::ClientContext retry_context;
  v1::RetryRequest retry;
  retry.set_id("short");
  v1::Job job;
  EXPECT_EQ(violated_field(stub_->Retry(&retry_context, retry, &job)), "id");
  grpc::ClientContext delete_context;
  v1::DeleteRequest request;
  request.set_id("short");
  v1::DeleteResponse response;
  EXPECT_EQ(violated_field(stub_->Delete(&delete_context, request, &response)), "id");
}

// Over the real store, with a job that fails for good.
class RetryAndDeleteTest : public JobServiceBed {
 protected:
  v1::Job wait_for_end(const std::string& id) {
    v1::WatchRequest request;
    request.set_id(id);
    Read read;
    EXPECT_TRUE(watch(request, &read).ok());
    return get(id);
  }
  v1::Job get(const std::string& id) {
    grpc::ClientContext context;
    v1::GetRequest request;
    request.set_id(id);
    v1::Job job;
    stub_->Get(&context, request, &job);
    return job;
  }
  grpc::Status retry(const std::string& id, v1::Job* job) {
    grpc::ClientContext context;
    v1::RetryRequest request;
    request.set_id(id);
    return stub_->Retry(&context, request, job);
  }
  grpc::Status remove(const std::string& id) {
    grpc::ClientContext context;
    v1::DeleteRequest request;
    request.set_id(id);
    v1::DeleteResponse response;
    return stub_->Delete(&context, request, &response);
  }
};

TEST_F(RetryAndDeleteTest, ADeadJobRunsAgainAndAnyOtherIsRefused) {
  const std::string id = submit("count", "no json");
  ASSERT_EQ(wait_for_end(id).state(), v1::JOB_STATE_DEAD);
  v1::Job job;
  const grpc::Status status = retry(id, &job);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(job.state(), v1::JOB_STATE_QUEUED);
  const v1::Job again = wait_for_end(id);
  EXPECT_EQ(again.state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(again.attempt(), 2u);
  const std::string running = submit("sleep", R"({"ms":600000})");
  EXPECT_EQ(retry(running, &job).error_code(), grpc::FAILED_PRECONDITION);
  EXPECT_EQ(retry("0000000000000000", &job).error_code(), grpc::NOT_FOUND);
}

TEST_F(RetryAndDeleteTest, GetShowsEveryErrorAndListNone) {
  v1::JobSpec spec;
  spec.set_type("fail");
  spec.set_payload(R"({"message":"no ink"})");
  spec.mutable_retry()->mutable_fixed()->set_nanos(1'000'000);
  v1::SubmitResponse response;
  ASSERT_TRUE(submit(std::move(spec), &response).ok());
  const v1::Job dead = wait_for_end(response.id());
  EXPECT_EQ(dead.failures(), limits::kAttempts);
  ASSERT_EQ(dead.errors_size(), static_cast<int>(limits::kAttempts));
  EXPECT_EQ(dead.errors(0).error_message(), "no ink");
  grpc::ClientContext context;
  v1::ListJobsResponse page;
  ASSERT_TRUE(stub_->List(&context, v1::ListJobsRequest(), &page).ok());
  ASSERT_EQ(page.jobs_size(), 1);
  EXPECT_EQ(page.jobs(0).failures(), limits::kAttempts);
  EXPECT_EQ(page.jobs(0).errors_size(), 0);
}

TEST_F(RetryAndDeleteTest, AFinishedJobIsForgottenAndARunningOneIsNot) {
  const std::string id = submit("echo", "x");
  wait_for_end(id);
  EXPECT_TRUE(remove(id).ok());
  EXPECT_EQ(remove(id).error_code(), grpc::NOT_FOUND);
  EXPECT_FALSE(get(id).has_spec());
  const std::string running = submit("sleep", R"({"ms":600000})");
  EXPECT_EQ(remove(running).error_code(), grpc::FAILED_PRECONDITION);
}

// An attached reader without credit stays, and with it what the server knows of the stream.
class StayingReader {
 public:
  StayingReader(v1::JobService::Stub& stub, const std::string& id) : call_(stub.Attach(&context_)) {
    v1::AttachRequest request;
    request.mutable_open()->set_id(id);
    call_->Write(request);
  }
  void leave() { context_.TryCancel(); }
  grpc::Status finish() {
    v1::Event event;
    while (call_->Read(&event)) {
    }
    return call_->Finish();
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::AttachRequest, v1::Event>> call_;
};

TEST_F(RetryAndDeleteTest, ReadersThatStayAreToldOfARemoval) {
  const std::string id = submit("count", R"({"to":5})");
  wait_for_end(id);
  StayingReader reader(*stub_, id);
  ASSERT_TRUE(wait_for([&] { return hub_->stats().readers == 1; }));
  ASSERT_TRUE(get(id).has_spec());
  EXPECT_TRUE(remove(id).ok());
  EXPECT_EQ(reader.finish().error_code(), grpc::NOT_FOUND);
}

TEST_F(RetryAndDeleteTest, AWatchAfterARetryIsToldTheNewOutcome) {
  v1::JobSpec spec;
  spec.set_type("count");
  spec.set_payload(R"({"to":1000000,"delay_ms":5})");
  spec.mutable_attempt_timeout()->set_nanos(200'000'000);
  spec.mutable_retry()->set_max_attempts(1);
  v1::SubmitResponse response;
  ASSERT_TRUE(submit(std::move(spec), &response).ok());
  const std::string id = response.id();
  const v1::Job first = wait_for_end(id);
  ASSERT_EQ(first.state(), v1::JOB_STATE_DEAD);
  ASSERT_GT(first.last_sequence(), 0u);
  StayingReader reader(*stub_, id);
  ASSERT_TRUE(wait_for([&] { return hub_->stats().readers == 1; }));
  v1::Job job;
  ASSERT_TRUE(retry(id, &job).ok());
  v1::WatchRequest request;
  request.set_id(id);
  Read read;
  EXPECT_TRUE(watch(request, &read).ok());
  ASSERT_TRUE(read.finished.has_value());
  EXPECT_GT(read.finished->last_sequence(), first.last_sequence());
  reader.leave();
  reader.finish();
}

TEST_F(RetryAndDeleteTest, ListsWhatTheStoreHasPageByPage) {
  std::set<std::string> submitted;
  for (int i = 0; i < 25; ++i) submitted.insert(submit("echo", "x"));
  for (const std::string& id : submitted) wait_for_end(id);
  submit("sleep", R"({"ms":600000})");
  v1::ListJobsRequest request;
  request.set_page_size(10);
  request.mutable_filter()->add_states(v1::JOB_STATE_SUCCEEDED);
  request.mutable_filter()->set_type("echo");
  std::set<std::string> listed;
  do {
    grpc::ClientContext context;
    v1::ListJobsResponse page;
    const grpc::Status status = stub_->List(&context, request, &page);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_LE(page.jobs_size(), 10);
    for (const v1::Job& job : page.jobs()) {
      EXPECT_TRUE(listed.insert(job.spec().id()).second) << "listed twice";
      EXPECT_EQ(job.spec().payload(), "") << "without payloads";
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(listed, submitted);
}

}  // namespace
}  // namespace weft::testing
