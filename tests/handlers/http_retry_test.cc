// Which failures of an http job are retried, and when.
#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "tests/handlers/http_bed.h"

namespace weft {
namespace {

using std::chrono::milliseconds;
using testing::HttpExchange;
using testing::HttpServer;
using testing::Read;
using testing::with_http_server;
using testing::with_jobs;
using testing::WorkerBed;

// Runs one http job with three attempts and pauses from `first` to `longest`; returns its record.
Task<v1::Job> run_retried(const HttpServer& server, std::string path, milliseconds first,
                          milliseconds longest) {
  const auto set = [](google::protobuf::Duration* pause, milliseconds ms) {
    pause->set_nanos(static_cast<int32_t>(ms.count() * 1'000'000));
  };
  v1::Job job;
  auto jobs = [&](WorkerBed& bed) -> Task<void> {
    v1::JobSpec spec;
    spec.set_type("http");
    spec.set_queue("default");
    spec.set_payload(nlohmann::json{{"url", server.url(path)}}.dump());
    v1::RetryPolicy& retry = *spec.mutable_retry();
    retry.set_max_attempts(3);
    retry.set_jitter(0);
    set(retry.mutable_exponential()->mutable_first(), first);
    set(retry.mutable_exponential()->mutable_max(), longest);
    const std::string id = co_await bed.submit(spec);
    co_await bed.finished(id);
    job = co_await bed.get(id);
  };
  co_await with_jobs({server.host()}, {}, jobs);
  co_return job;
}

Task<v1::Job> run_retried(const HttpServer& server, std::string path) {
  return run_retried(server, std::move(path), milliseconds(1), milliseconds(2));
}

HTTP_TEST(HttpRetry, AServerThatRecoversIsAskedAgain) {
  int asked = 0;
  auto answer = [&](HttpExchange& exchange) -> Task<void> {
    const int status = ++asked == 1 ? 503 : asked == 2 ? 429 : 200;
    co_await exchange.reply(status, "answer " + std::to_string(asked));
  };
  auto body = [&](HttpServer& server) -> Task<void> {
    const v1::Job job = co_await run_retried(server, "/");
    EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
    EXPECT_EQ(job.failures(), 2u);
    WEFT_ASSERT(job.errors_size() == 2);
    EXPECT_EQ(job.errors(0).error_code(), "http_status");
    EXPECT_THAT(job.errors(1).error_message(), ::testing::HasSubstr("429"));
  };
  co_await with_http_server(answer, body);
}

HTTP_TEST(HttpRetry, OnlyWhatMayPassIsRetried) {
  auto answer = [](HttpExchange& exchange) -> Task<void> {
    co_await exchange.reply(std::atoi(exchange.path.c_str() + 1), "sorry");
  };
  auto body = [&](HttpServer& server) -> Task<void> {
    const std::set<int> again = {408, 425, 429, 500, 502, 503, 504, 599};
    for (const int status :
         {400, 401, 403, 404, 408, 410, 422, 425, 429, 499, 500, 502, 503, 504, 599}) {
      const v1::Job job = co_await run_retried(server, "/" + std::to_string(status));
      EXPECT_EQ(job.state(), v1::JOB_STATE_DEAD) << status;
      EXPECT_EQ(job.attempt(), again.contains(status) ? 3u : 1u) << status;
    }
  };
  co_await with_http_server(answer, body);
}

HTTP_TEST(HttpRetry, AConnectionThatBreaksOffIsRetried) {
  int asked = 0;
  auto answer = [&](HttpExchange& exchange) -> Task<void> {
    if (++asked < 3) {
      co_await exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
      exchange.close_after();
    } else {
      co_await exchange.reply(200, "whole");
    }
  };
  auto body = [&](HttpServer& server) -> Task<void> {
    const v1::Job job = co_await run_retried(server, "/");
    EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
    WEFT_ASSERT(job.errors_size() == 2);
    EXPECT_EQ(job.errors(0).error_code(), "connection_lost");
  };
  co_await with_http_server(answer, body);
}

// The shortest pause between the attempts of a job whose server asks for one by `header`.
Task<milliseconds> pause_asked_by(std::string header, milliseconds longest) {
  std::vector<std::chrono::steady_clock::time_point> asked;
  auto answer = [&](HttpExchange& exchange) -> Task<void> {
    asked.push_back(std::chrono::steady_clock::now());
    co_await exchange.reply(503, "busy", "Retry-After: " + header + "\r\n");
  };
  auto body = [&](HttpServer& server) -> Task<void> {
    co_await run_retried(server, "/", milliseconds(1), longest);
  };
  co_await with_http_server(answer, body);
  milliseconds shortest = milliseconds::max();
  EXPECT_EQ(asked.size(), 3u) << header;
  for (size_t i = 1; i < asked.size(); ++i) {
    shortest =
        std::min(shortest, std::chrono::duration_cast<milliseconds>(asked[i] - asked[i - 1]));
  }
  co_return shortest;
}

HTTP_TEST(HttpRetry, RetryAfterIsHonouredUpToTheLongestPauseOfThePolicy) {
  constexpr milliseconds kLongest(200);
  for (const char* header :
       {"1", "3600", "99999999999999999999", "Fri, 31 Dec 2100 23:59:59 GMT"}) {
    const milliseconds pause = co_await pause_asked_by(header, kLongest);
    EXPECT_GE(pause, kLongest) << header;
  }
  // What says nothing leaves the policy's own pauses.
  for (const char* header : {"-1", "soon", "", "0", "Thu, 01 Jan 1970 00:00:00 GMT"}) {
    co_await pause_asked_by(header, kLongest);
  }
}

}  // namespace
}  // namespace weft
