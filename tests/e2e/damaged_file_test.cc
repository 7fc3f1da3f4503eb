// A store file with a page of garbage in it: the daemon says so, to its operator when it cannot
// start or go on, to the reader when only one job is hit, and nothing waits for ever.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <sstream>

#include "tests/support/daemon.h"

namespace weft::testing {
namespace {

using ::testing::HasSubstr;

constexpr size_t kPage = 4096;
constexpr size_t kPayloadBytes = 10 * kPage;
// No command may need longer, whatever is damaged.
constexpr std::chrono::seconds kAnswer{30};

class DamagedFile : public ::testing::Test {
 protected:
  Daemon start(const std::string& role = "all") const {
    return Daemon({.store = "sqlite:" + path_,
                   .arguments = {"--role", role, "--concurrency", "1", "--grace", "0"}});
  }
  static void stop(Daemon& daemon) {
    daemon.process().signal(SIGTERM);
    EXPECT_EQ(daemon.process().wait().exit_code, 0);
  }
  // Many pages of a text that names it.
  std::string payload(const std::string& name) const {
    std::string text;
    while (text.size() < kPayloadBytes) text += "<" + name + ">";
    return text;
  }
  std::string submit_echo(const Daemon& daemon, const std::string& name) const {
    write_file(dir_.file(name), payload(name));
    const Ended ended = daemon.weft({"submit", "echo", "-p", "@" + dir_.file(name)});
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    return ended.out.substr(0, ended.out.find('\n'));
  }
  // Of a command that must answer, whatever it says.
  static Ended ask(const Daemon& daemon, std::vector<std::string> arguments) {
    return daemon.start_weft(std::move(arguments)).wait(kAnswer);
  }
  // Garbage in the place of every page that `hit` chooses by what it holds.
  template <typename Hit>
  void damage(Hit hit) const {
    std::ostringstream out;
    out << std::ifstream(path_, std::ios::binary).rdbuf();
    const std::string bytes = out.str();
    const int fd = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    const std::string garbage(kPage, '\xf7');
    size_t pages = 0;
    for (size_t at = kPage; at + kPage <= bytes.size(); at += kPage) {
      if (!hit(std::string_view(bytes).substr(at, kPage))) continue;
      ++pages;
      EXPECT_EQ(::pwrite(fd, garbage.data(), kPage, static_cast<off_t>(at)), ssize_t{kPage});
    }
    ::close(fd);
    EXPECT_GT(pages, 0u);
  }
  // The pages that hold nothing but this text.
  void damage_text_of(const std::string& name) const {
    damage([&](std::string_view page) {
      size_t found = 0;
      for (size_t at = 0; (at = page.find("<" + name + ">", at)) != page.npos; ++at) ++found;
      return found * (name.size() + 2) > kPage * 9 / 10;
    });
  }
  void expect_damaged(const Ended& ended) const {
    EXPECT_EQ(ended.exit_code, 1);
    EXPECT_THAT(ended.err, HasSubstr("DATA_LOSS"));
    EXPECT_THAT(ended.err, HasSubstr(path_));
    EXPECT_THAT(ended.err, HasSubstr("backup"));
  }

  const TempDir dir_;
  const std::string path_ = dir_.file("weft.db");
};

TEST_F(DamagedFile, WhoseJobsCannotBeReadIsRefused) {
  {
    Daemon daemon = start("frontend");
    for (int i = 0; i < 50; ++i) daemon.submit("digest", R"({"path":"/usr"})");
    stop(daemon);
  }
  damage([](std::string_view page) { return page.find("digest") != page.npos; });
  for (int i = 0; i < 2; ++i) {  // and nothing was changed
    Process again(daemon_command({.store = "sqlite:" + path_}));
    const Ended ended = again.wait(kAnswer);
    EXPECT_EQ(ended.exit_code, 1);
    EXPECT_EQ(ended.out, "");
    EXPECT_THAT(ended.err, HasSubstr("the store file " + path_ + " is damaged"));
    EXPECT_THAT(ended.err, HasSubstr("restore it from a backup"));
    EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
  }
}

// `under` it: while it runs; else before it starts.
class DamagedChunks : public DamagedFile, public ::testing::WithParamInterface<bool> {};

TEST_P(DamagedChunks, AreSaidToTheirReaderAndOtherJobsGoOn) {
  std::string hit, whole;
  {
    Daemon daemon = start();
    hit = submit_echo(daemon, "hit");
    EXPECT_EQ(ask(daemon, {"result", hit}).exit_code, 0);
    whole = submit_echo(daemon, "whole");
    EXPECT_EQ(ask(daemon, {"result", whole}).exit_code, 0);
    stop(daemon);
  }
  if (!GetParam()) damage_text_of("hit");
  Daemon daemon = start();
  if (GetParam()) damage_text_of("hit");
  for (int i = 0; i < 2; ++i) {
    expect_damaged(ask(daemon, {"watch", hit}));
    EXPECT_EQ(ask(daemon, {"watch", whole}).out, payload("whole") + "\n");
    expect_damaged(ask(daemon, {"get", hit}));  // its payload is the same text
    EXPECT_THAT(ask(daemon, {"list"}).out, HasSubstr(hit)) << "its record is whole";
    const std::string name = "new" + std::to_string(i);
    EXPECT_EQ(ask(daemon, {"watch", submit_echo(daemon, name)}).out, payload(name) + "\n");
  }
  stop(daemon);
}

INSTANTIATE_TEST_SUITE_P(When, DamagedChunks, ::testing::Bool(), [](const auto& when) {
  return when.param ? "WhileItRuns" : "BeforeItStarts";
});

// A worker that went on without the job would lose it, and one that ran it would run garbage.
TEST_F(DamagedFile, StopsTheDaemonThatWouldRunAJobOfIt) {
  std::string first, hit, other;
  {
    Daemon daemon = start("frontend");
    first = daemon.submit("spin", R"({"ms":600000})");  // holds its slot
    hit = submit_echo(daemon, "hit");
    other = submit_echo(daemon, "other");
    stop(daemon);
  }
  {
    Daemon daemon = start();  // runs one job at a time
    damage_text_of("hit");
    expect_damaged(ask(daemon, {"get", hit}));
    EXPECT_EQ(ask(daemon, {"get", other}).exit_code, 0);
    EXPECT_EQ(ask(daemon, {"cancel", first}).exit_code, 0);
    const Ended ended = daemon.process().wait(kAnswer);
    EXPECT_EQ(ended.exit_code, 128 + SIGABRT);
    EXPECT_THAT(ended.err, HasSubstr("the store " + path_ + " is damaged"));
    EXPECT_THAT(ended.err, HasSubstr("restore the file from a backup"));
  }
  // Nothing acknowledged is gone: all of it can still be looked at.
  Daemon daemon = start("frontend");
  EXPECT_THAT(ask(daemon, {"get", first, "-o", "json"}).out, HasSubstr("cancelled"));
  EXPECT_THAT(ask(daemon, {"get", other, "-o", "json"}).out, HasSubstr("queued"));
  EXPECT_THAT(ask(daemon, {"list", "--state", "queued"}).out, HasSubstr(hit));
  stop(daemon);
}

}  // namespace
}  // namespace weft::testing
