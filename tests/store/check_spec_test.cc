// Bad submissions are refused with the field at fault and one sentence that says what is allowed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <utility>

#include <weft/base/limits.h>
#include <weft/store/check_spec.h>

namespace weft {
namespace {

constexpr int64_t kNow = 1'700'000'000;
constexpr int64_t kNow_ns = kNow * 1'000'000'000 + 500'000'000;
constexpr int64_t kLimit = limits::kDurationSecondsMax;

v1::JobSpec good() {
  v1::JobSpec spec;
  spec.set_type("echo");
  return spec;
}

void expect_refused(v1::JobSpec spec, const std::string& field, const std::string& part) {
  const Status status = check_spec(spec, kNow_ns);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << field;
  EXPECT_EQ(field_of(status), field);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(part));
  EXPECT_THAT(std::string(status.message()), ::testing::Not(::testing::HasSubstr("\n")));
}

TEST(CheckSpec, FillsInTheQueueAndLeavesTheId) {
  v1::JobSpec spec = good();
  EXPECT_TRUE(check_spec(spec, kNow_ns).ok());
  EXPECT_EQ(spec.queue(), "default");
  EXPECT_EQ(spec.id(), "");
}

TEST(CheckSpec, AcceptsEverythingAtItsBound) {
  v1::JobSpec spec = good();
  spec.set_id(std::string(64, 'a'));
  spec.set_queue(std::string(64, 'q'));
  spec.set_payload(std::string(limits::kPayloadBytes, 'x'));
  spec.set_content_type(std::string(limits::kContentTypeBytes, 'x'));
  (*spec.mutable_metadata())["key"] = std::string(limits::kMetadataBytes - 3, 'x');
  spec.mutable_stream_grace()->set_seconds(86'400);
  spec.set_idempotency_key(std::string(limits::kIdempotencyKeyBytes, 'k'));
  spec.mutable_retention()->set_seconds(limits::kDurationSecondsMax);
  spec.mutable_attempt_timeout()->set_seconds(limits::kDurationSecondsMax);
  Status status = check_spec(spec, kNow_ns);
  EXPECT_TRUE(status.ok()) << status;
  spec.mutable_retention()->set_seconds(0);
  spec.mutable_attempt_timeout()->set_seconds(0);
  spec.mutable_attempt_timeout()->set_nanos(1);
  spec.set_idempotency_key("order 66, \u00fcber \u20ac");
  status = check_spec(spec, kNow_ns);
  EXPECT_TRUE(status.ok()) << status;
}

TEST(CheckSpec, RefusesWhatIsOutOfBounds) {
  v1::JobSpec spec = good();
  spec.set_id("short");
  expect_refused(spec, "id", "10 to 64");
  spec = good();
  spec.set_id("white space in it");
  expect_refused(spec, "id", "10 to 64");
  for (const char* queue : {"Upper", "a/b", "a b", "ü"}) {
    spec = good();
    spec.set_queue(queue);
    expect_refused(spec, "queue", "a-z 0-9");
  }
  spec = good();
  spec.set_queue(std::string(65, 'q'));
  expect_refused(spec, "queue", "1 to 64");
  spec = good();
  spec.clear_type();
  expect_refused(spec, "type", "1 to 64");
  spec = good();
  spec.set_payload(std::string(limits::kPayloadBytes + 1, 'x'));
  expect_refused(spec, "payload", "4194304");
  spec = good();
  spec.set_content_type(std::string(limits::kContentTypeBytes + 1, 'x'));
  expect_refused(spec, "content_type", "128");
  spec = good();
  (*spec.mutable_metadata())["key"] = std::string(limits::kMetadataBytes - 2, 'x');
  expect_refused(spec, "metadata", "8192");
  spec = good();
  spec.set_stream_policy(static_cast<v1::StreamPolicy>(99));
  expect_refused(spec, "stream_policy", "PAUSE");
}

TEST(CheckSpec, RefusesAGraceOutsideOfADay) {
  for (const auto& [seconds, nanos] : {std::pair<int64_t, int32_t>{-1, 0},
                                       {0, -1},
                                       {86'400, 1},
                                       {86'401, 0},
                                       {INT64_MAX, 0},
                                       {1, 1'000'000'000}}) {
    v1::JobSpec spec = good();
    spec.mutable_stream_grace()->set_seconds(seconds);
    spec.mutable_stream_grace()->set_nanos(nanos);
    expect_refused(spec, "stream_grace", "one day");
  }
}

TEST(CheckSpec, RefusesDurationsOutsideOfThirtyDays) {
  const int64_t limit = limits::kDurationSecondsMax;
  for (const auto& [seconds, nanos] : {std::pair<int64_t, int32_t>{-1, 0},
                                       {0, -1},
                                       {limit, 1},
                                       {limit + 1, 0},
                                       {INT64_MAX, 0},
                                       {1, 1'000'000'000}}) {
    v1::JobSpec spec = good();
    spec.mutable_retention()->set_seconds(seconds);
    spec.mutable_retention()->set_nanos(nanos);
    expect_refused(spec, "retention", "30 days");
    spec = good();
    spec.mutable_attempt_timeout()->set_seconds(seconds);
    spec.mutable_attempt_timeout()->set_nanos(nanos);
    expect_refused(spec, "attempt_timeout", "30 days");
  }
  v1::JobSpec spec = good();
  spec.mutable_attempt_timeout();
  expect_refused(spec, "attempt_timeout", "more than 0 s");
}

// Sets one time of a spec to `seconds` and `nanos`.
template <typename T>
void set(T* time, int64_t seconds, int32_t nanos = 0) {
  time->set_seconds(seconds);
  time->set_nanos(nanos);
}

TEST(CheckSpec, AcceptsTimesAtTheirBounds) {
  const auto expect_accepted = [](v1::JobSpec spec) {
    const Status status = check_spec(spec, kNow_ns);
    EXPECT_TRUE(status.ok()) << status;
  };
  v1::JobSpec spec = good();
  set(spec.mutable_delay(), limits::kRunAtSecondsMax);
  set(spec.mutable_total_timeout(), kLimit);
  expect_accepted(spec);
  set(spec.mutable_delay(), 0);
  set(spec.mutable_total_timeout(), 0, 1);
  set(spec.mutable_expire_at(), kNow - 1);  // it came late
  expect_accepted(spec);
  spec = good();
  set(spec.mutable_run_at(), kNow + limits::kRunAtSecondsMax, 500'000'000);
  set(spec.mutable_expire_at(), kNow + limits::kRunAtSecondsMax, 500'000'001);
  expect_accepted(spec);
  set(spec.mutable_run_at(), -62'135'596'800);  // long ago: at once
  set(spec.mutable_expire_at(), 253'402'300'799, 999'999'999);
  expect_accepted(spec);
}

// Repeated after a lost answer, it gets the answer of the first one.
TEST(CheckSpec, AcceptsASubmissionAgainLater) {
  v1::JobSpec spec = good();
  set(spec.mutable_delay(), 600);
  set(spec.mutable_expire_at(), kNow + 601);
  EXPECT_TRUE(check_spec(spec, kNow_ns).ok());
  EXPECT_TRUE(check_spec(spec, kNow_ns + 30 * 1'000'000'000LL).ok());
  spec = good();
  set(spec.mutable_run_at(), kNow + 600);
  set(spec.mutable_expire_at(), kNow + 601);
  EXPECT_TRUE(check_spec(spec, kNow_ns).ok());
  EXPECT_TRUE(check_spec(spec, kNow_ns + 700 * 1'000'000'000LL).ok());
}

TEST(CheckSpec, RefusesTimesThatCannotBe) {
  v1::JobSpec spec = good();
  set(spec.mutable_delay(), 1);
  set(spec.mutable_run_at(), kNow + 1);
  expect_refused(spec, "delay", "one of them");
  for (const auto& [seconds, nanos] : {std::pair<int64_t, int32_t>{-1, 0},
                                       {0, -1},
                                       {limits::kRunAtSecondsMax, 1},
                                       {limits::kRunAtSecondsMax + 1, 0},
                                       {INT64_MAX, 0},
                                       {INT64_MIN, 0},
                                       {1, 1'000'000'000}}) {
    spec = good();
    set(spec.mutable_delay(), seconds, nanos);
    expect_refused(spec, "delay", "366 days");
  }
  for (const auto& [seconds, nanos] :
       {std::pair<int64_t, int32_t>{kNow + limits::kRunAtSecondsMax, 500'000'001},
        {kNow + limits::kRunAtSecondsMax + 1, 0},
        {INT64_MAX, 0},
        {INT64_MIN, 0},
        {kNow, 1'000'000'000},
        {kNow, -1}}) {
    spec = good();
    set(spec.mutable_run_at(), seconds, nanos);
    expect_refused(spec, "run_at", "366 days ahead");
  }
  for (const auto& [seconds, nanos] : {std::pair<int64_t, int32_t>{INT64_MAX, 0},
                                       {253'402'300'800, 0},
                                       {-62'135'596'801, 0},
                                       {kNow, -1}}) {
    spec = good();
    set(spec.mutable_expire_at(), seconds, nanos);
    expect_refused(spec, "expire_at", "9999");
  }
  spec = good();
  set(spec.mutable_run_at(), kNow + 5);
  set(spec.mutable_expire_at(), kNow + 5);
  expect_refused(spec, "expire_at", "may start");
  for (const auto& [seconds, nanos] :
       {std::pair<int64_t, int32_t>{-1, 0}, {0, 0}, {kLimit, 1}, {kLimit + 1, 0}, {INT64_MAX, 0}}) {
    spec = good();
    set(spec.mutable_total_timeout(), seconds, nanos);
    expect_refused(spec, "total_timeout", "30 days");
  }
}

TEST(CheckSpec, AcceptsRetriesAtTheirBounds) {
  const auto expect_accepted = [](const v1::RetryPolicy& retry) {
    v1::JobSpec spec = good();
    *spec.mutable_retry() = retry;
    const Status status = check_spec(spec, kNow_ns);
    EXPECT_TRUE(status.ok()) << status;
  };
  v1::RetryPolicy retry;
  expect_accepted(retry);
  retry.set_max_attempts(limits::kAttemptsMax);
  retry.set_jitter(0);
  set(retry.mutable_fixed(), 0, 1);
  expect_accepted(retry);
  retry.set_jitter(1);
  set(retry.mutable_fixed(), kLimit);
  expect_accepted(retry);
  set(retry.mutable_exponential()->mutable_first(), 3600);
  expect_accepted(retry);
  retry.mutable_exponential()->set_factor(1);
  set(retry.mutable_exponential()->mutable_first(), kLimit);
  set(retry.mutable_exponential()->mutable_max(), kLimit);
  expect_accepted(retry);
  retry.mutable_exponential()->set_factor(10);
  expect_accepted(retry);
  for (size_t i = 0; i < limits::kBackoffPauses; ++i) {
    set(retry.mutable_listed()->add_pauses(), kLimit);
  }
  expect_accepted(retry);
}

TEST(CheckSpec, RefusesRetriesBeyondThem) {
  const auto refuse = [](const v1::RetryPolicy& retry, const std::string& field,
                         const std::string& part) {
    v1::JobSpec spec = good();
    *spec.mutable_retry() = retry;
    expect_refused(spec, "retry." + field, part);
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  v1::RetryPolicy retry;
  retry.set_max_attempts(limits::kAttemptsMax + 1);
  refuse(retry, "max_attempts", "1 to 100");
  for (const double jitter : {-0.01, 1.01, nan}) {
    retry = {};
    retry.set_jitter(jitter);
    refuse(retry, "jitter", "0 to 1");
  }
  for (const auto& [seconds, nanos] : {std::pair<int64_t, int32_t>{-1, 0},
                                       {0, 0},
                                       {0, -1},
                                       {kLimit, 1},
                                       {kLimit + 1, 0},
                                       {INT64_MAX, 0}}) {
    retry = {};
    set(retry.mutable_fixed(), seconds, nanos);
    refuse(retry, "fixed", "30 days");
    retry = {};
    set(retry.mutable_listed()->add_pauses(), 1);
    set(retry.mutable_listed()->add_pauses(), seconds, nanos);
    refuse(retry, "listed.pauses[1]", "30 days");
    retry = {};
    set(retry.mutable_exponential()->mutable_first(), seconds, nanos);
    refuse(retry, "exponential.first", "30 days");
    retry = {};
    set(retry.mutable_exponential()->mutable_first(), 0, 1);
    set(retry.mutable_exponential()->mutable_max(), seconds, nanos);
    refuse(retry, "exponential.max", "30 days");
  }
  retry = {};
  retry.mutable_listed();
  refuse(retry, "listed.pauses", "1 to 100");
  for (size_t i = 0; i <= limits::kBackoffPauses; ++i) {
    set(retry.mutable_listed()->add_pauses(), 1);
  }
  refuse(retry, "listed.pauses", "1 to 100");
  retry = {};
  retry.mutable_exponential();
  refuse(retry, "exponential.first", "more than 0 s");
  set(retry.mutable_exponential()->mutable_first(), 3600, 1);
  refuse(retry, "exponential.first", "longer than max");
  set(retry.mutable_exponential()->mutable_first(), 11);
  set(retry.mutable_exponential()->mutable_max(), 10);
  refuse(retry, "exponential.first", "longer than max");
  for (const double factor : {-1.0, 0.99, 10.01, nan}) {
    retry = {};
    set(retry.mutable_exponential()->mutable_first(), 1);
    retry.mutable_exponential()->set_factor(factor);
    refuse(retry, "exponential.factor", "1 to 10");
  }
}

TEST(CheckSpec, RefusesKeysThatAreNoNames) {
  v1::JobSpec spec = good();
  spec.set_idempotency_key(std::string(limits::kIdempotencyKeyBytes + 1, 'k'));
  expect_refused(spec, "idempotency_key", "128");
  for (const std::string& key : {std::string("a\nb"), std::string("a\0b", 3), std::string("\x7f"),
                                 std::string("\xff"), std::string("\xc3")}) {
    spec = good();
    spec.set_idempotency_key(key);
    expect_refused(spec, "idempotency_key", "UTF-8");
  }
}

}  // namespace
}  // namespace weft
