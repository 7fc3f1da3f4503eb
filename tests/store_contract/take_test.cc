// What a take gets when job types have limits of their own.
#include <gmock/gmock.h>

#include "tests/store_contract/fixture.h"

namespace weft::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Task<void> add(Harness& h, std::string queue, std::string type, std::string payload) {
  v1::JobSpec spec = Harness::make_spec(std::move(queue), std::move(payload));
  spec.set_type(std::move(type));
  co_await h.add(std::move(spec));
}

Task<std::vector<v1::Job>> take_jobs(Harness& h, size_t max_jobs, std::vector<TypeRoom> rooms) {
  TakeRequest request{.worker = Harness::kWorker,
                      .worker_name = "tester",
                      .max_jobs = max_jobs,
                      .type_room = std::move(rooms)};
  auto taken = co_await h.store().settle_and_take({}, std::move(request));
  EXPECT_TRUE(taken.ok()) << taken.status();
  co_return taken.ok() ? std::move(taken->jobs) : std::vector<v1::Job>();
}

Task<std::vector<std::string>> take(Harness& h, size_t max_jobs, std::vector<TypeRoom> rooms) {
  std::vector<std::string> payloads;
  const auto jobs = co_await take_jobs(h, max_jobs, std::move(rooms));
  for (const v1::Job& job : jobs) payloads.push_back(job.spec().payload());
  co_return payloads;
}

STORE_TEST(ATypeWithoutRoomBlocksNobody) {
  for (const char* name : {"x1", "x2", "x3"}) co_await add(harness, "q", "x", name);
  for (const char* name : {"y1", "y2"}) co_await add(harness, "q", "y", name);
  const auto first = co_await take(harness, 10, {{"x", 1}});
  EXPECT_THAT(first, ElementsAre("x1", "y1", "y2"));
  const auto none = co_await take(harness, 10, {{"x", 0}});
  EXPECT_THAT(none, IsEmpty());
  EXPECT_EQ(harness.store().stats().queued_jobs, 2u);
  const auto rest = co_await take(harness, 10, {{"x", 5}, {"y", 0}});
  EXPECT_THAT(rest, ElementsAre("x2", "x3"));
}

STORE_TEST(TypesOfAQueueAreTakenByAge) {
  for (const char* name : {"x1", "y2", "x3", "z4", "y5", "x6"}) {
    co_await add(harness, "q", std::string(1, name[0]), name);
  }
  const auto all = co_await take(harness, 10, {{"y", 9}});
  EXPECT_THAT(all, ElementsAre("x1", "y2", "x3", "z4", "y5", "x6"));
}

STORE_TEST(TheRoomOfATypeCountsInAllQueues) {
  for (const char* name : {"a1", "a2"}) co_await add(harness, "a", "x", name);
  for (const char* name : {"b1", "b2"}) co_await add(harness, "b", "x", name);
  co_await add(harness, "c", "y", "c1");
  const auto first = co_await take(harness, 10, {{"x", 3}});
  EXPECT_THAT(first, ElementsAre("a1", "b1", "c1", "a2"));
  const auto rest = co_await take(harness, 10, {});
  EXPECT_THAT(rest, ElementsAre("b2"));
}

STORE_TEST(AQueueWithoutRoomKeepsItsTurn) {
  for (const char* name : {"a1", "a2"}) co_await add(harness, "a", "x", name);
  for (const char* name : {"b1", "b2", "b3"}) co_await add(harness, "b", "y", name);
  const auto without_x = co_await take(harness, 1, {{"x", 0}});
  EXPECT_THAT(without_x, ElementsAre("b1"));
  const auto rest = co_await take(harness, 10, {});
  EXPECT_THAT(rest, ElementsAre("a1", "b2", "a2", "b3"));
}

STORE_TEST(AReleasedJobIsTheOldestOfItsTypeAgain) {
  for (const char* name : {"x1", "y2", "x3"}) {
    co_await add(harness, "q", std::string(1, name[0]), name);
  }
  const auto jobs = co_await take_jobs(harness, 2, {});
  WEFT_ASSERT(jobs.size() == 2);
  co_await harness.must(harness.release(Harness::token_of(jobs[1])));
  co_await harness.must(harness.release(Harness::token_of(jobs[0])));
  const auto again = co_await take(harness, 5, {});
  EXPECT_THAT(again, ElementsAre("x1", "y2", "x3"));
}

STORE_TEST(AWaitingJobOfAFullTypeCanBeCancelled) {
  v1::JobSpec spec = Harness::make_spec_with_id("first-of-x");
  spec.set_type("x");
  co_await harness.add(spec);
  co_await add(harness, "default", "x", "x2");
  co_await add(harness, "default", "y", "y3");
  const auto other = co_await take(harness, 10, {{"x", 0}});
  EXPECT_THAT(other, ElementsAre("y3"));
  co_await harness.must(harness.store().cancel("first-of-x", ""));
  const auto rest = co_await take(harness, 10, {{"x", 1}});
  EXPECT_THAT(rest, ElementsAre("x2"));
}

}  // namespace
}  // namespace weft::testing
