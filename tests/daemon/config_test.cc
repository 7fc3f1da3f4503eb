// Flags, variables, defaults, and that every mistake is reported at once.
#include "daemon/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "tests/support/daemon.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
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

TEST(Config, ThePasswordOfAStoreIsCutOutOfItsUrl) {
  const ParsedConfig parsed = parse({"--store", "redis://ann:s%40crt@host:7000/2"});
  EXPECT_THAT(parsed.errors, SizeIs(0));
  EXPECT_EQ(parsed.config.store, "redis://ann@host:7000/2");
  EXPECT_EQ(parsed.config.store_password, "s@crt");
  const ParsedConfig socket = parse({"--store", "redis+unix://:secret@/run/a@b.sock?db=1"});
  EXPECT_THAT(socket.errors, SizeIs(0));
  EXPECT_EQ(socket.config.store, "redis+unix://@/run/a@b.sock?db=1");
  EXPECT_EQ(socket.config.store_password, "secret");
}

TEST(Config, AnArgumentKeepsNoPassword) {
  const auto hidden = [](std::string argument) {
    hide_password(argument.data());
    return argument;
  };
  EXPECT_EQ(hidden("redis://ann:secret@host/1"), "redis://ann*******@host/1");
  EXPECT_EQ(hidden("--store=redis+unix://:pw@/run/r.sock"), "--store=redis+unix://***@/run/r.sock");
  for (const char* open :
       {"redis://host:1/2", "redis+unix:///run/a:b@c", "sqlite:/a:b@c", "redis"}) {
    EXPECT_EQ(hidden(open), open);
  }
}

TEST(Config, APasswordFileWinsOverTheVariableAndThatOverTheUrl) {
  testing::TempDir folder;
  const std::string file = (folder.path() / "password").string();
  testing::write_file(file, "from-file\r\n");
  const std::map<std::string, std::string> variables = {{"WEFT_STORE_PASSWORD", "from-variable"}};
  const std::vector<std::string> store = {"--store", "redis://:from-url@host"};
  EXPECT_EQ(parse(store).config.store_password, "from-url");
  EXPECT_EQ(parse(store, variables).config.store_password, "from-variable");
  EXPECT_EQ(parse({"--store-password-file", file}, variables).config.store_password, "from-file");
}

TEST(Config, APasswordFileHoldsOnePasswordOfABoundedLength) {
  testing::TempDir folder;
  const std::string file = (folder.path() / "password").string();
  const auto errors = [&](const std::string& content) {
    testing::write_file(file, content);
    return parse({"--store-password-file", file}).errors;
  };
  EXPECT_THAT(errors(std::string(512, 'p') + "\n"), SizeIs(0));
  EXPECT_THAT(errors(std::string(513, 'p')), SizeIs(1));
  EXPECT_THAT(errors("\n"), SizeIs(1));
  EXPECT_THAT(parse({"--store-password-file", folder.path().string()}).errors, SizeIs(1));
  EXPECT_THAT(parse({"--store-password-file", file + "x"}).errors, SizeIs(1));
}

TEST(Config, BadStoreOptionsAreErrorsThatShowNoPassword) {
  const auto error_of = [](std::vector<std::string> arguments) {
    const ParsedConfig parsed = parse(std::move(arguments));
    return parsed.errors.size() == 1 ? parsed.errors[0] : "not one error";
  };
  EXPECT_THAT(error_of({"--store", "rediss://:secret@host"}), HasSubstr("TLS"));
  for (const char* url : {"redis://ann:secret@host:port", "redis://ann:sec/ret@host",
                          "redis://:secret@", "redis://:secret@host?db=1"}) {
    EXPECT_THAT(error_of({"--store", url}), AllOf(HasSubstr("--store"), Not(HasSubstr("sec"))));
  }
  EXPECT_THAT(error_of({"--store-prefix", "a b"}), HasSubstr("is not a prefix"));
  EXPECT_THAT(error_of({"--store-prefix", std::string(65, 'a')}), HasSubstr("is not a prefix"));
  EXPECT_THAT(error_of({"--lease", "0"}), HasSubstr("whole number from 1 to 3600"));
}

TEST(Config, ARoleSaysWhatADaemonDoes) {
  const Config all = parse({}).config;
  EXPECT_TRUE(all.run_jobs && all.accept_jobs);
  const Config frontend = parse({"--role", "frontend"}).config;
  EXPECT_TRUE(!frontend.run_jobs && frontend.accept_jobs);
  const ParsedConfig worker = parse({"--role=worker", "--store=redis://host", "--lease=1"});
  EXPECT_THAT(worker.errors, SizeIs(0));
  EXPECT_TRUE(worker.config.run_jobs && !worker.config.accept_jobs);
  EXPECT_EQ(worker.config.lease_ms, 1000);
  EXPECT_THAT(parse({"--role=worker", "--store=memory:"}).errors,
              ElementsAre(HasSubstr("a store that daemons share")));
  EXPECT_THAT(parse({"--role=boss"}).errors, SizeIs(1));
}

TEST(Config, HelpAndVersionArePrintedInsteadOfServing) {
  EXPECT_THAT(parse({"--help"}).text, HasSubstr("--executor-threads"));
  EXPECT_THAT(parse({"--version"}).text, HasSubstr("weftd "));
}

}  // namespace
}  // namespace weft
