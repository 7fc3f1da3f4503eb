// Bad submissions are refused with the field at fault and one sentence that says what is allowed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <weft/base/limits.h>
#include <weft/store/check_spec.h>

namespace weft {
namespace {

v1::JobSpec good() {
  v1::JobSpec spec;
  spec.set_type("echo");
  return spec;
}

void expect_refused(v1::JobSpec spec, const std::string& field, const std::string& part) {
  const Status status = check_spec(spec);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << field;
  EXPECT_EQ(field_of(status), field);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(part));
  EXPECT_THAT(std::string(status.message()), ::testing::Not(::testing::HasSubstr("\n")));
}

TEST(CheckSpec, FillsInTheQueueAndLeavesTheId) {
  v1::JobSpec spec = good();
  EXPECT_TRUE(check_spec(spec).ok());
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
  Status status = check_spec(spec);
  EXPECT_TRUE(status.ok()) << status;
  spec.mutable_retention()->set_seconds(0);
  spec.mutable_attempt_timeout()->set_seconds(0);
  spec.mutable_attempt_timeout()->set_nanos(1);
  spec.set_idempotency_key("order 66, \u00fcber \u20ac");
  status = check_spec(spec);
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
