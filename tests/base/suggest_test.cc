// Suggestions for misspelt words.
#include <gtest/gtest.h>

#include <weft/base/suggest.h>

namespace weft {
namespace {

TEST(Suggest, FindsTheNearestWordOrNone) {
  const std::vector<std::string> known = {"submit", "run", "watch", "--payload"};
  EXPECT_EQ(closest("sumbit", known), "submit");
  EXPECT_EQ(closest("--paylod", known), "--payload");
  EXPECT_EQ(closest("ru", known), "run");
  EXPECT_EQ(closest("frobnicate", known), "");
}

}  // namespace
}  // namespace weft
