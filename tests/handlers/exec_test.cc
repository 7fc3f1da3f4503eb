// exec and spin: output, input, ends of every kind, limits.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "daemon/handlers/exec_command.h"
#include "daemon/handlers/handlers.h"
#include "tests/handlers/real_loop.h"
#include "tests/support/coro_test.h"
#include "tests/support/worker_bed.h"

namespace weft {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Read;
using testing::read;
using ::testing::StartsWith;
using testing::wait_until;
using testing::with_bed;
using testing::WorkerBed;

constexpr size_t kCommands = 2;

Registry with_exec(int64_t kill_ms = 300) {
  StockOptions options;
  options.allow_exec = {"/bin/sh",       "/bin/cat",  "/usr/bin/seq",  "/bin/true",
                        "/usr/bin/env",  "/bin/pwd",  "/usr/bin/head", "/no/such/program",
                        "/usr/bin/true", "/bin/sleep"};
  options.allow_exec_env = {"COLOUR", "LANG"};
  options.allow_roots = {"/usr"};
  options.exec_concurrency = kCommands;
  options.exec_kill_ms = kill_ms;
  Registry registry;
  register_stock_handlers(registry, options);
  return registry;
}

std::string command(std::vector<std::string> argv) { return json{{"argv", argv}}.dump(); }
std::string script(const std::string& text) { return command({"sh", "-c", text}); }

bool has_children() { return waitpid(-1, nullptr, WNOHANG) >= 0 || errno != ECHILD; }
bool is_there(int pid) {
  // A process that was killed and not yet reaped by whoever adopted it is gone.
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(stat)), std::istreambuf_iterator<char>());
  return !text.empty() && text.find(") Z ") == std::string::npos;
}

Task<Read> run(std::string payload) {
  Read got;
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("exec", payload);
    auto reader = co_await bed.attach(id, UINT64_MAX);
    got = co_await read(*reader);
  };
  co_await with_bed({.max_attempts = 1}, with_exec(), body);
  EXPECT_FALSE(has_children());
  co_return got;
}

REAL_TIME_TEST(Exec, YieldsTheLinesOfStandardOutput) {
  const Read got = co_await run(script("echo one; echo; printf 'a\\000\\377b\\nno newline'"));
  EXPECT_THAT(got.chunks, ElementsAre("one", "",
                                      std::string("a\0\xff"
                                                  "b",
                                                  4),
                                      "no newline"));
  EXPECT_EQ(got.finished->state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(got.finished->outcome().result(), R"({"exit_code":0})");
  const Read many = co_await run(command({"/usr/bin/seq", "100000"}));
  EXPECT_EQ(many.chunks.size(), 100'000u);
  EXPECT_EQ(many.chunks.back(), "100000");
}

REAL_TIME_TEST(Exec, ALineOverTheLimitComesInPieces) {
  const std::string size = std::to_string(limits::kExecLineBytes);
  const Read exact = co_await run(
      script("head -c " + size + " /dev/zero; echo; head -c " + size + " /dev/zero; echo x"));
  WEFT_ASSERT(exact.chunks.size() == 3);
  EXPECT_EQ(exact.chunks[0].size(), limits::kExecLineBytes);
  EXPECT_EQ(exact.chunks[1].size(), limits::kExecLineBytes);
  EXPECT_EQ(exact.chunks[2], "x");
}

TEST(LineCutter, CutsAtNewlinesAndAtTheLimit) {
  handlers::LineCutter lines(4);
  lines.add("ab");
  EXPECT_EQ(lines.next(), std::nullopt);
  lines.add("cd");
  EXPECT_EQ(lines.next(), std::nullopt);  // a newline may follow
  lines.add("\n\nefghijklmn\nend");
  EXPECT_EQ(lines.next(), "abcd");
  EXPECT_EQ(lines.next(), "");
  EXPECT_EQ(lines.next(), "efgh");
  EXPECT_EQ(lines.next(), "ijkl");
  EXPECT_EQ(lines.next(), "mn");
  EXPECT_EQ(lines.next(), std::nullopt);
  EXPECT_EQ(lines.rest(), "end");
  EXPECT_EQ(lines.rest(), std::nullopt);
}

REAL_TIME_TEST(Exec, SaysHowACommandFailed) {
  const Read status = co_await run(script("echo out; echo why >&2; exit 3"));
  EXPECT_THAT(status.chunks, ElementsAre("out"));
  EXPECT_EQ(status.finished->state(), v1::JOB_STATE_DEAD);
  EXPECT_EQ(status.finished->outcome().error_code(), "exit_status");
  EXPECT_EQ(status.finished->outcome().error_message(),
            "the command 'sh' ended with exit status 3: why");
  const Read signal = co_await run(script("kill -9 $$"));
  EXPECT_EQ(signal.finished->outcome().error_code(), "signal");
  EXPECT_THAT(signal.finished->outcome().error_message(),
              HasSubstr("was killed by signal 9 (SIGKILL)"));
  const Read missing = co_await run(command({"/no/such/program"}));
  EXPECT_EQ(missing.finished->outcome().error_code(), "cannot_start");
  const Read cwd = co_await run(R"({"argv":["pwd"],"cwd":"/usr/no/such/folder"})");
  EXPECT_EQ(cwd.finished->outcome().error_code(), "cannot_start");
  EXPECT_THAT(cwd.finished->outcome().error_message(), HasSubstr("does not exist"));
}

REAL_TIME_TEST(Exec, KeepsOnlyTheEndOfALongStandardError) {
  const Read got = co_await run(script("seq 1 300000 >&2; echo last >&2; exit 1"));
  const std::string& message = got.finished->outcome().error_message();
  EXPECT_THAT(message, HasSubstr("300000\nlast"));
  EXPECT_LT(message.size(), limits::kErrorMessageBytes);
}

REAL_TIME_TEST(Exec, GivesTheCommandItsFolderAndAMinimalEnvironment) {
  const Read cwd = co_await run(R"({"argv":["pwd"],"cwd":"/usr/bin"})");
  EXPECT_THAT(cwd.chunks, ElementsAre("/usr/bin"));
  const Read root = co_await run(R"({"argv":["pwd"],"cwd":"/"})");  // as without it
  EXPECT_THAT(root.chunks, ElementsAre("/"));
  const Read got = co_await run(R"({"argv":["env"],"env":{"COLOUR":"blue","LANG":"C"}})");
  WEFT_ASSERT(got.chunks.size() == 4);
  EXPECT_THAT(got.chunks,
              ::testing::UnorderedElementsAre("COLOUR=blue", "LANG=C", StartsWith("PATH="),
                                              StartsWith("WEFT_JOB_ID=")));
}

REAL_TIME_TEST(Exec, SendsAreLinesAndAnEmptyOneClosesTheInput) {
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("exec", command({"cat"}));
    auto reader = co_await bed.attach(id, UINT64_MAX);
    std::vector<std::string> echoed;
    for (int i = 0; i < 200; ++i) {
      co_await bed.send(id, "line " + std::to_string(i));
      const Read got = co_await read(*reader, 1);
      echoed.insert(echoed.end(), got.chunks.begin(), got.chunks.end());
    }
    EXPECT_EQ(echoed.size(), 200u);
    EXPECT_EQ(echoed.back(), "line 199");
    co_await bed.send(id, "");
    const Read end = co_await read(*reader);
    EXPECT_THAT(end.chunks, IsEmpty());
    EXPECT_EQ(end.finished->state(), v1::JOB_STATE_SUCCEEDED);
  };
  co_await with_bed({.max_attempts = 1}, with_exec(), body);
  EXPECT_FALSE(has_children());
}

REAL_TIME_TEST(Exec, ACommandThatDoesNotReadHoldsItsSenders) {
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("exec", script("echo up; exec sleep 1000"));
    auto reader = co_await bed.attach(id, UINT64_MAX);
    co_await read(*reader, 1);
    const std::string value(limits::kSendBytes, 'x');
    size_t taken = 0;
    Status refused;
    while (taken < 3 * limits::kUnconsumedSends) {
      const auto answer = co_await bed.store->send(id, "", 0, value);
      refused = answer.status();
      if (!refused.ok()) break;
      ++taken;
      co_await sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(refused.code(), StatusCode::kResourceExhausted);
    EXPECT_LE(taken, limits::kUnconsumedSends + 3);  // the pipe, and one at hand
    co_await bed.cancel(id, "");
    const Read end = co_await read(*reader);
    EXPECT_EQ(end.finished->state(), v1::JOB_STATE_CANCELLED);
  };
  co_await with_bed({.max_attempts = 1}, with_exec(), body);
}

REAL_TIME_TEST(Exec, CancelEndsTheWholeGroup) {
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("exec", script("sleep 1000 & echo $!; wait"));
    auto reader = co_await bed.attach(id, UINT64_MAX);
    const Read pid = co_await read(*reader, 1);
    const int grandchild = std::stoi(pid.chunks[0]);
    EXPECT_TRUE(is_there(grandchild));
    co_await bed.cancel(id, "enough");
    const Read end = co_await read(*reader);
    EXPECT_EQ(end.finished->state(), v1::JOB_STATE_CANCELLED);
    const bool gone = co_await wait_until([&] { return !is_there(grandchild); });
    EXPECT_TRUE(gone);
    EXPECT_FALSE(has_children());
  };
  co_await with_bed({.max_attempts = 1}, with_exec(), body);
}

REAL_TIME_TEST(Exec, CancelKillsACommandThatIgnoresSigtermAndItsChildren) {
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit(
        "exec", script("trap '' TERM; sleep 1000 & echo $!; while :; do wait; sleep 0.1; done"));
    auto reader = co_await bed.attach(id, UINT64_MAX);
    const Read pid = co_await read(*reader, 1);
    const int grandchild = std::stoi(pid.chunks[0]);
    co_await bed.cancel(id, "enough");
    const Read end = co_await read(*reader);
    EXPECT_EQ(end.finished->state(), v1::JOB_STATE_CANCELLED);
    const bool gone = co_await wait_until([&] { return !is_there(grandchild); });
    EXPECT_TRUE(gone);
    EXPECT_FALSE(has_children());
  };
  co_await with_bed({.max_attempts = 1}, with_exec(), body);
}

// Until the command has ended by itself, or was killed long after that could have been.
constexpr int64_t kLongGraceMs = 60'000;

// A script that prints more than pipes hold when it gets a SIGTERM, and then removes `file`.
class LastWords {
 public:
  explicit LastWords(const std::string& to, const std::string& first = "echo up")
      : script("trap 'seq 100000" + to + "; rm " + file + "; exit 0' TERM; " + first +
               "; while :; do sleep 0.01; done") {
    std::ofstream(file) << "there";
  }
  ~LastWords() { std::filesystem::remove(file); }
  bool said() const { return !std::filesystem::exists(file); }

  const std::string file = ::testing::TempDir() + "weft-last-words-" + std::to_string(getpid());
  const std::string script;
};

REAL_TIME_TEST(Exec, ACancelledCommandMayPrintMuchBeforeItEnds) {
  for (const char* const to : {"", " >&2"}) {
    const LastWords words(to);
    auto body = [&](WorkerBed& bed) -> Task<void> {
      const std::string id = co_await bed.submit("exec", script(words.script));
      auto reader = co_await bed.attach(id, UINT64_MAX);
      co_await read(*reader, 1);
      co_await bed.cancel(id, "enough");
      const auto finished = co_await bed.finished(id);
      EXPECT_EQ(finished.state(), v1::JOB_STATE_CANCELLED);
    };
    co_await with_bed({.max_attempts = 1}, with_exec(kLongGraceMs), body);
    EXPECT_TRUE(words.said()) << to;
  }
}

// The one who reads its output is slow, so that the job itself waits too.
REAL_TIME_TEST(Exec, ACommandOutOfTimeMayPrintMuchBeforeItEnds) {
  const LastWords words("", "seq " + std::to_string(2 * limits::kWindowChunks));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const json payload{{"argv", {"sh", "-c", words.script}}, {"timeout_ms", 1000}};
    const std::string id = co_await bed.submit("exec", payload.dump());
    auto slow = co_await bed.attach(id, 1);
    co_await read(*slow, 1);
    const bool said = co_await wait_until([&] { return words.said(); });
    EXPECT_TRUE(said);
    slow.reset();
    auto reader = co_await bed.attach(id, UINT64_MAX);
    const Read got = co_await read(*reader);
    EXPECT_GT(got.chunks.size(), limits::kWindowChunks);  // what was there before is not lost
    EXPECT_EQ(got.finished->outcome().error_code(), "timeout");
  };
  co_await with_bed({.max_attempts = 1}, with_exec(kLongGraceMs), body);
}

REAL_TIME_TEST(Exec, CancelReachesACommandThatIsBlockedInAWrite) {
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("exec", command({"seq", "1000000000"}));
    auto reader = co_await bed.attach(id, 1);
    co_await read(*reader, 1);
    co_await sleep_for(std::chrono::milliseconds(100));
    const v1::Job held = co_await bed.get(id);
    EXPECT_LE(held.last_sequence(), 1 + limits::kWindowChunks);
    EXPECT_TRUE(has_children());
    co_await bed.cancel(id, "enough");
    const auto finished = co_await bed.finished(id);
    EXPECT_EQ(finished.state(), v1::JOB_STATE_CANCELLED);
    EXPECT_FALSE(has_children());
  };
  co_await with_bed({.max_attempts = 1}, with_exec(), body);
}

REAL_TIME_TEST(Exec, TimeoutStopsTheCommand) {
  // A busy machine may take longer than that to get to the echo.
  Read got;
  std::string ms = "200";
  for (; got.chunks.empty() && ms.size() < 6; ms += '0') {
    const std::string payload = R"({"argv":["sh","-c","echo on; exec sleep 1000"],"timeout_ms":)";
    got = co_await run(payload + ms + "}");
    EXPECT_EQ(got.finished->state(), v1::JOB_STATE_DEAD);
    EXPECT_EQ(got.finished->outcome().error_code(), "timeout");
    EXPECT_THAT(got.finished->outcome().error_message(), HasSubstr("its timeout_ms of " + ms));
  }
  EXPECT_THAT(got.chunks, ElementsAre("on"));
}

REAL_TIME_TEST(Exec, WhatACommandLeavesBehindInItsGroupEndsWithIt) {
  const Read got = co_await run(script("sleep 1000 & echo $!"));
  WEFT_ASSERT(got.chunks.size() == 1);
  EXPECT_EQ(got.finished->state(), v1::JOB_STATE_SUCCEEDED);
  const int left = std::stoi(got.chunks[0]);
  const bool gone = co_await wait_until([&] { return !is_there(left); });
  EXPECT_TRUE(gone);
}

REAL_TIME_TEST(Exec, NoMoreCommandsRunAtOnceThanAllowed) {
  auto body = [&](WorkerBed& bed) -> Task<void> {
    std::vector<std::string> ids;
    for (size_t i = 0; i <= kCommands; ++i) {
      ids.push_back(co_await bed.submit("exec", script("echo up; exec cat")));
    }
    std::vector<std::unique_ptr<Subscription>> readers;
    for (const std::string& id : ids) readers.push_back(co_await bed.attach(id, UINT64_MAX));
    for (size_t i = 0; i < kCommands; ++i) co_await read(*readers[i], 1);
    const v1::Job waiting = co_await bed.get(ids[kCommands]);
    EXPECT_EQ(waiting.last_sequence(), 0u);
    co_await bed.send(ids[0], "");
    const Read next = co_await read(*readers[kCommands], 1);
    EXPECT_THAT(next.chunks, ElementsAre("up"));
    const auto first = co_await bed.finished(ids[0]);
    EXPECT_EQ(first.state(), v1::JOB_STATE_SUCCEEDED);
    for (size_t i = 1; i <= kCommands; ++i) co_await bed.send(ids[i], "");
    for (size_t i = 1; i <= kCommands; ++i) co_await bed.finished(ids[i]);
  };
  co_await with_bed({.max_attempts = 1}, with_exec(), body);
  EXPECT_FALSE(has_children());
}

class BadCommand {
 public:
  std::string payload;
  const char* code;
  const char* message;
};

REAL_TIME_TEST(Exec, RefusesWhatIsNotAllowedOrMakesNoSense) {
  const std::string nul = R"({"argv":["sh","a\u0000b"]})";
  const std::vector<std::string> most(limits::kExecArguments, "x");
  std::vector<std::string> too_many = most;
  too_many.push_back("x");
  const BadCommand kBad[] = {
      {"", "invalid_payload", "it is empty"},
      {"{}", "invalid_payload", "bad field 'argv': it must begin with a program"},
      {R"({"argv":"sh"})", "invalid_payload", "'argv': it must be an array of strings"},
      {R"({"argv":["sh",5]})", "invalid_payload", "'argv': it must be an array of strings"},
      {R"({"argv":[""]})", "invalid_payload", "it must begin with a program"},
      {nul, "invalid_payload", "zero byte"},
      {R"({"argv":["sh"],"environment":{}})", "invalid_payload", "unknown field 'environment'"},
      {R"({"argv":["sh"],"env":[]})", "invalid_payload", "an object whose values are strings"},
      {R"({"argv":["sh"],"env":{"A":1}})", "invalid_payload", "an object whose values are strings"},
      {R"({"argv":["sh"],"env":{"A=B":"1"}})", "invalid_payload", "must not be empty or hold '='"},
      {R"({"argv":["sh"],"env":{"WEFT_JOB_ID":"1"}})", "invalid_payload", "is set by weftd"},
      {R"({"argv":["sh"],"env":{"COLOUR":"1","LD_PRELOAD":"/x.so"}})", "not_allowed",
       "the variable 'LD_PRELOAD' is not allowed here"},
      {R"({"argv":["sh"],"env":{"BASH_ENV":"/x"}})", "not_allowed", "--allow-exec-env"},
      {R"({"argv":["sh"],"env":{"BASH_FUNC_x%%":"() { :; }"}})", "not_allowed", "'BASH_FUNC_x%%'"},
      {R"({"argv":["sh"],"env":{"PATH":"/tmp"}})", "not_allowed", "'PATH'"},
      {R"({"argv":["sh"],"env":{"colour":"1"}})", "not_allowed", "'colour'"},
      {R"({"argv":["sh"],"cwd":"/tmp"})", "not_allowed", "--allow-root"},
      {R"({"argv":["sh"],"cwd":"/usrlocal"})", "not_allowed", "--allow-root"},
      {R"({"argv":["sh"],"cwd":"/usr/../tmp"})", "not_allowed", "has '..' in it"},
      {R"({"argv":["sh"],"cwd":"here"})", "invalid_payload", "'cwd': it must be an absolute path"},
      {R"({"argv":["sh"],"timeout_ms":0})", "invalid_payload", "bad field 'timeout_ms'"},
      {command(most), "not_allowed", "'x' is not allowed"},
      {command(too_many), "invalid_payload", "at most 1024 strings, not 1025"},
      {command({"sh", std::string(limits::kExecArgumentBytes, 'x')}), "invalid_payload",
       "at most 131072 bytes"},
      {command({"bash"}), "not_allowed", "--allow-exec /path/of/bash"},
      {command({"/usr/bin/python3"}), "not_allowed", "--allow-exec /usr/bin/python3"},
      {command({"/bin/../bin/sh"}), "not_allowed", "is not allowed here"},
      {command({"./sh"}), "not_allowed", "is not allowed here"},
      {command({"true"}), "not_allowed", "could be /bin/true or /usr/bin/true"},
  };
  for (const BadCommand& bad : kBad) {
    const Read got = co_await run(bad.payload);
    const std::string shown = bad.payload.substr(0, 100);
    EXPECT_EQ(got.finished->state(), v1::JOB_STATE_DEAD) << shown;
    EXPECT_EQ(got.finished->outcome().error_code(), bad.code) << shown;
    EXPECT_THAT(got.finished->outcome().error_message(), HasSubstr(bad.message)) << shown;
  }
}

TEST(Exec, IsOffUnlessAProgramIsAllowed) {
  Registry registry;
  register_stock_handlers(registry, {});
  EXPECT_EQ(registry.find("exec"), nullptr);
  EXPECT_NE(registry.find("spin"), nullptr);
}

Task<void> spins(std::string payload, v1::Finished* finished) {
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("spin", payload);
    *finished = co_await bed.finished(id);
  };
  co_await with_bed({.max_attempts = 1}, with_exec(), body);
}

int64_t process_cpu_ms() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
}

REAL_TIME_TEST(Spin, UsesTheCpuTimeAskedFor) {
  const int64_t before_ms = process_cpu_ms();
  v1::Finished finished;
  co_await spins(R"({"ms":120})", &finished);
  EXPECT_EQ(finished.outcome().result(), R"({"ms":120})");
  EXPECT_GE(process_cpu_ms() - before_ms, 120);
  co_await spins(R"({"ms":0})", &finished);
  EXPECT_EQ(finished.outcome().result(), R"({"ms":0})");
  co_await spins(R"({"ms":3600001})", &finished);
  EXPECT_EQ(finished.outcome().error_code(), "invalid_payload");
}

REAL_TIME_TEST(Spin, StopsWhenCancelled) {
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("spin", R"({"ms":3600000})");
    co_await sleep_for(std::chrono::milliseconds(20));
    co_await bed.cancel(id, "");
    const auto finished = co_await bed.finished(id);
    EXPECT_EQ(finished.state(), v1::JOB_STATE_CANCELLED);
  };
  co_await with_bed({.max_attempts = 1}, with_exec(), body);
}

}  // namespace
}  // namespace weft
