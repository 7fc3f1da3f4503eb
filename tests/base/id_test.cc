// Ids sort by time and pass their own check; names from outside are refused with the field's name.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include <weft/base/id.h>

namespace weft {
namespace {

TEST(JobId, PassesItsOwnCheckAndIsUnique) {
  Random random(1);
  std::set<std::string> ids;
  for (int i = 0; i < 10'000; ++i) {
    const std::string id = make_job_id(1'700'000'000'000, random);
    EXPECT_EQ(id.size(), 24u);
    EXPECT_TRUE(check_job_id("id", id).ok()) << id;
    ids.insert(id);
  }
  EXPECT_EQ(ids.size(), 10'000u);
}

TEST(JobId, LaterOnesSortAfterEarlierOnes) {
  Random random(1);
  std::string last;
  for (int64_t ms = 1'700'000'000'000; ms < 1'700'000'100'000; ms += 977) {
    const std::string id = make_job_id(ms, random);
    EXPECT_LT(last, id);
    last = id;
  }
}

TEST(JobId, RefusesWhatDoesNotMatch) {
  EXPECT_FALSE(check_job_id("id", "short").ok());
  EXPECT_FALSE(check_job_id("id", std::string(65, 'a')).ok());
  EXPECT_FALSE(check_job_id("id", "has space in it").ok());
  EXPECT_TRUE(check_job_id("id", std::string(64, 'a')).ok());
  EXPECT_TRUE(check_job_id("id", "abc_DEF-09").ok());
}

TEST(QueueName, ErrorNamesFieldPatternAndValueWithoutControlCharacters) {
  const Status status = check_queue_name("queue", "Bad\nName");
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(field_of(status), "queue");
  const std::string message(from_absl(status.message()));
  EXPECT_NE(message.find("Bad?Name"), std::string::npos) << message;
  EXPECT_NE(message.find("a-z 0-9 . _ -"), std::string::npos) << message;
  EXPECT_TRUE(check_queue_name("queue", "mail.high_1-x").ok());
  EXPECT_FALSE(check_queue_name("queue", "").ok());
  EXPECT_FALSE(check_queue_name("queue", std::string(65, 'q')).ok());
}

TEST(JobType, AllowsCapitals) {
  EXPECT_TRUE(check_job_type("type", "Resize.v2").ok());
  EXPECT_FALSE(check_job_type("type", "re/size").ok());
}

TEST(Incarnation, Is128BitsInHexadecimal) {
  Random random(9);
  const std::string a = make_incarnation(random), b = make_incarnation(random);
  EXPECT_EQ(a.size(), 32u);
  EXPECT_EQ(a.find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_NE(a, b);
}

}  // namespace
}  // namespace weft
