// ScheduleService over a real store: what is refused, and what repeating a call does.
#include "daemon/rpc/schedule_service.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/time_util.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>

#include <functional>
#include <future>
#include <vector>

#include <weft/store/check_schedule.h>
#include <weft/store/memory/memory_store.h>

#include "tests/rpc/test_server.h"

namespace weft::testing {
namespace {

using google::protobuf::util::TimeUtil;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Status only_known(const std::string& type) {
  if (type != "unknown") return absl::OkStatus();
  return field_error("type", "this daemon has no handler for job type 'unknown'");
}

class ScheduleCalls : public ::testing::Test {
 protected:
  using Stub = v1::ScheduleService::Stub;

  static v1::Schedule daily(const std::string& name) {
    v1::Schedule schedule;
    schedule.set_name(name);
    schedule.set_cron("@daily");
    schedule.mutable_job()->set_type("tick");
    schedule.mutable_job()->set_payload("payload");
    return schedule;
  }
  template <typename Request, typename Response>
  Response ok(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
              const Request& request) {
    Response response;
    const grpc::Status status = call(method, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  template <typename Request, typename Response>
  grpc::Status call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request, Response* response) {
    grpc::ClientContext context;
    return (stub_.get()->*method)(&context, request, response);
  }
  grpc::Status create(v1::Schedule schedule, bool replace = false,
                      v1::CreateScheduleResponse* response = nullptr) {
    v1::CreateScheduleRequest request;
    *request.mutable_schedule() = std::move(schedule);
    request.set_replace(replace);
    v1::CreateScheduleResponse own;
    return call(&Stub::Create, request, response != nullptr ? response : &own);
  }
  v1::Schedule get(const std::string& name) {
    v1::GetScheduleRequest request;
    request.set_name(name);
    return ok(&Stub::Get, request);
  }
  // The field that the server names, and its sentence.
  std::string refusal(const std::function<void(v1::Schedule&)>& spoil) {
    v1::Schedule schedule = daily("s");
    spoil(schedule);
    const grpc::Status status = create(std::move(schedule));
    EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT) << status.error_message();
    google::rpc::Status details;
    details.ParseFromString(status.error_details());
    for (const auto& detail : details.details()) {
      google::rpc::BadRequest bad;
      if (detail.UnpackTo(&bad)) {
        return bad.field_violations(0).field() + ": " + status.error_message();
      }
    }
    return "no field: " + status.error_message();
  }
  grpc::Status trigger(const std::string& name, const std::string& id,
                       v1::TriggerScheduleResponse* response) {
    v1::TriggerScheduleRequest request;
    request.set_name(name);
    request.set_job_id(id);
    return call(&Stub::Trigger, request, response);
  }
  size_t jobs() {
    return server_.on_loop([this] { return store_->stats().queued_jobs; });
  }

  explicit ScheduleCalls(const StoreOptions& options = {}) : store_(make_memory_store(options)) {}

  std::unique_ptr<Store> store_;
  ScheduleRunner runner_{*store_, Random(5)};
  ScheduleService service_{*store_, runner_, only_known};
  TestServer server_{service_};
  std::unique_ptr<Stub> stub_ = v1::ScheduleService::NewStub(server_.channel());
};

TEST_F(ScheduleCalls, CreateStoresAScheduleAndSaysWhenItComes) {
  v1::CreateScheduleResponse response;
  ASSERT_TRUE(create(daily("s"), false, &response).ok());
  EXPECT_FALSE(response.existing());
  const v1::Schedule stored = get("s");
  EXPECT_EQ(stored.SerializeAsString(), response.schedule().SerializeAsString());
  EXPECT_EQ(stored.overlap(), v1::OVERLAP_POLICY_SKIP);
  EXPECT_EQ(stored.catch_up(), v1::CATCH_UP_POLICY_SKIP);
  EXPECT_EQ(stored.job().queue(), "default");
  EXPECT_EQ(stored.next_time().seconds() % 86'400, 0);
  EXPECT_GT(stored.next_time().seconds(), stored.create_time().seconds());
  EXPECT_LE(stored.next_time().seconds(), stored.create_time().seconds() + 86'400);
}

TEST_F(ScheduleCalls, CreateAgainIsOkForTheSameScheduleAlone) {
  ASSERT_TRUE(create(daily("s")).ok());
  v1::CreateScheduleResponse response;
  ASSERT_TRUE(create(daily("s"), false, &response).ok());
  EXPECT_TRUE(response.existing());
  v1::Schedule other = daily("s");
  other.mutable_job()->set_payload("other");
  const grpc::Status refused = create(other);
  EXPECT_EQ(refused.error_code(), grpc::ALREADY_EXISTS);
  EXPECT_THAT(refused.error_message(), HasSubstr("--replace"));
  ASSERT_TRUE(create(other, true, &response).ok());
  EXPECT_FALSE(response.existing());
  EXPECT_EQ(get("s").job().payload(), "other");
}

TEST_F(ScheduleCalls, ReplaceKeepsAnEyeOnTheJobBefore) {
  ASSERT_TRUE(create(daily("s")).ok());
  v1::TriggerScheduleResponse first;
  ASSERT_TRUE(trigger("s", "", &first).ok());
  v1::Schedule other = daily("s");
  other.set_cron("@hourly");
  ASSERT_TRUE(create(other, true).ok());
  EXPECT_EQ(get("s").fired(), 0u);
  v1::TriggerScheduleResponse second;
  const grpc::Status refused = trigger("s", "", &second);
  EXPECT_EQ(refused.error_code(), grpc::FAILED_PRECONDITION);
  EXPECT_THAT(refused.error_message(), HasSubstr(first.job_id()));
}

TEST_F(ScheduleCalls, ReplaceCarriesAJobOverThatWaits) {
  v1::Schedule schedule = daily("s");
  schedule.set_overlap(v1::OVERLAP_POLICY_QUEUE);
  ASSERT_TRUE(create(schedule).ok());
  v1::TriggerScheduleResponse first;
  v1::TriggerScheduleResponse second;
  ASSERT_TRUE(trigger("s", "", &first).ok());
  EXPECT_FALSE(first.pending());
  ASSERT_TRUE(trigger("s", "trigger-0002", &second).ok());
  EXPECT_TRUE(second.pending());
  for (const char* payload : {"other", "another"}) {
    schedule.mutable_job()->set_payload(payload);
    ASSERT_TRUE(create(schedule, true).ok());
  }
  v1::TriggerScheduleResponse again;
  ASSERT_TRUE(trigger("s", "trigger-0002", &again).ok());
  EXPECT_TRUE(again.pending());
  const v1::Schedule replaced = get("s");
  EXPECT_EQ(replaced.pending().waits_for(), first.job_id());
  EXPECT_EQ(pending_job(replaced).id(), "trigger-0002");
  EXPECT_EQ(pending_job(replaced).payload(), "payload");
  EXPECT_EQ(replaced.job().payload(), "another");
}

class ScheduleCallsOfASmallQueue : public ScheduleCalls {
 protected:
  ScheduleCallsOfASmallQueue() : ScheduleCalls(one_job()) {}
  static StoreOptions one_job() {
    StoreOptions options;
    options.queued_per_queue = 1;
    return options;
  }
};

TEST_F(ScheduleCallsOfASmallQueue, AFullQueueHoldsUpNoReplaceAndNoDelete) {
  ASSERT_TRUE(create(daily("a")).ok());
  ASSERT_TRUE(create(daily("b")).ok());
  v1::TriggerScheduleResponse response;
  ASSERT_TRUE(trigger("a", "", &response).ok());
  ASSERT_TRUE(trigger("b", "", &response).ok());
  EXPECT_TRUE(response.pending());
  v1::Schedule other = daily("b");
  other.mutable_job()->set_payload("other");
  const grpc::Status replaced = create(other, true);
  EXPECT_TRUE(replaced.ok()) << replaced.error_message();
  EXPECT_EQ(get("b").pending().job_id(), response.job_id());
  EXPECT_EQ(get("b").fired(), 0u);
  v1::DeleteScheduleRequest request;
  request.set_name("b");
  ok(&Stub::Delete, request);
  EXPECT_EQ(jobs(), 1u);
}

TEST_F(ScheduleCallsOfASmallQueue, DeleteSubmitsAJobThatIsOnItsWay) {
  v1::Schedule first = daily("a");
  first.set_overlap(v1::OVERLAP_POLICY_CANCEL_PREVIOUS);
  ASSERT_TRUE(create(first).ok());
  ASSERT_TRUE(create(daily("b")).ok());
  v1::TriggerScheduleResponse response;
  ASSERT_TRUE(trigger("a", "", &response).ok());
  ASSERT_TRUE(trigger("b", "", &response).ok());
  EXPECT_TRUE(response.pending());
  // Its next job cancels the one in the full queue, and is in another.
  first.mutable_job()->set_queue("other");
  ASSERT_TRUE(create(first, true).ok());
  ASSERT_TRUE(trigger("a", "", &response).ok());
  EXPECT_EQ(jobs(), 1u);
  v1::DeleteScheduleRequest request;
  request.set_name("b");
  ok(&Stub::Delete, request);
  EXPECT_EQ(jobs(), 2u);
}

TEST_F(ScheduleCalls, WhatCannotBeIsRefusedByItsField) {
  EXPECT_THAT(refusal([](auto& s) { s.set_name(""); }), HasSubstr("schedule.name: "));
  EXPECT_THAT(refusal([](auto& s) { s.set_name("a b"); }), HasSubstr("schedule.name: "));
  EXPECT_THAT(refusal([](auto& s) { s.set_name(std::string(129, 'a')); }),
              HasSubstr("schedule.name: "));
  EXPECT_THAT(refusal([](auto& s) { s.clear_cron(); }), HasSubstr("schedule.cron: "));
  EXPECT_THAT(refusal([](auto& s) { s.set_cron("0 0 30 2 *"); }),
              HasSubstr("schedule.cron: cron: no year has the day 30"));
  EXPECT_THAT(refusal([](auto& s) { s.set_time_zone("Europe/Atlantis"); }),
              HasSubstr("schedule.time_zone: "));
  EXPECT_THAT(refusal([](auto& s) { s.mutable_interval()->set_nanos(999'000'000); }),
              HasSubstr("schedule.interval: "));
  EXPECT_THAT(refusal([](auto& s) { s.mutable_interval()->set_seconds(366 * 86'400 + 1); }),
              HasSubstr("schedule.interval: "));
  EXPECT_THAT(refusal([](auto& s) {
                s.mutable_interval()->set_seconds(5);
                s.set_time_zone("UTC");
              }),
              HasSubstr("schedule.time_zone: "));
  EXPECT_THAT(refusal([](auto& s) { s.set_overlap(static_cast<v1::OverlapPolicy>(9)); }),
              HasSubstr("schedule.overlap: "));
  EXPECT_THAT(refusal([](auto& s) { s.set_catch_up(static_cast<v1::CatchUpPolicy>(9)); }),
              HasSubstr("schedule.catch_up: "));
  EXPECT_THAT(refusal([](auto& s) { s.mutable_job()->set_id("some-job-id"); }),
              HasSubstr("schedule.job.id: "));
  EXPECT_THAT(refusal([](auto& s) { s.mutable_job()->set_idempotency_key("k"); }),
              HasSubstr("schedule.job.idempotency_key: "));
  EXPECT_THAT(refusal([](auto& s) { s.mutable_job()->mutable_delay()->set_seconds(1); }),
              HasSubstr("schedule.job.delay: "));
  EXPECT_THAT(refusal([](auto& s) { s.mutable_job()->mutable_run_at()->set_seconds(1); }),
              HasSubstr("schedule.job.run_at: "));
  EXPECT_THAT(refusal([](auto& s) { s.mutable_job()->mutable_expire_at()->set_seconds(1); }),
              HasSubstr("schedule.job.expire_at: "));
  EXPECT_THAT(refusal([](auto& s) { s.mutable_job()->set_type(""); }),
              HasSubstr("schedule.job.type: "));
  EXPECT_THAT(refusal([](auto& s) { s.mutable_job()->set_type("unknown"); }),
              HasSubstr("schedule.job.type: this daemon has no handler"));
  EXPECT_THAT(refusal([](auto& s) {
                s.mutable_job()->set_payload(std::string(kSchedulePayloadBytes + 1, 'x'));
              }),
              HasSubstr("schedule.job.payload: "));
  EXPECT_THAT(refusal([](auto& s) { (*s.mutable_job()->mutable_metadata())["weft.tick"] = "x"; }),
              HasSubstr("schedule.job.metadata: "));
  EXPECT_THAT(refusal([](auto& s) {
                (*s.mutable_job()->mutable_metadata())["m"] =
                    std::string(limits::kMetadataBytes - 20, 'x');
              }),
              HasSubstr("schedule.job.metadata: "));
}

TEST_F(ScheduleCalls, BoundsAreAccepted) {
  v1::Schedule schedule = daily(std::string(128, 'a'));
  schedule.mutable_interval()->set_seconds(366 * 86'400);
  schedule.mutable_job()->set_payload(std::string(kSchedulePayloadBytes, 'x'));
  const grpc::Status status = create(schedule);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(ScheduleCalls, UnknownNamesAreNotFound) {
  v1::GetScheduleRequest one;
  one.set_name("none");
  v1::Schedule schedule;
  EXPECT_EQ(call(&Stub::Get, one, &schedule).error_code(), grpc::NOT_FOUND);
  v1::PauseScheduleRequest pause;
  pause.set_name("none");
  EXPECT_EQ(call(&Stub::Pause, pause, &schedule).error_code(), grpc::NOT_FOUND);
  v1::ResumeScheduleRequest resume;
  resume.set_name("none");
  EXPECT_EQ(call(&Stub::Resume, resume, &schedule).error_code(), grpc::NOT_FOUND);
  v1::TriggerScheduleResponse triggered;
  EXPECT_EQ(trigger("none", "", &triggered).error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(trigger("a/b", "", &triggered).error_code(), grpc::INVALID_ARGUMENT);
  v1::DeleteScheduleRequest remove;
  remove.set_name("none");
  v1::DeleteScheduleResponse removed;
  EXPECT_EQ(call(&Stub::Delete, remove, &removed).error_code(), grpc::NOT_FOUND);
}

TEST_F(ScheduleCalls, ListGoesThroughAllByNameWithoutPayloads) {
  for (int i = 0; i < 250; ++i) ASSERT_TRUE(create(daily("s" + std::to_string(1000 + i))).ok());
  v1::ListSchedulesRequest request;
  request.set_page_size(120);
  std::vector<std::string> names;
  size_t pages = 0;
  do {
    const v1::ListSchedulesResponse page = ok(&Stub::List, request);
    for (const v1::Schedule& schedule : page.schedules()) {
      names.push_back(schedule.name());
      EXPECT_THAT(schedule.job().payload(), IsEmpty());
    }
    request.set_page_token(page.next_page_token());
    ++pages;
  } while (!request.page_token().empty());
  EXPECT_EQ(pages, 3u);
  ASSERT_EQ(names.size(), 250u);
  EXPECT_EQ(names.front(), "s1000");
  EXPECT_EQ(names.back(), "s1249");
  EXPECT_TRUE(std::ranges::is_sorted(names));
  v1::ListSchedulesResponse page;
  request.set_page_token("no token");
  EXPECT_EQ(call(&Stub::List, request, &page).error_code(), grpc::INVALID_ARGUMENT);
  request.clear_page_token();
  request.set_page_size(1001);
  EXPECT_EQ(call(&Stub::List, request, &page).error_code(), grpc::INVALID_ARGUMENT);
}

TEST_F(ScheduleCalls, PauseTakesTheNextTickAwayAndResumeGivesItBack) {
  ASSERT_TRUE(create(daily("s")).ok());
  v1::PauseScheduleRequest pause;
  pause.set_name("s");
  for (int i = 0; i < 2; ++i) {
    const v1::Schedule paused = ok(&Stub::Pause, pause);
    EXPECT_TRUE(paused.paused());
    EXPECT_FALSE(paused.has_next_time());
  }
  v1::TriggerScheduleResponse triggered;
  EXPECT_TRUE(trigger("s", "", &triggered).ok());
  EXPECT_FALSE(get("s").has_next_time());
  v1::ResumeScheduleRequest resume;
  resume.set_name("s");
  for (int i = 0; i < 2; ++i) {
    const v1::Schedule resumed = ok(&Stub::Resume, resume);
    EXPECT_FALSE(resumed.paused());
    EXPECT_TRUE(resumed.has_next_time());
  }
}

TEST_F(ScheduleCalls, ATriggerRepeatedWithItsIdIsOneJob) {
  v1::Schedule schedule = daily("s");
  schedule.set_paused(true);
  ASSERT_TRUE(create(schedule).ok());
  for (int i = 0; i < 3; ++i) {
    v1::TriggerScheduleResponse response;
    const grpc::Status status = trigger("s", "trigger-0001", &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.job_id(), "trigger-0001");
  }
  EXPECT_EQ(jobs(), 1u);
  EXPECT_EQ(get("s").fired(), 1u);
  EXPECT_EQ(get("s").last_job_id(), "trigger-0001");
  v1::TriggerScheduleResponse response;
  EXPECT_EQ(trigger("s", "short", &response).error_code(), grpc::INVALID_ARGUMENT);
}

TEST_F(ScheduleCalls, TheIdOfAnotherJobIsRefused) {
  ASSERT_TRUE(create(daily("a")).ok());
  ASSERT_TRUE(create(daily("b")).ok());
  v1::TriggerScheduleResponse response;
  ASSERT_TRUE(trigger("a", "trigger-0001", &response).ok());
  const grpc::Status refused = trigger("b", "trigger-0001", &response);
  EXPECT_EQ(refused.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_THAT(refused.error_message(), HasSubstr("belongs to another job"));
  EXPECT_EQ(get("b").skipped(), 0u);
}

TEST_F(ScheduleCalls, OfManyTriggersAtOnceTheOverlapPolicyLetsOneThrough) {
  ASSERT_TRUE(create(daily("s")).ok());
  std::vector<std::future<bool>> calls;
  for (int i = 0; i < 8; ++i) {
    calls.push_back(std::async(std::launch::async, [this, i] {
      v1::TriggerScheduleResponse response;
      return trigger("s", "trigger-000" + std::to_string(i), &response).ok();
    }));
  }
  int through = 0;
  for (auto& one : calls) through += one.get() ? 1 : 0;
  EXPECT_EQ(through, 1);
  EXPECT_EQ(jobs(), 1u);
}

TEST_F(ScheduleCalls, DeleteLeavesTheJobs) {
  ASSERT_TRUE(create(daily("s")).ok());
  v1::TriggerScheduleResponse triggered;
  ASSERT_TRUE(trigger("s", "", &triggered).ok());
  v1::DeleteScheduleRequest request;
  request.set_name("s");
  ok(&Stub::Delete, request);
  v1::DeleteScheduleResponse response;
  EXPECT_EQ(call(&Stub::Delete, request, &response).error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(jobs(), 1u);
}

}  // namespace
}  // namespace weft::testing
