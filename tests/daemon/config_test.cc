// Flags, variables, defaults, and that every mistake is reported at once.
#include "daemon/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace weft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

ParsedConfig parse(std::vector<std::string> arguments,
                   std::map<std::string, std::string> variables = {}) {
  return parse_config(std::move(arguments),
                      [&](const std::string& name) -> std::optional<std::string> {
                        const auto found = variables.find(name);
                        if (found == variables.end()) return std::nullopt;
                        return found->second;
                      });
}

TEST(Config, DefaultsAreLoopbackAndTheStateFolder) {
  const ParsedConfig parsed = parse({}, {{"HOME", "/home/ann"}});
  EXPECT_THAT(parsed.errors, SizeIs(0));
  EXPECT_EQ(parsed.config.listen_address, "127.0.0.1");
  EXPECT_EQ(parsed.config.listen_port, 7070);
  EXPECT_EQ(parsed.config.store, "sqlite:/home/ann/.local/state/weft/weft.db");
  EXPECT_EQ(parsed.config.concurrency, limits::kConcurrency);
  EXPECT_EQ(parsed.config.grace_ms, 30'000);
  EXPECT_GE(parsed.config.executor_threads, 1u);
}

TEST(Config, StateFolderOfTheServiceManagerWinsOverTheUsers) {
  EXPECT_EQ(parse({}, {{"XDG_STATE_HOME", "/x"}, {"HOME", "/h"}}).config.store,
            "sqlite:/x/weft/weft.db");
  EXPECT_EQ(
      parse({}, {{"STATE_DIRECTORY", "/var/lib/weft:/b"}, {"XDG_STATE_HOME", "/x"}}).config.store,
      "sqlite:/var/lib/weft/weft.db");
}

TEST(Config, FlagWinsOverVariableOverDefault) {
  const std::map<std::string, std::string> variables = {{"WEFT_LISTEN", "127.0.0.2:1"},
                                                        {"WEFT_STORE", "memory:"}};
  const ParsedConfig parsed = parse({"--listen", "127.0.0.3:2"}, variables);
  EXPECT_THAT(parsed.errors, SizeIs(0));
  EXPECT_EQ(parsed.config.listen_address, "127.0.0.3");
  EXPECT_EQ(parsed.config.listen_port, 2);
  EXPECT_EQ(parsed.config.store, "memory:");
}

TEST(Config, AddressesMayBeLocalhostOrVersionSix) {
  EXPECT_EQ(parse({"--listen=localhost:5"}).config.listen_address, "127.0.0.1");
  const ParsedConfig parsed = parse({"--listen", "[::1]:5"});
  EXPECT_EQ(parsed.config.listen_address, "::1");
  EXPECT_EQ(parsed.config.listen_port, 5);
}

TEST(Config, AllowRootIsRepeatableAndSplitAtColonsInItsVariable) {
  EXPECT_THAT(parse({"--allow-root", "/", "--allow-root", "/tmp"}).config.allow_roots,
              ElementsAre("/", "/tmp"));
  EXPECT_THAT(parse({}, {{"WEFT_ALLOW_ROOT", "/:/tmp"}}).config.allow_roots,
              ElementsAre("/", "/tmp"));
}

TEST(Config, UnknownOptionIsAnErrorWithASuggestion) {
  const ParsedConfig parsed = parse({"--concurency", "5"});
  ASSERT_THAT(parsed.errors, SizeIs(1));
  EXPECT_THAT(parsed.errors[0], HasSubstr("did you mean --concurrency?"));
}

TEST(Config, AllErrorsAreReportedAtOnce) {
  const ParsedConfig parsed =
      parse({"--listen", "nowhere", "--concurrency", "0", "--grace=-1", "--log-level", "inof",
             "--allow-root", "/no/such/folder", "--admin", "1.2.3.4:99999", "--strange", "stray"},
            {{"WEFT_EXECUTOR_THREADS", "many"}});
  EXPECT_THAT(parsed.errors, SizeIs(8));
  EXPECT_THAT(parsed.errors, ::testing::Contains(HasSubstr("WEFT_EXECUTOR_THREADS: 'many'")));
  EXPECT_THAT(parsed.errors, ::testing::Contains(HasSubstr("did you mean info?")));
}

TEST(Config, MissingValueIsAnError) {
  EXPECT_THAT(parse({"--store"}).errors, ::testing::ElementsAre("--store needs a value: URL"));
  EXPECT_THAT(parse({"--store="}).errors, SizeIs(1));
}

TEST(Config, HelpAndVersionArePrintedInsteadOfServing) {
  EXPECT_THAT(parse({"--help"}).text, HasSubstr("--executor-threads"));
  EXPECT_THAT(parse({"--version"}).text, HasSubstr("weftd "));
}

}  // namespace
}  // namespace weft
