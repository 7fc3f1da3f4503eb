// Every command of `weft` against a real daemon.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/support/daemon.h"

namespace weft::testing {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;

constexpr char kEndless[] = R"({"to":1000000000})";

std::string numbers(int from, int to) {
  std::string lines;
  for (int i = from; i <= to; ++i) lines += std::to_string(i) + "\n";
  return lines;
}

// Whether a program has come so far as to wait for Ctrl-C by itself.
bool blocks_sigint(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("SigBlk:")) {
      return (std::stoull(line.substr(7), nullptr, 16) >> (SIGINT - 1) & 1) != 0;
    }
  }
  return false;
}

class Commands : public ::testing::Test {
 protected:
  Daemon daemon_;
};

TEST_F(Commands, TheReadyLineNamesWhatRuns) {
  EXPECT_THAT(daemon_.ready_line(),
              MatchesRegex("weftd ready grpc=127\\.0\\.0\\.1:[0-9]+ admin=127\\.0\\.0\\.1:[0-9]+ "
                           "store=memory:? worker=.+"));
}

TEST_F(Commands, SubmitPrintsTheIdAlone) {
  const Ended ended = daemon_.weft({"submit", "count", "--payload", R"({"to":3})"});
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_THAT(ended.out, MatchesRegex("[A-Za-z0-9_-]{10,64}\n"));
  EXPECT_THAT(ended.err, IsEmpty());
}

TEST_F(Commands, RunPrintsEachChunkAsALineAndExitsWithTheOutcome) {
  const Ended ended = daemon_.weft({"run", "count", "--payload", R"({"to":1000})"});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(ended.out, numbers(1, 1000));
  EXPECT_THAT(ended.err, IsEmpty());
}

TEST_F(Commands, AJobThatFailsExitsWith10AndSaysWhy) {
  const Ended ended =
      daemon_.weft({"run", "fail", "--payload", R"({"message":"no ink"})", "--max-attempts", "1"});
  EXPECT_EQ(ended.exit_code, 10);
  EXPECT_THAT(ended.out, IsEmpty());
  EXPECT_THAT(ended.err, HasSubstr("is dead"));
}

TEST_F(Commands, EchoGivesItsPayloadBackFromTextFileAndStandardInput) {
  EXPECT_EQ(daemon_.weft({"run", "echo", "--payload", "hello"}).out, "hello\n");
  const TempDir dir;
  write_file(dir.file("in"), "from a file");
  EXPECT_EQ(daemon_.weft({"run", "echo", "--payload", "@" + dir.file("in")}).out, "from a file\n");
  Process weft = daemon_.start_weft({"run", "echo", "--payload", "-"});
  weft.write("from standard input");
  const Ended ended = weft.wait();
  EXPECT_EQ(ended.out, "from standard input\n");
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
}

TEST_F(Commands, RunAsJsonShowsChunksAndOutcome) {
  const json run =
      json::parse(daemon_.weft({"run", "count", "-p", R"({"to":3})", "-o", "json"}).out);
  EXPECT_EQ(run["state"], "succeeded");
  EXPECT_EQ(run["last_sequence"], 3);
  ASSERT_EQ(run["chunks"].size(), 3u);
  EXPECT_EQ(run["chunks"][2], (json{{"sequence", 3}, {"chunk", "3"}}));

  Process lines = daemon_.start_weft({"run", "count", "-p", R"({"to":2})", "-o", "jsonl"});
  std::vector<json> events;
  while (const auto line = lines.read_line()) events.push_back(json::parse(*line));
  ASSERT_GE(events.size(), 3u);
  EXPECT_EQ(events[0]["chunk"], "1");
  EXPECT_EQ(events.back()["state"], "succeeded");
}

TEST_F(Commands, GetShowsTheRecord) {
  const std::string id = daemon_.submit("count", R"({"to":3})", {"--metadata", "team=ink"});
  EXPECT_EQ(daemon_.weft({"watch", id}).exit_code, 0);
  const Ended table = daemon_.weft({"get", id});
  EXPECT_EQ(table.exit_code, 0);
  EXPECT_THAT(table.out, HasSubstr(id));
  EXPECT_THAT(table.out, HasSubstr("succeeded"));
  const json job = json::parse(daemon_.weft({"get", id, "-o", "json"}).out);
  EXPECT_EQ(job["id"], id);
  EXPECT_EQ(job["state"], "succeeded");
  EXPECT_EQ(job["queue"], "default");
  EXPECT_EQ(job["last_sequence"], 3);
  EXPECT_EQ(job["metadata"]["team"], "ink");
}

TEST_F(Commands, TheSameIdTwiceIsTheSameJobAndAnotherSpecIsRefused) {
  const std::string id = "report-2024-05";
  EXPECT_EQ(daemon_.submit("count", R"({"to":3})", {"--id", id}), id);
  const Ended again =
      daemon_.weft({"submit", "count", "-p", R"({"to":3})", "--id", id, "-o", "json"});
  EXPECT_EQ(json::parse(again.out)["existing"], true);
  const Ended other = daemon_.weft({"submit", "count", "-p", R"({"to":4})", "--id", id});
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_THAT(other.err, HasSubstr("INVALID_ARGUMENT"));
}

// Iterable against iterator: the stored stream is iterable, and each watch is its own pass over it.
TEST_F(Commands, TwoWatchersFromDifferentSequencesAreEachComplete) {
  const std::string id = daemon_.submit("count", R"({"to":500})");
  Process all = daemon_.start_weft({"watch", id});
  Process rest = daemon_.start_weft({"watch", id, "--from", "100"});
  EXPECT_EQ(all.wait().out, numbers(1, 500));
  const Ended ended = rest.wait();
  EXPECT_EQ(ended.out, numbers(100, 500)) << ended.err;
  EXPECT_EQ(daemon_.weft({"watch", id, "--from", "499"}).out, "499\n500\n");
}

// Generator coroutine: each value sent changes what the running job yields next.
TEST_F(Commands, EachLineTypedIntoAttachSteersTheJob) {
  const std::string id = daemon_.submit("count", kEndless, {"--stream-policy", "pause"});
  Process attach = daemon_.start_weft({"attach", id});
  EXPECT_EQ(attach.read_line(), "1");
  // It ends far beyond what pipes and windows hold of it while nobody reads.
  attach.write("{\"step\":1000}\n");
  long long last = 1;
  for (;;) {
    const auto line = attach.read_line();
    ASSERT_TRUE(line.has_value()) << attach.err();
    const long long value = std::stoll(*line);
    const long long step = value - last;
    last = value;
    if (step == 1000) break;
    ASSERT_EQ(step, 1);
  }
  attach.write("{\"step\":7}\n");
  for (;;) {
    const auto line = attach.read_line();
    ASSERT_TRUE(line.has_value()) << attach.err();
    const long long value = std::stoll(*line);
    const long long step = value - last;
    last = value;
    if (step == 7) break;
    ASSERT_EQ(step, 1000);
  }
  EXPECT_EQ(daemon_.weft({"cancel", id}).exit_code, 0);
  EXPECT_EQ(attach.wait().exit_code, 11);
}

// The lines come faster than the connection opens and than the job takes them.
TEST_F(Commands, NoneOfAThousandLinesPipedIntoAttachIsLost) {
  const std::string id = daemon_.submit("count", kEndless, {"--stream-policy", "pause"});
  Process attach = daemon_.start_weft({"attach", id});
  std::string lines;
  for (int step = 1; step <= 1'000; ++step) lines += "{\"step\":" + std::to_string(step) + "}\n";
  attach.write(lines);
  long long last = 0;
  for (long long step = 0; step < 1'000;) {
    const auto line = attach.read_line();
    ASSERT_TRUE(line.has_value()) << attach.err();
    const long long value = std::stoll(*line);
    if (last != 0) step = value - last;
    last = value;
  }
  EXPECT_EQ(json::parse(daemon_.weft({"get", id, "-o", "json"}).out)["last_send"], 1'000);
  EXPECT_EQ(daemon_.weft({"cancel", id}).exit_code, 0);
  const Ended ended = attach.wait();
  EXPECT_EQ(ended.exit_code, 11);
  EXPECT_THAT(ended.err, Not(HasSubstr("may not have reached")));
}

TEST_F(Commands, NoLinePipedIntoAttachIsLostWhenTheDaemonIsKilledAmongThem) {
  const TempDir dir;
  DaemonOptions options{
      .store = "sqlite:" + dir.file("weft.db"), .listen = "127.0.0.1:0", .arguments = {}};
  auto daemon = std::make_unique<Daemon>(options);
  options.listen = daemon->address();
  const std::string id =
      daemon->submit("count", R"({"to":1000000000,"delay_ms":1})", {"--stream-policy", "pause"});
  Process attach = daemon->start_weft({"attach", id});
  std::string lines;
  for (int step = 1; step <= 1'000; ++step) lines += "{\"step\":" + std::to_string(step) + "}\n";
  attach.write(lines);
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(attach.read_line().has_value()) << attach.err();
  daemon->process().kill();
  daemon = std::make_unique<Daemon>(options);
  // How often a step shows depends on where the new attempt begins; the last one shows in any case.
  long long last = 0;
  for (long long step = 0; step < 1'000;) {
    const auto line = attach.read_line();
    ASSERT_TRUE(line.has_value()) << attach.err();
    const long long value = std::stoll(*line);
    step = value - last == 1'000 ? 1'000 : 0;
    last = value;
  }
  EXPECT_EQ(json::parse(daemon->weft({"get", id, "-o", "json"}).out)["last_send"], 1'000);
  EXPECT_EQ(daemon->weft({"cancel", id}).exit_code, 0);
  EXPECT_EQ(attach.wait().exit_code, 11);
}

TEST_F(Commands, ALineOverTheLimitOfASendIsRefusedOnceAndTheNextOneIsTaken) {
  const std::string id = daemon_.submit("count", kEndless, {"--stream-policy", "pause"});
  Process attach = daemon_.start_weft({"attach", id});
  attach.write(std::string(200'000, 'x') + "\n{\"step\":7}\n");
  long long last = 1;
  for (long long step = 0; step != 7;) {
    const auto line = attach.read_line();
    ASSERT_TRUE(line.has_value()) << attach.err();
    step = std::stoll(*line) - last;
    last = std::stoll(*line);
  }
  EXPECT_EQ(daemon_.weft({"cancel", id}).exit_code, 0);
  const Ended ended = attach.wait();
  EXPECT_EQ(ended.exit_code, 11);
  EXPECT_THAT(ended.err, MatchesRegex("weft: INVALID_ARGUMENT: a line is longer [^\n]+\n"
                                      "weft: job [^\n]+\n"));
}

TEST_F(Commands, SendSteersAJobWithoutAttaching) {
  const std::string id = daemon_.submit("count", kEndless, {"--stream-policy", "pause"});
  const Ended sent = daemon_.weft({"send", id, R"({"step":1000})"});
  EXPECT_EQ(sent.exit_code, 0) << sent.err;
  Process attach = daemon_.start_weft({"attach", id});
  EXPECT_EQ(attach.read_line(), "1");
  EXPECT_EQ(attach.read_line(), "1001");
}

TEST_F(Commands, CancelEndsARunningJobAndItsReaders) {
  const std::string id = daemon_.submit("sleep", R"({"ms":3600000})");
  Process watch = daemon_.start_weft({"watch", id});
  const Ended cancel = daemon_.weft({"cancel", id, "--reason", "no longer wanted"});
  EXPECT_EQ(cancel.exit_code, 0) << cancel.err;
  EXPECT_THAT(cancel.out, MatchesRegex("(requested|cancelled)\n"));
  EXPECT_EQ(watch.wait().exit_code, 11);
  const json job = json::parse(daemon_.weft({"get", id, "-o", "json"}).out);
  EXPECT_EQ(job["state"], "cancelled");
  EXPECT_EQ(daemon_.weft({"cancel", id}).out, "already cancelled\n");
}

TEST_F(Commands, CtrlCNamesTheJobAndHowToStopIt) {
  Process run = daemon_.start_weft({"run", "count", "--payload", kEndless, "--id", "to-the-moon"});
  EXPECT_EQ(run.read_line(), "1");
  run.signal(SIGINT);
  const Ended ended = run.wait();
  EXPECT_EQ(ended.exit_code, 130);
  EXPECT_THAT(ended.err, HasSubstr("weft cancel to-the-moon"));
  EXPECT_THAT(ended.err, HasSubstr("weft attach to-the-moon --from "));
  EXPECT_EQ(json::parse(daemon_.weft({"get", "to-the-moon", "-o", "json"}).out)["state"],
            "running");
}

TEST_F(Commands, RunNamesItsJobWhenTheDaemonDoesNotComeBack) {
  auto daemon = std::make_unique<Daemon>();
  // Far longer than it takes here to come to the first chunk.
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(daemon->weft({"run", "echo", "--payload", "x"}).exit_code, 0);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  const std::string deadline = std::to_string(1 + 20 * took.count());
  Process run = daemon->start_weft(
      {"run", "count", "--payload", kEndless, "--id", "left-alone", "--deadline", deadline});
  EXPECT_EQ(run.read_line(), "1");
  daemon->process().kill();
  const Ended ended = run.wait();
  EXPECT_EQ(ended.exit_code, 124) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("weft attach left-alone --from "));
}

// A server that accepts connections and never answers.
TEST_F(Commands, CtrlCWhileSubmittingNamesTheJobThatMayBeStored) {
  daemon_.process().signal(SIGSTOP);
  for (const std::string& command : {"submit", "run"}) {
    Process weft = daemon_.start_weft({command, "echo", "--payload", "-", "--id", "half-sent-0"});
    weft.write("x");
    weft.close_stdin();
    // From here on it has the payload, blocks the signal, and submits, in this order.
    while (weft.err().empty() && !blocks_sigint(weft.pid())) std::this_thread::yield();
    weft.signal(SIGINT);
    const Ended ended = weft.wait();
    EXPECT_EQ(ended.exit_code, 130) << command;
    EXPECT_THAT(ended.err, HasSubstr("half-sent-0 may have been stored")) << command;
    EXPECT_THAT(ended.err, HasSubstr("--id half-sent-0")) << command;
  }
  daemon_.process().signal(SIGCONT);
}

TEST_F(Commands, AFullDiskForTheOutputIsAnErrorAndNotALeftReader) {
  const Ended ended =
      run_process({"/bin/sh", "-c", "exec " + weft_path() + " submit echo --payload x >/dev/full"},
                  {.environment = {{"WEFT_SERVER", daemon_.address()}}, .directory = {}});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_THAT(ended.err, HasSubstr("No space left on device"));
}

TEST_F(Commands, ClosedStandardDescriptorsDoNoHarm) {
  const Ended ended =
      run_process({"/bin/sh", "-c", "exec " + weft_path() + " run echo --payload x <&- 2>&-"},
                  {.environment = {{"WEFT_SERVER", daemon_.address()}}, .directory = {}});
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_EQ(ended.out, "x\n");
}

TEST_F(Commands, TheTableOfGetIsHarmlessForATerminal) {
  const std::string id = daemon_.submit("echo", "\x1b[2Jtwo\nlines");
  EXPECT_EQ(daemon_.weft({"watch", id}).exit_code, 0);
  const Ended ended = daemon_.weft({"get", id});
  EXPECT_THAT(ended.out, HasSubstr("\\x1b[2Jtwo\\nlines\n"));
  EXPECT_THAT(ended.out, Not(HasSubstr("\x1b")));
}

TEST_F(Commands, AReaderThatLeavesEndsRunQuietlyAndCancelsTheJob) {
  Process run = daemon_.start_weft({"run", "count", "--payload", kEndless, "--id", "only-a-head"});
  EXPECT_EQ(run.read_line(), "1");
  run.close_stdout();
  const Ended ended = run.wait();
  EXPECT_EQ(ended.exit_code, 141);
  EXPECT_THAT(ended.err, IsEmpty());
  EXPECT_EQ(daemon_.weft({"watch", "only-a-head", "--from", "1", "-o", "jsonl"}).exit_code, 11);
}

TEST_F(Commands, ADeadlineEndsAWatchButNotItsJob) {
  const std::string id = daemon_.submit("sleep", R"({"ms":3600000})");
  const Ended watch = daemon_.weft({"watch", id, "--deadline", "0.2"});
  EXPECT_EQ(watch.exit_code, 124);
  EXPECT_THAT(watch.err, HasSubstr("DEADLINE_EXCEEDED"));
  EXPECT_EQ(json::parse(daemon_.weft({"get", id, "-o", "json"}).out)["state"], "running");
}

TEST_F(Commands, AMisspeltWordIsAnErrorWithASuggestion) {
  const Ended command = daemon_.weft({"sumbit", "count"});
  EXPECT_EQ(command.exit_code, 2);
  EXPECT_THAT(command.err, HasSubstr("did you mean submit?"));
  const Ended option = daemon_.weft({"run", "count", "--paylod", "{}"});
  EXPECT_EQ(option.exit_code, 2);
  EXPECT_THAT(option.err, HasSubstr("did you mean --payload?"));
  EXPECT_EQ(daemon_.weft({"get"}).exit_code, 2);
  EXPECT_EQ(daemon_.weft({"submit", "count", "-m", "novalue"}).exit_code, 2);
  EXPECT_EQ(daemon_.weft({"submit", "count", "-p", "@/no/such/file"}).exit_code, 2);
}

TEST_F(Commands, HelpDocumentsTheExitCodes) {
  const Ended help = daemon_.weft({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, HasSubstr("130  interrupted"));
}

// One line per file exactly as sha256sum prints it, odd names included; an unreadable file is an
// error line.
TEST(Digest, EqualsSha256sum) {
  const TempDir dir;
  std::filesystem::create_directories(dir.path() / "tree/sub/deep");
  const std::vector<std::string> names = {"a",     "b with space", "new\nline", "back\\slash",
                                          "sub/z", "sub/deep/x",   "sub.txt",   "empty"};
  for (const std::string& name : names) write_file(dir.file("tree/" + name), "content of " + name);
  write_file(dir.file("tree/empty"), "");
  write_file(dir.file("tree/large"), std::string(5 << 20, 'x'));
  const Daemon daemon({.store = "memory:",
                       .listen = "127.0.0.1:0",
                       .arguments = {"--allow-root", dir.path().string()}});
  const Ended digest =
      daemon.weft({"run", "digest", "--payload", json{{"path", dir.file("tree")}}.dump()});
  EXPECT_EQ(digest.exit_code, 0) << digest.err;
  const Ended sums = run_process(
      {"/bin/sh", "-c", "find * -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum"},
      {.environment = {}, .directory = dir.file("tree")});
  EXPECT_EQ(digest.out, sums.out);
  EXPECT_EQ(std::count(digest.out.begin(), digest.out.end(), '\n'), 9);
}

}  // namespace
}  // namespace weft::testing
