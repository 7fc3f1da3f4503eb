// Handlers that kill their worker or hold its loop: what becomes of them, and of those beside them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <thread>

#include <weft/client/client.h>

#include "tests/support/daemon.h"

namespace weft::testing {
namespace {

using ::testing::HasSubstr;

std::string trouble_worker() { return WEFT_BIN_DIR "/trouble_worker"; }

TEST(Poison, OnlyTheJobThatKillsItsWorkerGoesDead) {
  constexpr int kInnocents = 1000;
  const TempDir dir;
  DaemonOptions options = {
      .store = "sqlite:" + dir.file("weft.db"),
      .arguments = {"--concurrency", std::to_string(kInnocents + 10), "--log-level", "warn"}};
  options.program = trouble_worker();

  // Submitted before any worker runs, so that the first one meets them all.
  std::vector<std::string> innocents;
  std::string poison;
  {
    DaemonOptions front = options;
    front.arguments.insert(front.arguments.end(), {"--role", "frontend"});
    const Daemon daemon(front);
    Client client({.server = daemon.address()});
    std::vector<v1::JobSpec> specs(kInnocents);
    for (v1::JobSpec& spec : specs) spec.set_type("patient");
    const auto submitted = client.submit_batch(std::move(specs));
    ASSERT_TRUE(submitted.ok()) << submitted.status();
    for (const v1::SubmitAnswer& answer : submitted->answers()) {
      ASSERT_TRUE(answer.has_accepted());
      innocents.push_back(answer.accepted().id());
    }
    poison = daemon.submit("poison", R"({"beside":)" + std::to_string(kInnocents) + "}");
  }

  int deaths = 0;
  for (;;) {
    Daemon daemon(options);
    if (daemon.address().empty()) return;
    Client client({.server = daemon.address(), .retry_for_ms = 0, .reconnect_for_ms = 0});
    ResultStream watched = client.watch({.job_id = poison});
    for ([[maybe_unused]] const Chunk& chunk : watched) {
    }
    if (watched.finished().has_value()) {
      EXPECT_EQ(watched.finished()->state(), v1::JOB_STATE_DEAD);
      EXPECT_EQ(watched.finished()->outcome().error_code(), "crashed");
      for (const std::string& id : innocents) {
        ResultStream stream = client.watch({.job_id = id});
        for ([[maybe_unused]] const Chunk& chunk : stream) {
        }
        ASSERT_TRUE(stream.finished().has_value()) << stream.status();
        ASSERT_EQ(stream.finished()->state(), v1::JOB_STATE_SUCCEEDED) << id;
      }
      break;
    }
    EXPECT_EQ(daemon.process().wait().exit_code, 128 + SIGKILL);
    ASSERT_LE(++deaths, 5) << "the poison job is not told from the innocent ones";
  }
  EXPECT_EQ(deaths, 5);
  std::printf("figure: %d innocent jobs succeeded, the poison job is dead after %d worker deaths\n",
              kInnocents, deaths);
}

TEST(Stall, TheJobThatHoldsTheLoopIsNamed) {
  DaemonOptions options = {.arguments = {"--stall", "50"}};
  options.program = trouble_worker();
  Daemon daemon(options);
  // It holds the loop until it has been named.
  const std::string id = daemon.submit("hog", R"({"ms":600000})");
  const auto until = std::chrono::steady_clock::now() + Process::kPatience;
  while (daemon.process().err().find(id + " (hog)") == std::string::npos &&
         std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_THAT(daemon.process().err(), HasSubstr(id + " (hog)"));
}

TEST(PlainHandlers, RunOnTheExecutorAndStream) {
  DaemonOptions options;
  options.program = trouble_worker();
  const Daemon daemon(options);
  EXPECT_EQ(daemon.weft({"run", "square", "-p", "12"}).out, "144\n");
  EXPECT_EQ(daemon.weft({"run", "squares", "-p", R"({"to":4})"}).out, "1\n4\n9\n16\n");
}

}  // namespace
}  // namespace weft::testing
