// The admin pages of a real weftd: what its metrics say about what it did, and its health.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cstdio>
#include <map>
#include <sstream>
#include <string>

#include "tests/support/daemon.h"
#include "tests/support/http_client.h"

namespace weft::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Clock = std::chrono::steady_clock;
// Value by name and labels, as in the text.
using Scrape = std::map<std::string, double>;

uint16_t port_of(const std::string& address) {
  return static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
}

Task<std::string> send_raw(uint16_t port, std::string request) {
  HttpClient client = co_await HttpClient::connect(port);
  co_await client.send(std::move(request));
  co_return co_await client.read_answer();
}

std::string page(const Daemon& daemon, const std::string& path) {
  return get_page(daemon.admin_address(), path);
}

Scrape parse(const std::string& text) {
  Scrape values;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t blank = line.rfind(' ');
    if (line.starts_with("weft_") || line.starts_with("process_")) {
      values[line.substr(0, blank)] = std::stod(line.substr(blank + 1));
    }
  }
  return values;
}

Scrape scrape(const Daemon& daemon) {
  const std::string answer = page(daemon, "/metrics");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/plain; version=0.0.4"));
  return parse(answer);
}

// Scrapes until `name` has this value.
Scrape scrape_until(const Daemon& daemon, const std::string& name, double value) {
  const auto deadline = Clock::now() + Process::kPatience;
  for (;;) {
    Scrape values = scrape(daemon);
    if (values[name] == value) return values;
    if (Clock::now() > deadline) {
      ADD_FAILURE() << name << " is " << values[name] << " and not " << value;
      return values;
    }
  }
}

TEST(AdminPages, CountersMoveByWhatHappened) {
  Daemon daemon;
  Scrape before = scrape(daemon);
  EXPECT_EQ(before["weft_job_run_seconds_count"], 0);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(daemon.weft({"run", "echo", "--payload", "four"}).exit_code, 0);
  }
  EXPECT_EQ(daemon.weft({"run", "count", "--payload", R"({"to":10})"}).exit_code, 0);
  const std::string sleeper = daemon.submit("sleep", R"({"ms":600000})");
  Scrape during = scrape_until(daemon, "weft_jobs{state=\"running\"}", 1);
  EXPECT_EQ(during["weft_resident_jobs"], 1);
  EXPECT_EQ(daemon.weft({"cancel", sleeper}).exit_code, 0);
  scrape_until(daemon, "weft_jobs_finished_total{type=\"sleep\",outcome=\"cancelled\"}", 1);
  Scrape after = scrape_until(daemon, "weft_resident_jobs", 0);  // the store knows, too

  const auto moved = [&](const std::string& name) { return after[name] - before[name]; };
  EXPECT_EQ(moved("weft_jobs_started_total{type=\"echo\"}"), 5);
  EXPECT_EQ(moved("weft_jobs_started_total{type=\"count\"}"), 1);
  EXPECT_EQ(moved("weft_jobs_started_total{type=\"sleep\"}"), 1);
  EXPECT_EQ(moved("weft_jobs_finished_total{type=\"echo\",outcome=\"succeeded\"}"), 5);
  EXPECT_EQ(moved("weft_jobs_finished_total{type=\"count\",outcome=\"succeeded\"}"), 1);
  EXPECT_EQ(moved("weft_jobs_finished_total{type=\"echo\",outcome=\"dead\"}"), 0);
  EXPECT_EQ(moved("weft_job_wait_seconds_count"), 7);
  EXPECT_EQ(moved("weft_job_run_seconds_count"), 7);
  EXPECT_EQ(after["weft_jobs{state=\"queued\"}"], 0);
  EXPECT_EQ(after["weft_jobs{state=\"running\"}"], 0);
  EXPECT_EQ(after["weft_jobs{state=\"succeeded\"}"], 6);
  EXPECT_EQ(after["weft_jobs{state=\"cancelled\"}"], 1);
  EXPECT_EQ(after["weft_jobs{state=\"dead\"}"], 0);
  EXPECT_EQ(moved("weft_jobs_submitted_total"), 7);
  EXPECT_EQ(moved("weft_chunks_total"), 5 + 10);
  EXPECT_GE(moved("weft_chunk_bytes_total"), 5 * 4 + 10);
  EXPECT_GE(moved("weft_grpc_calls_started_total"), 7);
  EXPECT_GT(moved("weft_store_commits_total"), 0);
  EXPECT_GT(moved("weft_loop_turns_total"), 0);
  EXPECT_GT(moved("weft_admin_requests_total"), 0);
  EXPECT_EQ(after["weft_slots_used"], 0);
  EXPECT_EQ(after["weft_store_healthy"], 1);
}

TEST(AdminPages, ReadySaysNoWhileItDrainsAndAliveSaysYes) {
  Daemon daemon;
  EXPECT_THAT(page(daemon, "/readyz"), StartsWith("HTTP/1.1 200 "));
  daemon.submit("sleep", R"({"ms":600000})");
  scrape_until(daemon, "weft_jobs{state=\"running\"}", 1);
  daemon.process().signal(SIGTERM);
  const auto deadline = Clock::now() + Process::kPatience;
  std::string ready = page(daemon, "/readyz");
  while (!ready.starts_with("HTTP/1.1 503 ") && Clock::now() < deadline) {
    ready = page(daemon, "/readyz");
  }
  EXPECT_THAT(ready, HasSubstr("\r\n\r\ndraining"));
  EXPECT_THAT(page(daemon, "/livez"), StartsWith("HTTP/1.1 200 "));
  EXPECT_EQ(scrape(daemon)["weft_jobs{state=\"running\"}"], 1) << "it still tells";
  daemon.process().signal(SIGTERM);
  EXPECT_EQ(daemon.process().wait().exit_code, 128 + SIGTERM);
}

TEST(AdminPages, AScrapeWithAMegabyteOfHeadersHurtsNobody) {
  Daemon daemon;
  const std::string sleeper = daemon.submit("sleep", R"({"ms":600000})");
  for (int i = 0; i < 10; ++i) {
    EventLoop loop;
    const std::string answer = loop.run(send_raw(
        port_of(daemon.admin_address()),
        "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Much: " + std::string(1 << 20, 'x') + "\r\n\r\n"));
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 431 "));
  }
  EXPECT_EQ(daemon.weft({"run", "echo", "--payload", "alive"}).out, "alive\n");
  EXPECT_EQ(scrape(daemon)["weft_jobs{state=\"running\"}"], 1);
}

TEST(AdminPages, AFrontendIsReadyAndHasNoSlots) {
  Daemon daemon({.arguments = {"--role", "frontend"}});
  EXPECT_THAT(page(daemon, "/readyz"), StartsWith("HTTP/1.1 200 "));
  daemon.submit("echo", "waits for a worker");
  const Scrape values = scrape_until(daemon, "weft_jobs{state=\"queued\"}", 1);
  EXPECT_EQ(values.at("weft_slots"), 0);
  EXPECT_FALSE(values.contains("weft_slots_used"));
  EXPECT_FALSE(values.contains("weft_resident_jobs"));
  EXPECT_EQ(values.at("weft_grpc_calls_finished_total{method=\"weft.v1.JobService/Submit\","
                      "code=\"OK\"}"),
            1);
}

TEST(AdminPages, CallsAreCountedByMethodAndCode) {
  Daemon daemon;
  const auto finished = [&](Scrape& values, const std::string& method, const std::string& code) {
    return values["weft_grpc_calls_finished_total{method=\"weft.v1.JobService/" + method +
                  "\",code=\"" + code + "\"}"];
  };
  EXPECT_EQ(daemon.weft({"get", "no-such-job"}).exit_code, 13);
  daemon.submit("echo", "one");
  daemon.submit("echo", "two");
  Scrape values = scrape(daemon);
  EXPECT_EQ(finished(values, "Get", "NOT_FOUND"), 1);
  EXPECT_EQ(finished(values, "Get", "OK"), 0);
  EXPECT_EQ(finished(values, "Submit", "OK"), 2);
  EXPECT_GT(values["weft_grpc_held_bytes_limit"], 0);
  EXPECT_TRUE(values.contains("weft_grpc_held_bytes"));
  EXPECT_TRUE(values.contains("weft_loop_stalls_total"));
}

Task<void> scrape_often(uint16_t port, int times, Scrape* first, Scrape* last) {
  HttpClient client = co_await HttpClient::connect(port);
  for (int i = 0; i < times; ++i) {
    const std::string answer = co_await client.get("/metrics");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
    if (i == 0) *first = parse(answer);
    if (i == times - 1) *last = parse(answer);
  }
}

TEST(AdminPages, AScrapeIsCheap) {
  Daemon daemon;
  Scrape first;
  Scrape last;
  constexpr int kTimes = 201;
  EventLoop loop;
  loop.run(scrape_often(port_of(daemon.admin_address()), kTimes, &first, &last));
  EXPECT_EQ(last["weft_admin_requests_total"] - first["weft_admin_requests_total"], kTimes - 1);
  EXPECT_EQ(last["weft_admin_connections"], 1);
  EXPECT_EQ(last["process_open_fds"], first["process_open_fds"]);
  const double cpu = last["process_cpu_seconds_total"] - first["process_cpu_seconds_total"];
  std::printf("figure: a scrape of %zu series takes %.0f us of weftd's CPU time\n", last.size(),
              cpu / (kTimes - 1) * 1e6);
}

}  // namespace
}  // namespace weft::testing
