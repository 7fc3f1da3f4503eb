// http: which redirects it follows, and what it takes along.
#include <gmock/gmock.h>

#include "tests/handlers/http_bed.h"

namespace weft {
namespace {

using std::chrono::milliseconds;
using testing::expect_failed;
using testing::HttpExchange;
using testing::HttpServer;
using testing::joined;
using testing::mirror;
using testing::Read;
using testing::read;
using testing::result_of;
using testing::run_job;
using testing::with_http_server;
using testing::with_jobs;
using testing::WorkerBed;

HTTP_TEST(Http, RedirectIsFollowedAndNamedInTheResult) {
  auto answer = [](HttpExchange& exchange) -> Task<void> {
    if (exchange.path == "/a/start") {
      co_await exchange.reply(302, "ignored", "Location: ../b/next?x=1\r\n");
    } else {
      co_await mirror(exchange);
    }
  };
  auto body = [](HttpServer& server) -> Task<void> {
    const Read got = co_await run_job(server.host(), {{"url", server.url("/a/start")}});
    const nlohmann::json result = result_of(got);
    EXPECT_EQ(result["url"], server.url("/b/next?x=1"));
    EXPECT_EQ(result["redirects"], 1);
    EXPECT_EQ(nlohmann::json::parse(joined(got))["path"], "/b/next?x=1");
    const Read kept =
        co_await run_job(server.host(), {{"url", server.url("/a/start")}, {"follow", 0}});
    EXPECT_EQ(result_of(kept)["status"], 302);
    EXPECT_EQ(joined(kept), "ignored");
  };
  co_await with_http_server(answer, body);
}

HTTP_TEST(Http, RedirectToAHostThatIsNotAllowedIsNamedAndNotReached) {
  std::string target;
  auto redirects = [&](HttpExchange& exchange) -> Task<void> {
    co_await exchange.reply(302, "", "Location: " + target + "\r\n");
  };
  auto body = [&](HttpServer& server) -> Task<void> {
    auto other = [&](HttpServer& forbidden) -> Task<void> {
      target = forbidden.url("/secret");
      const Read got = co_await run_job(server.host(), {{"url", server.url("/")}});
      expect_failed(got, "not_allowed", "redirects to " + forbidden.host());
      EXPECT_EQ(forbidden.accepted(), 0u);
      for (const char* bad : {"file:///etc/passwd", "ftp://127.0.0.1/", "http://u:p@127.0.0.1/"}) {
        target = bad;
        const Read refused = co_await run_job(server.host(), {{"url", server.url("/")}});
        expect_failed(refused, "not_allowed", "redirects to where no job may go");
      }
    };
    co_await with_http_server(mirror, other);
  };
  co_await with_http_server(redirects, body);
}

HTTP_TEST(Http, RedirectChangesTheMethodAsItsStatusSays) {
  auto answer = [](HttpExchange& exchange) -> Task<void> {
    if (exchange.path == "/end") {
      co_await mirror(exchange);
    } else {
      co_await exchange.reply(std::atoi(exchange.path.c_str() + 1), "", "Location: /end\r\n");
    }
  };
  auto body = [](HttpServer& server) -> Task<void> {
    const std::tuple<const char*, const char*, const char*, const char*> kCases[] = {
        {"/301", "POST", "GET", ""},        {"/302", "POST", "GET", ""},
        {"/303", "PUT", "GET", ""},         {"/307", "POST", "POST", "data"},
        {"/308", "PATCH", "PATCH", "data"}, {"/302", "PUT", "PUT", "data"}};
    for (const auto& [path, method, then, data] : kCases) {
      const Read got =
          co_await run_job(server.host(), {{"url", server.url(path)},
                                           {"method", method},
                                           {"headers", {{"Content-Type", "text/plain"}}},
                                           {"body", "data"}});
      const nlohmann::json seen = nlohmann::json::parse(joined(got));
      EXPECT_EQ(seen["method"], then) << path << method;
      EXPECT_EQ(seen["body"], data) << path << method;
      EXPECT_EQ(seen["headers"].contains("content-type"), *data != '\0') << path << method;
    }
  };
  co_await with_http_server(answer, body);
}

HTTP_TEST(Http, CredentialsStayWithTheHostTheyWereGivenFor) {
  std::string target;
  auto first = [&](HttpExchange& exchange) -> Task<void> {
    if (exchange.path == "/here") {
      co_await exchange.reply(302, "", "Location: /mirror\r\n");
    } else if (exchange.path == "/there") {
      co_await exchange.reply(302, "", "Location: " + target + "\r\n");
    } else {
      co_await mirror(exchange);
    }
  };
  auto body = [&](HttpServer& server) -> Task<void> {
    auto with_other = [&](HttpServer& other) -> Task<void> {
      target = other.url("/");
      auto jobs = [&](WorkerBed& bed) -> Task<void> {
        for (const char* path : {"/here", "/there"}) {
          const nlohmann::json payload = {{"url", server.url(path)},
                                          {"headers",
                                           {{"AUTHORIZATION", "Bearer x"},
                                            {"cookie", "a=b"},
                                            {"X-Api-Key", "k"},
                                            {"Accept", "text/plain"},
                                            {"Accept-Language", "de"},
                                            {"Range", "bytes=0-"}}}};
          const std::string id = co_await bed.submit("http", payload.dump());
          auto reader = co_await bed.attach(id, UINT64_MAX);
          const Read got = co_await read(*reader);
          const nlohmann::json headers = nlohmann::json::parse(joined(got))["headers"];
          const bool same = std::string_view(path) == "/here";
          EXPECT_EQ(headers.contains("authorization"), same);
          EXPECT_EQ(headers.contains("cookie"), same);
          EXPECT_EQ(headers.contains("x-api-key"), same);
          for (const char* kept : {"accept", "accept-language", "range", "user-agent"}) {
            EXPECT_TRUE(headers.contains(kept)) << kept;
          }
        }
      };
      co_await with_jobs({server.host(), other.host()}, {}, jobs);
    };
    co_await with_http_server(mirror, with_other);
  };
  co_await with_http_server(first, body);
}

HTTP_TEST(Http, EndlessRedirectsEnd) {
  size_t requests = 0;
  auto answer = [&](HttpExchange& exchange) -> Task<void> {
    ++requests;
    co_await exchange.reply(302, "", "Location: /again\r\n");
  };
  auto body = [&](HttpServer& server) -> Task<void> {
    const Read got = co_await run_job(server.host(), {{"url", server.url("/")}});
    expect_failed(got, "too_many_redirects", "more than 10 redirects");
    EXPECT_EQ(requests, static_cast<size_t>(limits::kHttpRedirects) + 1);
    requests = 0;
    const Read two = co_await run_job(server.host(), {{"url", server.url("/")}, {"follow", 2}});
    expect_failed(two, "too_many_redirects", "more than 2 redirects");
    EXPECT_EQ(requests, 3u);
  };
  co_await with_http_server(answer, body);
}

HTTP_TEST(Http, RedirectsShareOneTimeLimit) {
  size_t requests = 0;
  auto answer = [&](HttpExchange& exchange) -> Task<void> {
    ++requests;
    co_await sleep_for(milliseconds(60));
    co_await exchange.reply(302, "", "Location: /again\r\n");
  };
  auto body = [&](HttpServer& server) -> Task<void> {
    const Read got =
        co_await run_job(server.host(), {{"url", server.url("/")}, {"timeout_ms", 150}});
    expect_failed(got, "timeout", "");
    EXPECT_LE(requests, 3u);
  };
  co_await with_http_server(answer, body);
}

}  // namespace
}  // namespace weft
