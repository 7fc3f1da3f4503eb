// ChangeJobs: all that match and nothing else, counted before, told page by page, bounded.
#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include <weft/runtime/sleep.h>

#include "tests/rpc/job_service_bed.h"
#include "tests/support/store_wrapper.h"

namespace weft::testing {
namespace {

using Change = v1::ChangeJobsRequest;

class ChangeJobsTest : public JobServiceBed {
 protected:
  explicit ChangeJobsTest(BedSettings settings = {}) : JobServiceBed(std::move(settings)) {}
  // Of a job that does not end by itself.
  std::string submit_to(const std::string& queue) {
    v1::JobSpec spec;
    spec.set_type("sleep");
    spec.set_payload(R"({"ms":3600000})");
    spec.set_queue(queue);
    v1::SubmitResponse response;
    const grpc::Status status = JobServiceBed::submit(std::move(spec), &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.id();
  }
  v1::Job get(const std::string& id) {
    grpc::ClientContext context;
    v1::GetRequest request;
    request.set_id(id);
    v1::Job job;
    stub_->Get(&context, request, &job);
    return job;
  }
  v1::JobState end_of(const std::string& id) {
    v1::WatchRequest request;
    request.set_id(id);
    Read read;
    EXPECT_TRUE(watch(request, &read).ok());
    return get(id).state();
  }
  grpc::Status change(const v1::ChangeJobsRequest& request) {
    told.clear();
    grpc::ClientContext context;
    auto reader = stub_->ChangeJobs(&context, request);
    v1::ChangeJobsProgress progress;
    while (reader->Read(&progress)) told.push_back(progress);
    return reader->Finish();
  }
  static v1::ChangeJobsRequest request_of(Change::Change change, const std::string& queue) {
    v1::ChangeJobsRequest request;
    request.set_change(change);
    request.mutable_filter()->set_queue(queue);
    return request;
  }
  std::vector<v1::ChangeJobsProgress> told;
};

TEST_F(ChangeJobsTest, CancelsRetriesAndDeletesWhatMatches) {
  std::vector<std::string> mine;
  for (int i = 0; i < 40; ++i) mine.push_back(submit_to("mine"));
  const std::string other = submit_to("other");
  v1::ChangeJobsRequest request = request_of(Change::CANCEL, "mine");
  request.set_reason("enough");
  ASSERT_TRUE(change(request).ok());
  ASSERT_FALSE(told.empty());
  EXPECT_TRUE(told.back().done());
  EXPECT_EQ(told.back().matched(), 40u);
  EXPECT_EQ(told.back().changed(), 40u);
  EXPECT_EQ(told.back().left(), 0u);
  for (const std::string& id : mine) {
    EXPECT_EQ(end_of(id), v1::JOB_STATE_CANCELLED);
    EXPECT_EQ(get(id).outcome().error_message(), "enough");
  }
  EXPECT_FALSE(get(other).cancel_requested());
  ASSERT_TRUE(change(request_of(Change::REMOVE, "mine")).ok());
  EXPECT_EQ(told.back().changed(), 40u);
  for (const std::string& id : mine) EXPECT_FALSE(get(id).has_spec());
  ASSERT_TRUE(change(request_of(Change::REMOVE, "mine")).ok());
  EXPECT_EQ(told.back().matched(), 0u);
  EXPECT_TRUE(told.back().done());

  std::vector<std::string> dead;
  for (int i = 0; i < 5; ++i) dead.push_back(submit("count", "no json"));
  for (const std::string& id : dead) ASSERT_EQ(end_of(id), v1::JOB_STATE_DEAD);
  v1::ChangeJobsRequest retry = request_of(Change::RETRY, "");
  retry.mutable_filter()->set_error("no such error");
  ASSERT_TRUE(change(retry).ok());
  EXPECT_EQ(told.back().matched(), 0u);
  retry.mutable_filter()->set_error("JSON");
  ASSERT_TRUE(change(retry).ok());
  EXPECT_EQ(told.back().changed(), 5u);
  for (const std::string& id : dead) {
    ASSERT_EQ(end_of(id), v1::JOB_STATE_DEAD);
    EXPECT_EQ(get(id).attempt(), 2u);
  }
}

TEST_F(ChangeJobsTest, ACountChangesNothingAndItsSnapshotLeavesOutWhatComesLater) {
  const std::string before = submit_to("mine");
  v1::ChangeJobsRequest request = request_of(Change::CANCEL, "mine");
  request.set_count_only(true);
  ASSERT_TRUE(change(request).ok());
  EXPECT_EQ(told.back().matched(), 1u);
  EXPECT_EQ(told.back().changed(), 0u);
  EXPECT_FALSE(get(before).cancel_requested());
  const std::string later = submit_to("mine");
  request.set_count_only(false);
  request.set_snapshot(told.back().snapshot());
  ASSERT_TRUE(change(request).ok());
  EXPECT_EQ(told.back().changed(), 1u);
  EXPECT_EQ(end_of(before), v1::JOB_STATE_CANCELLED);
  EXPECT_FALSE(get(later).cancel_requested());
  request.mutable_filter()->set_queue("other");
  EXPECT_EQ(violated_field(change(request)), "snapshot") << "it is that of another filter";
  request.set_snapshot("garbage");
  EXPECT_EQ(violated_field(change(request)), "snapshot");
}

TEST_F(ChangeJobsTest, WhatCannotBeIsRefusedByName) {
  EXPECT_EQ(violated_field(change(request_of(Change::CHANGE_UNSPECIFIED, "mine"))), "change");
  v1::ChangeJobsRequest request = request_of(Change::RETRY, "mine");
  request.mutable_filter()->add_states(v1::JOB_STATE_QUEUED);
  EXPECT_EQ(violated_field(change(request)), "filter.states");
  request = request_of(Change::REMOVE, "mine");
  request.mutable_filter()->add_states(v1::JOB_STATE_RUNNING);
  EXPECT_EQ(violated_field(change(request)), "filter.states");
  EXPECT_EQ(violated_field(change(request_of(Change::CANCEL, "Not A Queue"))), "filter.queue");
  request = request_of(Change::CANCEL, "mine");
  request.set_reason(std::string(limits::kReasonBytes + 1, 'x'));
  EXPECT_EQ(violated_field(change(request)), "reason");
}

// Retries fail while `full`.
class FullStore final : public StoreWrapper {
 public:
  using StoreWrapper::StoreWrapper;
  Task<StatusOr<v1::Job>> retry(std::string job_id) override {
    most_at_once = std::max(most_at_once, ++at_once);
    co_await yield_now();
    --at_once;
    if (down) co_return make_status(StatusCode::kUnavailable, "away");
    if (job_id.back() == '0') co_return make_status(StatusCode::kResourceExhausted, "full");
    co_return v1::Job();
  }
  Task<StatusOr<JobPage>> list(JobFilter filter, std::string position, size_t) override {
    filters.push_back(filter);
    while (held) co_await sleep_for(std::chrono::milliseconds(1));
    JobPage page;
    page.from = "0";
    const size_t from = position.empty() ? 0 : std::stoul(position);
    for (size_t i = from; i < from + 100; ++i) {
      v1::Job job;
      job.mutable_spec()->set_id("made-up-job-" + std::to_string(i));
      page.jobs.push_back(std::move(job));
    }
    if (from < 200) page.next = std::to_string(from + 100);
    co_return page;
  }
  bool held = false;
  bool down = false;
  size_t at_once = 0;
  size_t most_at_once = 0;
  std::vector<JobFilter> filters;
};

class ManyChangesTest : public ChangeJobsTest {
 protected:
  ManyChangesTest() : ManyChangesTest(std::make_shared<FullStore*>()) {}
  FullStore& store() { return **store_; }

 private:
  explicit ManyChangesTest(std::shared_ptr<FullStore*> store)
      : ChangeJobsTest({.server = {},
                        .make_store =
                            [store] {
                              auto made = std::make_unique<FullStore>(*open_store("memory:"));
                              *store = made.get();
                              return made;
                            }}),
        store_(store) {}
  std::shared_ptr<FullStore*> store_;
};

TEST_F(ManyChangesTest, ArePagedBoundedAndTellWhatWasLeft) {
  ASSERT_TRUE(change(request_of(Change::RETRY, "mine")).ok());
  ASSERT_EQ(told.size(), 3u) << "one message a page";
  EXPECT_EQ(told[0].matched(), 100u);
  EXPECT_FALSE(told[1].done());
  EXPECT_TRUE(told[2].done());
  EXPECT_EQ(told[2].matched(), 300u);
  EXPECT_EQ(told[2].changed(), 270u);
  EXPECT_EQ(told[2].left(), 30u);
  EXPECT_EQ(told[2].first_error().code(), grpc::RESOURCE_EXHAUSTED);
  on_loop([this] {
    EXPECT_EQ(store().most_at_once, limits::kChangesAtOnce);
    EXPECT_EQ(store().filters.back().states, std::vector{v1::JOB_STATE_DEAD});
  });
}

TEST_F(ManyChangesTest, EndWithTheStoresOutageAndDoNotCountItAsLeft) {
  on_loop([this] { store().down = true; });
  EXPECT_EQ(change(request_of(Change::RETRY, "mine")).error_code(), grpc::UNAVAILABLE);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].left(), 0u);
  EXPECT_FALSE(told[0].done());
}

TEST_F(ManyChangesTest, AreNoMoreCallsAtOnceThanTheirLimit) {
  on_loop([this] { store().held = true; });
  std::vector<std::future<grpc::Status>> calls;
  for (size_t i = 0; i < limits::kChangeCalls; ++i) {
    calls.push_back(std::async(std::launch::async, [this] {
      grpc::ClientContext context;
      auto reader = stub_->ChangeJobs(&context, request_of(Change::RETRY, "mine"));
      v1::ChangeJobsProgress progress;
      while (reader->Read(&progress)) {
      }
      return reader->Finish();
    }));
  }
  ASSERT_TRUE(wait_for([this] { return store().filters.size() == limits::kChangeCalls; }));
  EXPECT_EQ(change(request_of(Change::RETRY, "mine")).error_code(), grpc::RESOURCE_EXHAUSTED);
  on_loop([this] { store().held = false; });
  for (auto& call : calls) EXPECT_TRUE(call.get().ok());
  EXPECT_TRUE(change(request_of(Change::RETRY, "mine")).ok());
}

}  // namespace
}  // namespace weft::testing
