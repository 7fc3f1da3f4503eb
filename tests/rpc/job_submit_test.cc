// SubmitBatch: its bounds, and that a bad item is its own trouble only.
#include <gtest/gtest.h>

#include "tests/rpc/job_service_bed.h"

namespace weft::testing {
namespace {

class SubmitBatchTest : public JobServiceBed {
 protected:
  grpc::Status submit_batch(const v1::SubmitBatchRequest& request) {
    answers.Clear();
    grpc::ClientContext context;
    return stub_->SubmitBatch(&context, request, &answers);
  }
  v1::Job get(const std::string& id) {
    grpc::ClientContext context;
    v1::GetRequest request;
    request.set_id(id);
    v1::Job job;
    const grpc::Status status = stub_->Get(&context, request, &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return job;
  }
  v1::SubmitBatchResponse answers;
};

v1::SubmitBatchRequest batch_of(int jobs) {
  v1::SubmitBatchRequest request;
  for (int i = 0; i < jobs; ++i) request.add_specs()->set_type("echo");
  return request;
}

TEST_F(SubmitBatchTest, ABadItemIsNamedAndTheOthersGoIn) {
  v1::SubmitBatchRequest request = batch_of(4);
  request.mutable_specs(1)->set_type("ehco");
  request.mutable_specs(2)->set_queue("Not A Queue");
  request.mutable_specs(3)->set_payload("last");
  const grpc::Status status = submit_batch(request);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(answers.answers_size(), 4);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(answers.answers(i).index(), static_cast<uint64_t>(i));
  EXPECT_EQ(get(answers.answers(0).accepted().id()).spec().type(), "echo");
  EXPECT_EQ(get(answers.answers(3).accepted().id()).spec().payload(), "last");
  const google::rpc::Status& type = answers.answers(1).refused();
  EXPECT_EQ(type.code(), grpc::INVALID_ARGUMENT);
  EXPECT_NE(type.message().find("did you mean 'echo'?"), std::string::npos) << type.message();
  EXPECT_EQ(violated_field(type), "specs[1].type");
  EXPECT_EQ(violated_field(answers.answers(2).refused()), "specs[2].queue");
}

TEST_F(SubmitBatchTest, WhatTheStoreRefusesIsNamedToo) {
  v1::SubmitBatchRequest request = batch_of(3);
  for (v1::JobSpec& spec : *request.mutable_specs()) spec.set_id("one-and-the-same");
  request.mutable_specs(2)->set_payload("not the same");
  ASSERT_TRUE(submit_batch(request).ok());
  EXPECT_FALSE(answers.answers(0).accepted().existing());
  EXPECT_TRUE(answers.answers(1).accepted().existing());
  EXPECT_EQ(violated_field(answers.answers(2).refused()), "specs[2].id");
}

TEST_F(SubmitBatchTest, RefusesMoreJobsThanItsLimitAsAWhole) {
  const auto limit = static_cast<int>(limits::kBatchJobs);
  ASSERT_TRUE(submit_batch(batch_of(limit)).ok());
  ASSERT_EQ(answers.answers_size(), limit);
  for (const v1::SubmitAnswer& answer : answers.answers()) EXPECT_TRUE(answer.has_accepted());
  v1::SubmitBatchRequest over = batch_of(limit + 1);
  over.mutable_specs(0)->set_id("first-of-too-many");
  const grpc::Status status = submit_batch(over);
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(violated_field(status), "specs");
  EXPECT_NE(status.error_message().find("1000"), std::string::npos) << status.error_message();
  grpc::ClientContext context;
  v1::GetRequest get_request;
  get_request.set_id("first-of-too-many");
  v1::Job job;
  EXPECT_EQ(stub_->Get(&context, get_request, &job).error_code(), grpc::NOT_FOUND);
}

TEST_F(SubmitBatchTest, RefusesMoreBytesThanItsLimitAsAWhole) {
  v1::SubmitBatchRequest request = batch_of(2);
  request.mutable_specs(0)->set_payload(std::string(3'000'000, 'x'));
  request.mutable_specs(1)->set_payload(std::string(1'000'000, 'x'));
  const size_t missing = limits::kBatchBytes - request.ByteSizeLong();
  request.mutable_specs(1)->mutable_payload()->append(missing, 'x');
  ASSERT_EQ(request.ByteSizeLong(), limits::kBatchBytes);
  EXPECT_TRUE(submit_batch(request).ok());
  request.mutable_specs(1)->mutable_payload()->push_back('x');
  const grpc::Status status = submit_batch(request);
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(violated_field(status), "specs");
  EXPECT_NE(status.error_message().find("4194304"), std::string::npos) << status.error_message();
}

TEST_F(SubmitBatchTest, AnEmptyBatchIsFine) {
  EXPECT_TRUE(submit_batch({}).ok());
  EXPECT_EQ(answers.answers_size(), 0);
}

TEST_F(SubmitBatchTest, IsRefusedWhileDraining) {
  on_loop([this] { service_->drain(); });
  EXPECT_EQ(submit_batch(batch_of(1)).error_code(), grpc::UNAVAILABLE);
}

TEST_F(SubmitBatchTest, AnswersToAThousandBadItemsFitAClientsUsualMessage) {
  v1::SubmitBatchRequest request;
  for (size_t i = 0; i < limits::kBatchJobs; ++i) {
    request.add_specs()->set_type(std::string(2000, 'x'));
  }
  ASSERT_TRUE(submit_batch(request).ok());
  EXPECT_LT(answers.ByteSizeLong(), size_t{4} << 20);
  EXPECT_EQ(answers.answers(999).refused().code(), grpc::INVALID_ARGUMENT);
}

}  // namespace
}  // namespace weft::testing
