// Suspects among the waiting jobs; the same code in every store.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include <weft/store/waiting_jobs.h>

namespace weft {
namespace {

using ::testing::ElementsAre;

struct Item : Queued<Item> {
  std::string name;
};

class WaitingJobsTest : public ::testing::Test {
 protected:
  ~WaitingJobsTest() override { jobs_.clear(); }
  void add(const std::string& name, bool suspect, const std::string& type = "t") {
    Item& item = items_.emplace_back();
    item.name = name;
    item.place = static_cast<int64_t>(items_.size());
    jobs_.add("q", type, item, suspect);
  }
  std::vector<std::string> take(size_t max_jobs, bool suspect, std::vector<TypeRoom> rooms = {}) {
    TakeRequest request;
    request.type_room = std::move(rooms);
    request.suspect = suspect;
    WaitingJobs<Item>::Take taking(jobs_, request);
    std::vector<std::string> names;
    while (names.size() < max_jobs) {
      Item* item = taking.next();
      if (item == nullptr) break;
      names.push_back(item->name);
    }
    return names;
  }
  std::deque<Item> items_;
  WaitingJobs<Item> jobs_;
};

TEST_F(WaitingJobsTest, ATakeGetsOneSuspectAndItFirst) {
  add("a", false);
  add("suspect-1", true);
  add("suspect-2", true);
  add("b", false);
  EXPECT_EQ(jobs_.size(), 4u);
  EXPECT_EQ(jobs_.size("q"), 4u);
  EXPECT_EQ(jobs_.suspects(), 2u);
  EXPECT_THAT(take(10, true), ElementsAre("suspect-1", "a", "b"));
  EXPECT_THAT(take(10, true), ElementsAre("suspect-2"));
  EXPECT_EQ(jobs_.size(), 0u);
}

TEST_F(WaitingJobsTest, OneThatIsNotStartedLeavesItsRoomToAnother) {
  add("suspect-1", true, "t");
  add("suspect-2", true, "t");
  add("a", false, "t");
  add("b", false, "t");
  TakeRequest request;
  request.type_room = {{"t", 2}};
  WaitingJobs<Item>::Take taking(jobs_, request);
  EXPECT_EQ(taking.next()->name, "suspect-1");
  taking.give_back_room("t", true);
  EXPECT_EQ(taking.next()->name, "suspect-2");
  EXPECT_EQ(taking.next()->name, "a");
  taking.give_back_room("t", false);
  EXPECT_EQ(taking.next()->name, "b");
  EXPECT_EQ(taking.next(), nullptr);
}

TEST_F(WaitingJobsTest, SuspectsHoldUpNobody) {
  add("suspect-1", true);
  add("suspect-2", true);
  add("a", false);
  EXPECT_THAT(take(10, false), ElementsAre("a"));
  EXPECT_EQ(jobs_.suspects(), 2u);
}

TEST_F(WaitingJobsTest, ASuspectIsNotHeldUpByTheOthers) {
  for (int i = 0; i < 5; ++i) add("a" + std::to_string(i), false);
  add("suspect", true);
  EXPECT_THAT(take(1, true), ElementsAre("suspect"));
}

TEST_F(WaitingJobsTest, SuspectsUseTheRoomOfTheirType) {
  add("suspect-x", true, "x");
  add("suspect-y", true, "y");
  add("x", false, "x");
  EXPECT_THAT(take(10, true, {{"x", 0}}), ElementsAre("suspect-y"));
  EXPECT_THAT(take(10, true, {{"x", 1}}), ElementsAre("suspect-x"));
  EXPECT_THAT(take(10, true, {{"x", 1}}), ElementsAre("x"));
}

}  // namespace
}  // namespace weft
