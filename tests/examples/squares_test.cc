// README.md's handler does what README.md says.
#include "tests/examples/squares.h"

#include <gmock/gmock.h>

#include "tests/support/coro_test.h"
#include "tests/support/worker_bed.h"

namespace weft {
namespace {

using ::testing::ElementsAre;

CORO_TEST(Squares, YieldsSquares) {
  Registry registry;
  register_examples(registry);
  auto body = [](testing::WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("squares", R"({"to":4})");
    const auto reader = co_await bed.watch(id);
    const testing::Read read = co_await testing::read(*reader);
    EXPECT_THAT(read.chunks, ElementsAre("1", "4", "9", "16"));
  };
  co_await testing::with_bed({}, std::move(registry), body);
}

CORO_TEST(Squares, GoesOnFromANumberSent) {
  Registry registry;
  register_examples(registry);
  auto body = [](testing::WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("squares", R"({"to":12})", v1::STREAM_POLICY_PAUSE);
    const auto sent = co_await bed.store->send(id, "", 0, "10");
    EXPECT_TRUE(sent.ok()) << sent.status();
    const auto reader = co_await bed.attach(id, 100);
    const testing::Read read = co_await testing::read(*reader);
    EXPECT_THAT(read.chunks, ElementsAre("1", "121", "144"));
  };
  co_await testing::with_bed({}, std::move(registry), body);
}

}  // namespace
}  // namespace weft
