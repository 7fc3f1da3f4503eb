// README.md's plain handlers do what README.md says.
#include "tests/examples/plain.h"

#include <gmock/gmock.h>

#include "tests/support/coro_test.h"
#include "tests/support/worker_bed.h"

namespace weft {
namespace {

using ::testing::ElementsAre;

CORO_TEST(PlainExamples, SumAndPrimes) {
  Registry registry;
  register_plain_examples(registry);
  auto body = [](testing::WorkerBed& bed) -> Task<void> {
    const std::string first = co_await bed.submit("sum", "[1,2,39]");
    const v1::Finished end = co_await bed.finished(first);
    EXPECT_EQ(end.outcome().result(), R"({"sum":42})");
    const std::string second = co_await bed.submit("primes", R"({"to":12})");
    const auto reader = co_await bed.watch(second);
    const testing::Read read = co_await testing::read(*reader);
    EXPECT_THAT(read.chunks, ElementsAre("2", "3", "5", "7", "11"));
  };
  co_await testing::with_bed({}, std::move(registry), body);
}

}  // namespace
}  // namespace weft
