// http: what it sends, streams and refuses, against a real server and the real clock.
#include "daemon/handlers/http.h"

#include <gmock/gmock.h>

#include <memory>

#include "daemon/handlers/handlers.h"
#include "tests/handlers/http_bed.h"
#include "tests/support/worker_bed.h"

namespace weft {
namespace {

using std::chrono::milliseconds;
using testing::eventually;
using testing::expect_failed;
using ::testing::HasSubstr;
using testing::HttpExchange;
using testing::HttpServer;
using testing::joined;
using testing::mirror;
using testing::Read;
using testing::read;
using testing::result_of;
using testing::run_job;
using testing::with_bed;
using testing::with_http_server;
using testing::with_jobs;
using testing::WorkerBed;

HTTP_TEST(Http, GetYieldsTheBodyAndReturnsStatusAndHeaders) {
  auto body = [](HttpServer& server) -> Task<void> {
    const Read got = co_await run_job(
        server.host(), {{"url", server.url("/a?b=c#d")}, {"headers", {{"X-Me", "you"}}}});
    const nlohmann::json result = result_of(got);
    EXPECT_EQ(result["status"], 200);
    EXPECT_EQ(result["url"], server.url("/a?b=c"));
    EXPECT_EQ(result["headers"]["x-one"], "1");
    EXPECT_EQ(result["headers"]["x-two"], "a, b");
    EXPECT_EQ(result["bytes"], joined(got).size());
    EXPECT_EQ(result["redirects"], 0);
    const nlohmann::json seen = nlohmann::json::parse(joined(got));
    EXPECT_EQ(seen["method"], "GET");
    EXPECT_EQ(seen["path"], "/a?b=c");
    EXPECT_EQ(seen["headers"]["x-me"], "you");
    EXPECT_FALSE(seen["headers"].contains("content-type"));
  };
  co_await with_http_server(mirror, body);
}

HTTP_TEST(Http, SendsEachMethodWithItsBody) {
  auto body = [](HttpServer& server) -> Task<void> {
    for (const char* method : {"POST", "PUT", "PATCH", "DELETE"}) {
      const Read got =
          co_await run_job(server.host(), {{"url", server.url("/")},
                                           {"method", method},
                                           {"headers", {{"Content-Type", "application/json"}}},
                                           {"body", R"({"a":1})"}});
      const nlohmann::json seen = nlohmann::json::parse(joined(got));
      EXPECT_EQ(seen["method"], method);
      EXPECT_EQ(seen["body"], R"({"a":1})");
      EXPECT_EQ(seen["headers"]["content-type"], "application/json");
      EXPECT_FALSE(seen["headers"].contains("expect"));
    }
    for (const char* method : {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}) {
      const Read got =
          co_await run_job(server.host(), {{"url", server.url("/")}, {"method", method}});
      EXPECT_EQ(result_of(got)["status"], 200) << method;
      if (std::string_view(method) != "HEAD") {
        EXPECT_EQ(nlohmann::json::parse(joined(got))["method"], method);
      }
    }
  };
  co_await with_http_server(mirror, body);
}

HTTP_TEST(Http, SendsALargeBodyAtOnce) {
  const std::string large(3 << 20, 'x');
  auto answer = [](HttpExchange& exchange) -> Task<void> {
    co_await exchange.reply(200, std::to_string(exchange.body.size()));
  };
  auto body = [&](HttpServer& server) -> Task<void> {
    const Read got = co_await run_job(
        server.host(), {{"url", server.url("/")}, {"method", "POST"}, {"body", large}});
    EXPECT_EQ(joined(got), std::to_string(large.size()));
  };
  co_await with_http_server(answer, body);
}

HTTP_TEST(Http, YieldsPiecesWhileTheServerStillSends) {
  Event go_on;
  auto answer = [&](HttpExchange& exchange) -> Task<void> {
    co_await exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    co_await go_on.wait();
    co_await exchange.write("3\r\ntwo\r\n0\r\nX-Trailer: late\r\n\r\n");
  };
  auto body = [&](HttpServer& server) -> Task<void> {
    auto jobs = [&](WorkerBed& bed) -> Task<void> {
      const std::string id =
          co_await bed.submit("http", nlohmann::json{{"url", server.url("/")}}.dump());
      auto reader = co_await bed.attach(id, UINT64_MAX);
      const Read first = co_await read(*reader, 1);
      EXPECT_EQ(joined(first), "one");
      go_on.set();
      const Read rest = co_await read(*reader);
      EXPECT_EQ(joined(rest), "two");
      EXPECT_FALSE(result_of(rest)["headers"].contains("x-trailer"));
    };
    co_await with_jobs({server.host()}, {}, jobs);
  };
  co_await with_http_server(answer, body);
}

HTTP_TEST(Http, StatusOf400OrMoreFailsAfterItsBodyUnlessAsked) {
  auto answer = [](HttpExchange& exchange) -> Task<void> {
    co_await exchange.reply(std::atoi(exchange.path.c_str() + 1), "sorry");
  };
  auto body = [](HttpServer& server) -> Task<void> {
    for (const char* path : {"/400", "/404", "/503"}) {
      const Read failed = co_await run_job(server.host(), {{"url", server.url(path)}});
      expect_failed(failed, "http_status", std::string("has the status ") + (path + 1));
      EXPECT_EQ(joined(failed), "sorry");
      const Read fine =
          co_await run_job(server.host(), {{"url", server.url(path)}, {"fail_on_status", false}});
      EXPECT_EQ(result_of(fine)["status"], std::atoi(path + 1));
    }
    const Read unchanged = co_await run_job(server.host(), {{"url", server.url("/399")}});
    EXPECT_EQ(result_of(unchanged)["status"], 399);
  };
  co_await with_http_server(answer, body);
}

HTTP_TEST(Http, HostThatIsNotAllowedIsNotReached) {
  auto body = [](HttpServer& server) -> Task<void> {
    for (const char* allowed : {"127.0.0.1", "127.0.0.1:1", "example.com", "*.0.0.1"}) {
      const Read got = co_await run_job(allowed, {{"url", server.url("/")}});
      expect_failed(got, "not_allowed", "start weftd with --allow-host " + server.host());
    }
    EXPECT_EQ(server.accepted(), 0u);
  };
  co_await with_http_server(mirror, body);
}

HTTP_TEST(Http, BadPayloadsAreNamed) {
  const std::string long_url = "http://a/" + std::string(limits::kHttpUrlBytes - 8, 'x');
  const std::string long_value(limits::kHttpHeaderBytes, 'x');
  const std::pair<nlohmann::json, const char*> kBad[] = {
      {nlohmann::json::object(), "needs the field 'url'"},
      {{{"url", "http://a/"}, {"metod", "GET"}}, "unknown field 'metod'"},
      {{{"url", "ftp://a/"}}, "has the scheme 'ftp': use http or https"},
      {{{"url", "file:///etc/passwd"}}, "has the scheme 'file'"},
      {{{"url", "a/b"}}, "cannot be read"},
      {{{"url", ""}}, "cannot be read"},
      {{{"url", "http://"}}, "cannot be read"},
      {{{"url", "http://me:secret@a/"}}, "carries a user name or password"},
      {{{"url", "http://me@a/"}}, "carries a user name or password"},
      {{{"url", "http://a/ b"}}, "cannot be read"},
      {{{"url", "http://a/\r\nX: y"}}, "cannot be read"},
      {{{"url", "http://\xC3\xA4.example/"}}, "write it in punycode"},
      {{{"url", "http://a:0/"}}, "port 0"},
      {{{"url", "http://a:70000/"}}, "cannot be read"},
      {{{"url", long_url}}, "the limit is 8192"},
      {{{"url", "http://a/"}, {"method", "get"}}, "use GET, HEAD, POST, PUT, PATCH or DELETE"},
      {{{"url", "http://a/"}, {"method", "CONNECT"}}, "use GET, HEAD, POST"},
      {{{"url", "http://a/"}, {"body", "x"}}, "not with GET"},
      {{{"url", "http://a/"}, {"method", "HEAD"}, {"body", "x"}}, "not with HEAD"},
      {{{"url", "http://a/"}, {"headers", {{"A", 1}}}}, "values are strings"},
      {{{"url", "http://a/"}, {"headers", {{"A", "b\r\nEvil: 1"}}}}, "control character"},
      {{{"url", "http://a/"}, {"headers", {{"A\r\nEvil", "b"}}}}, "is not a header's name"},
      {{{"url", "http://a/"}, {"headers", {{"A b", "c"}}}}, "is not a header's name"},
      {{{"url", "http://a/"}, {"headers", {{"", "c"}}}}, "is not a header's name"},
      {{{"url", "http://a/"}, {"headers", {{"HOST", "b"}}}}, "leave 'HOST' out"},
      {{{"url", "http://a/"}, {"headers", {{"Transfer-Encoding", "chunked"}}}}, "leave 'Transfer"},
      {{{"url", "http://a/"}, {"headers", {{"A", long_value}}}}, "may have 65536 bytes"},
      {{{"url", "http://a/"}, {"timeout_ms", 0}}, "from 1 to 600000"},
      {{{"url", "http://a/"}, {"timeout_ms", 600'001}}, "from 1 to 600000"},
      {{{"url", "http://a/"}, {"max_bytes", (1 << 30) + 1}}, "from 0 to 1073741824"},
      {{{"url", "http://a/"}, {"follow", 11}}, "from 0 to 10"},
      {{{"url", "http://a/"}, {"fail_on_status", 1}}, "must be true or false"},
  };
  auto jobs = [&](WorkerBed& bed) -> Task<void> {
    for (const auto& [payload, message] : kBad) {
      const std::string id = co_await bed.submit("http", payload.dump());
      const v1::Finished finished = co_await bed.finished(id);
      EXPECT_EQ(finished.outcome().error_code(), "invalid_payload") << payload.dump();
      EXPECT_THAT(finished.outcome().error_message(), HasSubstr(message));
    }
  };
  co_await with_jobs({"a:80"}, {}, jobs);
}

HTTP_TEST(Http, BodyOfTheLimitPassesAndOneByteMoreFails) {
  const std::string text(100'000, 'x');
  auto answer = [&](HttpExchange& exchange) -> Task<void> { co_await exchange.reply(200, text); };
  auto body = [&](HttpServer& server) -> Task<void> {
    const Read fits =
        co_await run_job(server.host(), {{"url", server.url("/")}, {"max_bytes", 100'000}});
    EXPECT_EQ(joined(fits), text);
    const Read longer =
        co_await run_job(server.host(), {{"url", server.url("/")}, {"max_bytes", 99'999}});
    expect_failed(longer, "too_large", "more than 99999 bytes: raise max_bytes");
  };
  co_await with_http_server(answer, body);
}

HTTP_TEST(Http, EndlessBodyEndsAtTheLimit) {
  size_t sent = 0;
  auto answer = [&](HttpExchange& exchange) -> Task<void> {
    bool there = co_await exchange.write("HTTP/1.1 200 OK\r\n\r\n");
    while (there) there = co_await exchange.write(std::string(16'384, 'x'));
    sent = exchange.bytes_sent();
    exchange.close_after();
  };
  auto body = [&](HttpServer& server) -> Task<void> {
    const Read got =
        co_await run_job(server.host(), {{"url", server.url("/")}, {"max_bytes", 1'000'000}});
    expect_failed(got, "too_large", "more than 1000000 bytes");
    const bool closed = co_await eventually([&] { return server.open() == 0; });
    EXPECT_TRUE(closed);
    EXPECT_GE(sent, 1'000'000u);
  };
  co_await with_http_server(answer, body);
}

HTTP_TEST(Http, TooManyHeadersFail) {
  size_t bytes = 0;
  auto answer = [&](HttpExchange& exchange) -> Task<void> {
    std::string more;
    const std::string head = "HTTP/1.1 200 Reason\r\nContent-Length: 2\r\n\r\n";
    while (head.size() + more.size() + 1000 <= bytes) {
      more += "X-" + std::to_string(more.size() % 7) + ": " + std::string(993, 'y') + "\r\n";
    }
    if (const size_t left = bytes - head.size() - more.size(); left > 5) {
      more += "Z: " + std::string(left - 5, 'z') + "\r\n";
    }
    co_await exchange.reply(200, "ok", more);
  };
  auto body = [&](HttpServer& server) -> Task<void> {
    bytes = limits::kHttpHeaderBytes;
    const Read fits = co_await run_job(server.host(), {{"url", server.url("/")}});
    EXPECT_EQ(joined(fits), "ok");
    bytes = limits::kHttpHeaderBytes + 1;
    const Read over = co_await run_job(server.host(), {{"url", server.url("/")}});
    expect_failed(over, "too_large", "more than 65536 bytes of headers");
  };
  co_await with_http_server(answer, body);
}

HTTP_TEST(Http, EndlessInterimAnswersEnd) {
  auto answer = [](HttpExchange& exchange) -> Task<void> {
    bool there = true;
    while (there) there = co_await exchange.write("HTTP/1.1 100 Continue\r\n\r\n");
    exchange.close_after();
  };
  auto body = [](HttpServer& server) -> Task<void> {
    const Read over = co_await run_job(server.host(), {{"url", server.url("/")}});
    expect_failed(over, "too_large", "bytes of headers");
  };
  co_await with_http_server(answer, body);
}

HTTP_TEST(Http, TimeIsLimitedBeforeHeadersAmongThemAndInTheBody) {
  auto answer = [](HttpExchange& exchange) -> Task<void> {
    if (exchange.path == "/headers") co_await exchange.write("HTTP/1.1 200 OK\r\nX-Slow: ");
    if (exchange.path == "/body") co_await exchange.write("HTTP/1.1 200 OK\r\n\r\nbegin");
    co_await exchange.wait_for_close();
  };
  auto body = [](HttpServer& server) -> Task<void> {
    for (const char* path : {"/silent", "/headers", "/body"}) {
      // A busy machine may take longer than that to connect, which is another message.
      Read got;
      const std::string words = server.url(path) + " failed: Operation timed out";
      for (int ms = 50; ms < 60'000; ms *= 4) {
        got = co_await run_job(server.host(), {{"url", server.url(path)}, {"timeout_ms", ms}});
        if (got.finished->outcome().error_message().find(words) != std::string::npos) break;
      }
      expect_failed(got, "timeout", words);
    }
    const bool closed = co_await eventually([&] { return server.open() == 0; });
    EXPECT_TRUE(closed);
  };
  co_await with_http_server(answer, body);
}

HTTP_TEST(Http, RefusedConnectionFails) {
  std::string gone;
  auto body = [&](HttpServer& server) -> Task<void> {
    gone = server.host();
    co_return;
  };
  co_await with_http_server(mirror, body);
  const Read got = co_await run_job(gone, {{"url", "http://" + gone + "/"}});
  expect_failed(got, "connection_failed", "failed: Failed to connect to 127.0.0.1");
}

HTTP_TEST(Http, ServerThatClosesEarlyFails) {
  auto answer = [](HttpExchange& exchange) -> Task<void> {
    if (exchange.path == "/length") {
      co_await exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    }
    if (exchange.path == "/chunked") {
      co_await exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    }
    exchange.close_after();
  };
  auto body = [](HttpServer& server) -> Task<void> {
    for (const char* path : {"/length", "/chunked"}) {
      const Read got = co_await run_job(server.host(), {{"url", server.url(path)}});
      expect_failed(got, "connection_lost", server.url(path));
      EXPECT_EQ(joined(got), "half");
    }
    const Read nothing = co_await run_job(server.host(), {{"url", server.url("/nothing")}});
    expect_failed(nothing, "connection_lost", "Empty reply from server");
  };
  co_await with_http_server(answer, body);
}

HTTP_TEST(Http, AnswerThatIsNotHttpFails) {
  auto answer = [](HttpExchange& exchange) -> Task<void> {
    co_await exchange.write("SSH-2.0-OpenSSH_9.2\r\n");
    exchange.close_after();
  };
  auto body = [](HttpServer& server) -> Task<void> {
    const Read got = co_await run_job(server.host(), {{"url", server.url("/")}});
    expect_failed(got, "http_error", "HTTP/0.9");
    // A server that says nothing to the beginning of TLS is not connected to in time.
    Read tls;
    const std::string words = "failed: SSL connection timeout";
    for (int ms = 50; ms < 60'000; ms *= 4) {  // a busy machine may not begin it within the first
      tls = co_await run_job(server.host(), {{"url", "https://" + server.host() + "/"}},
                             {.connect_ms = ms});
      if (tls.finished->outcome().error_message().find(words) != std::string::npos) break;
    }
    expect_failed(tls, "timeout", words);
  };
  co_await with_http_server(answer, body);
}

HTTP_TEST(Http, SwitchToAnotherProtocolFails) {
  auto answer = [](HttpExchange& exchange) -> Task<void> {
    co_await exchange.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n" +
                            std::string("Connection: Upgrade\r\n\r\n"));
    if (exchange.path == "/hangs") co_await exchange.wait_for_close();
    exchange.close_after();
  };
  auto body = [](HttpServer& server) -> Task<void> {
    for (const char* path : {"/hangs", "/closes"}) {
      const Read got = co_await run_job(server.host(), {{"url", server.url(path)}});
      expect_failed(got, "http_error", "switches to another protocol");
    }
  };
  co_await with_http_server(answer, body);
}

// Before the head, and in the body.
HTTP_TEST(Http, JobsThatWaitForTheNetworkHoldNoSlot) {
  constexpr size_t kJobs = 5;
  Event go_on;
  auto answer = [&](HttpExchange& exchange) -> Task<void> {
    if (exchange.path == "/body") {
      co_await exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none");
    }
    co_await go_on.wait();
    if (exchange.path == "/body") {
      co_await exchange.write("two");
    } else {
      co_await exchange.reply(200, "onetwo");
    }
  };
  auto body = [&](HttpServer& server) -> Task<void> {
    auto jobs = [&](WorkerBed& bed) -> Task<void> {
      std::vector<std::unique_ptr<Subscription>> readers;
      for (size_t i = 0; i < kJobs; ++i) {
        const nlohmann::json payload = {{"url", server.url(i % 2 == 0 ? "/silent" : "/body")}};
        const std::string id = co_await bed.submit("http", payload.dump());
        readers.push_back(co_await bed.attach(id, UINT64_MAX));
      }
      const bool all_wait = co_await eventually([&] { return server.open() == kJobs; });
      EXPECT_TRUE(all_wait);
      const std::string other = co_await bed.submit("echo", "x");
      const auto finished = co_await bed.finished(other);
      EXPECT_EQ(finished.state(), v1::JOB_STATE_SUCCEEDED);
      go_on.set();
      for (const auto& reader : readers) {
        const Read got = co_await read(*reader);
        EXPECT_EQ(joined(got), "onetwo");
        EXPECT_EQ(result_of(got)["status"], 200);
      }
    };
    Registry registry;
    register_stock_handlers(registry, {.allow_hosts = {server.host()}});
    testing::BedOptions one_slot;
    one_slot.concurrency = 1;
    co_await with_bed(std::move(one_slot), std::move(registry), jobs);
  };
  co_await with_http_server(answer, body);
}

HTTP_TEST(Http, CancelledJobLeavesTheServerAtOnce) {
  auto answer = [](HttpExchange& exchange) -> Task<void> {
    if (exchange.path == "/body") co_await exchange.write("HTTP/1.1 200 OK\r\n\r\nbegin");
    co_await exchange.wait_for_close();
  };
  auto body = [&](HttpServer& server) -> Task<void> {
    auto jobs = [&](WorkerBed& bed) -> Task<void> {
      for (const char* path : {"/silent", "/body"}) {
        const std::string id =
            co_await bed.submit("http", nlohmann::json{{"url", server.url(path)}}.dump());
        const bool there = co_await eventually([&] { return server.open() == 1; });
        EXPECT_TRUE(there);
        co_await bed.cancel(id, "enough");
        const v1::Finished finished = co_await bed.finished(id);
        EXPECT_EQ(finished.state(), v1::JOB_STATE_CANCELLED);
        const bool left = co_await eventually([&] { return server.open() == 0; });
        EXPECT_TRUE(left);
      }
    };
    co_await with_jobs({server.host()}, {}, jobs);
  };
  co_await with_http_server(answer, body);
}

HTTP_TEST(Http, ReaderThatStopsStopsTheServer) {
  constexpr size_t kAll = 64 << 20;
  size_t sent = 0;
  auto answer = [&](HttpExchange& exchange) -> Task<void> {
    co_await exchange.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(kAll) +
                            "\r\n\r\n");
    const std::string piece(16'384, 'x');
    for (size_t at = 0; at < kAll; at += piece.size()) {
      const bool there = co_await exchange.write(piece);
      if (!there) break;
      sent = at + piece.size();
    }
  };
  auto body = [&](HttpServer& server) -> Task<void> {
    auto jobs = [&](WorkerBed& bed) -> Task<void> {
      const std::string id = co_await bed.submit(
          "http", nlohmann::json{{"url", server.url("/")}}.dump(), v1::STREAM_POLICY_PAUSE);
      auto reader = co_await bed.attach(id, 1);
      const Read first = co_await read(*reader, 1);
      EXPECT_FALSE(first.chunks.empty());
      // It stands still once everything between the two is full.
      size_t before = 0;
      auto same_again = [&] { return std::exchange(before, sent) == sent; };
      for (int still = 0; still < 50;) {
        co_await sleep_for(milliseconds(1));
        still = same_again() ? still + 1 : 0;
      }
      // The window, our buffer, and what the kernel holds of both ends of the connection.
      EXPECT_LT(sent, limits::kWindowBytes + 2 * limits::kHttpBufferBytes + (12u << 20));
      reader->set_credit(UINT64_MAX);
      const Read rest = co_await read(*reader);
      EXPECT_EQ(joined(first).size() + joined(rest).size(), kAll);
      EXPECT_EQ(result_of(rest)["bytes"], kAll);
    };
    co_await with_jobs({server.host()}, {}, jobs);
  };
  co_await with_http_server(answer, body);
}

HTTP_TEST(Http, NamesAreLookedUpOffTheLoop) {
  auto body = [&](HttpServer& server) -> Task<void> {
    const std::string local = "localhost:" + std::to_string(server.port());
    const Read got = co_await run_job(local, {{"url", "http://" + local + "/"}});
    EXPECT_EQ(result_of(got)["status"], 200);
    const Read none = co_await run_job("nobody.invalid", {{"url", "http://nobody.invalid/"}});
    expect_failed(none, "connection_failed", "the host name 'nobody.invalid' cannot be resolved");
  };
  co_await with_http_server(mirror, body);
}

TEST(StockHandlers, HttpIsThereOnlyWhenAHostIsAllowed) {
  EventLoop loop;
  Registry without, with;
  register_stock_handlers(without, {});
  register_stock_handlers(with, {.allow_hosts = {"example.com"}});
  EXPECT_EQ(without.find("http"), nullptr);
  EXPECT_NE(with.find("http"), nullptr);
}

}  // namespace
}  // namespace weft
