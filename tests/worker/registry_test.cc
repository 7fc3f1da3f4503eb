// The registry, and text made fit for protobuf.
#include <gmock/gmock.h>

#include <weft/base/utf8.h>
#include <weft/worker/registry.h>

namespace weft {
namespace {

Task<void> nothing(Job) { co_return; }

TEST(Registry, FindsWhatWasAdded) {
  Registry registry;
  registry.add("b", make_handler(nothing));
  registry.add("a", make_handler(nothing));
  EXPECT_NE(registry.find("a"), nullptr);
  EXPECT_EQ(registry.find("c"), nullptr);
  EXPECT_THAT(registry.types(), ::testing::ElementsAre("a", "b"));
}

TEST(RegistryDeathTest, RefusesATypeTwice) {
  Registry registry;
  registry.add("a", make_handler(nothing));
  EXPECT_DEATH(registry.add("a", make_handler(nothing)), "one handler");
}

TEST(CleanUtf8, KeepsWhatIsValidAndReplacesTheRest) {
  EXPECT_EQ(clean_utf8("plain", 100), "plain");
  EXPECT_EQ(clean_utf8("gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80", 100),
            "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80");
  EXPECT_EQ(clean_utf8("\xC0\x80", 100), "\xEF\xBF\xBD\xEF\xBF\xBD");  // overlong
  EXPECT_EQ(clean_utf8("\xED\xA0\x80", 3), "\xEF\xBF\xBD");            // a surrogate
  EXPECT_EQ(clean_utf8("\xF4\x90\x80\x80", 3), "\xEF\xBF\xBD");        // beyond U+10FFFF
  EXPECT_EQ(clean_utf8("\xE2\x82", 100), "\xEF\xBF\xBD\xEF\xBF\xBD");  // cut short
}

TEST(CleanUtf8, CutsBetweenCharacters) {
  EXPECT_EQ(clean_utf8("a\xE2\x82\xAC", 3), "a");
  EXPECT_EQ(clean_utf8("a\xE2\x82\xAC", 4), "a\xE2\x82\xAC");
}

}  // namespace
}  // namespace weft
