// HttpClient and AllowedHosts: limits, order, reuse, and which host is which.
#include "daemon/handlers/http_client.h"

#include <gmock/gmock.h>

#include <atomic>
#include <memory>
#include <thread>

#include <weft/base/limits.h>
#include <weft/runtime/task_group.h>

#include "tests/handlers/http_bed.h"

namespace weft {
namespace {

using handlers::AllowedHosts;
using handlers::HttpClient;
using handlers::HttpClientOptions;
using handlers::HttpHead;
using handlers::HttpRequest;
using handlers::HttpTransfer;
using handlers::HttpUrl;
using std::chrono::milliseconds;
using testing::eventually;
using testing::HttpExchange;
using testing::HttpServer;
using testing::mirror;
using testing::with_http_server;

Task<std::unique_ptr<HttpTransfer>> begin(HttpClient* client, std::string url) {
  HttpRequest request(*HttpUrl::parse(url));
  auto started = co_await client->start(std::move(request));
  EXPECT_TRUE(started.ok()) << started.status();
  co_return *std::move(started);
}

HTTP_TEST(HttpClient, BuffersNoMoreThanItsLimit) {
  auto answer = [](HttpExchange& exchange) -> Task<void> {
    co_await exchange.reply(200, std::string(4 << 20, 'x'));
  };
  auto body = [&](HttpServer& server) -> Task<void> {
    HttpClient client({.buffer_bytes = 64 << 10});
    auto transfer = co_await begin(&client, server.url("/"));
    size_t total = 0;
    for (;;) {
      co_await sleep_for(milliseconds(1));  // more comes than is read
      auto piece = co_await transfer->next();
      WEFT_ASSERT(piece.ok());
      if (!*piece) break;
      EXPECT_LE((*piece)->size(), 64u << 10);
      total += (*piece)->size();
    }
    EXPECT_EQ(total, 4u << 20);
  };
  co_await with_http_server(answer, body);
}

HTTP_TEST(HttpClient, TransfersBeyondTheLimitsWaitInOrder) {
  std::vector<std::string> asked;
  auto answer = [&](HttpExchange& exchange) -> Task<void> {
    asked.push_back(exchange.path);
    if (exchange.path == "/first") co_await exchange.wait_for_close();
    co_await exchange.reply(200, "");
  };
  for (const HttpClientOptions& options :
       {HttpClientOptions{.connections_per_host = 1}, HttpClientOptions{.connections = 1}}) {
    asked.clear();
    auto body = [&](HttpServer& server) -> Task<void> {
      HttpClient client(options);
      auto first = co_await begin(&client, server.url("/first"));
      auto waiting = [&](TaskGroup& group) -> Task<void> {
        auto one = [&client](std::string url) -> Task<void> {
          auto transfer = co_await begin(&client, url);
          HttpHead head;
          const Status answered = co_await transfer->head(&head);
          EXPECT_EQ(head.status, 200);
        };
        for (const char* path : {"/2", "/3", "/4"}) group.start(one, server.url(path));
        const bool held = co_await eventually([&] { return asked.size() == 1; });
        EXPECT_TRUE(held);
        EXPECT_EQ(server.accepted(), 1u);
        first.reset();
      };
      co_await with_group(waiting);
      EXPECT_THAT(asked, ::testing::ElementsAre("/first", "/2", "/3", "/4"));
    };
    co_await with_http_server(answer, body);
  }
}

HTTP_TEST(HttpClient, WaitsAreBounded) {
  auto answer = [](HttpExchange& exchange) -> Task<void> { co_await exchange.wait_for_close(); };
  auto body = [&](HttpServer& server) -> Task<void> {
    HttpClient client({.connections = 1, .waiting = 2});
    auto first = co_await begin(&client, server.url("/"));
    size_t refused = 0;
    auto three = [&](TaskGroup& group) -> Task<void> {
      auto one = [&](std::string url) -> Task<void> {
        auto started = co_await client.start(HttpRequest(*HttpUrl::parse(url)));
        EXPECT_EQ(started.status().code(), StatusCode::kResourceExhausted);
        ++refused;
      };
      for (int i = 0; i < 3; ++i) group.start(one, server.url("/"));
      const bool told = co_await eventually([&] { return refused > 0; });
      EXPECT_TRUE(told);
      group.cancel(CancelReason::kUserRequest);
    };
    co_await with_group(three);
    EXPECT_EQ(refused, 1u);
  };
  co_await with_http_server(answer, body);
}

// Names as a test resolves them: "dead…" blocks until it is told to fail. Shared with threads that
// outlive the resolver.
class Names {
 public:
  StatusOr<std::string> look_up(const std::string& host) {
    ++lookups;
    if (!host.starts_with("dead")) return "127.0.0.1";
    while (!fail_now) std::this_thread::yield();
    return make_status(StatusCode::kUnavailable, "there is no " + host);
  }
  std::atomic<size_t> lookups{0};
  std::atomic<bool> fail_now{false};
};

HTTP_TEST(HttpClient, DeadNamesHoldNeitherPlacesNorTheLookupsOfOthers) {
  constexpr size_t kDead = limits::kHttpLookups - 1;  // one of the lookups at once is left
  const auto names = std::make_shared<Names>();
  auto body = [&](HttpServer& server) -> Task<void> {
    HttpClient client({.connections = 1, .look_up = [names](const std::string& host) {
                         return names->look_up(host);
                       }});
    auto with_dead = [&](TaskGroup& group) -> Task<void> {
      auto dead = [&](size_t i) -> Task<void> {
        auto started = co_await client.start(
            HttpRequest(*HttpUrl::parse("http://dead" + std::to_string(i) + "/")));
        EXPECT_EQ(started.status().code(), StatusCode::kUnavailable);
      };
      for (size_t i = 0; i < kDead; ++i) group.start(dead, i);
      const bool blocked = co_await eventually([&] { return names->lookups == kDead; });
      EXPECT_TRUE(blocked);
      auto transfer =
          co_await begin(&client, "http://alive:" + std::to_string(server.port()) + "/");
      HttpHead head;
      const Status answered = co_await transfer->head(&head);
      EXPECT_EQ(head.status, 200) << answered;
      names->fail_now = true;
    };
    co_await with_group(with_dead);
    EXPECT_EQ(names->lookups, kDead + 1);
  };
  co_await with_http_server(mirror, body);
}

HTTP_TEST(HttpResolver, AFailureIsRememberedForAWhile) {
  const auto names = std::make_shared<Names>();
  names->fail_now = true;
  handlers::HttpResolver resolver(
      [names](const std::string& host) { return names->look_up(host); });
  for (int i = 0; i < 3; ++i) {
    const auto answer = co_await resolver.resolve("dead");
    EXPECT_EQ(answer.status().code(), StatusCode::kUnavailable);
  }
  EXPECT_EQ(names->lookups, 1u);
}

HTTP_TEST(HttpClient, ConnectionIsUsedAgain) {
  auto body = [&](HttpServer& server) -> Task<void> {
    HttpClient client;
    for (int i = 0; i < 5; ++i) {
      auto transfer = co_await begin(&client, server.url("/"));
      for (;;) {
        auto piece = co_await transfer->next();
        WEFT_ASSERT(piece.ok());
        if (!*piece) break;
      }
    }
    EXPECT_EQ(server.accepted(), 1u);
  };
  co_await with_http_server(mirror, body);
}

bool allows(const std::vector<std::string>& entries, const std::string& url) {
  return AllowedHosts(entries).allows(*HttpUrl::parse(url));
}

TEST(AllowedHosts, NameMeansItsWebPorts) {
  EXPECT_TRUE(allows({"example.com"}, "http://example.com/"));
  EXPECT_TRUE(allows({"Example.COM"}, "https://EXAMPLE.com/x"));
  EXPECT_FALSE(allows({"example.com"}, "http://example.com:8080/"));
  EXPECT_FALSE(allows({"example.com"}, "http://www.example.com/"));
  EXPECT_FALSE(allows({"example.com"}, "http://badexample.com/"));
  EXPECT_FALSE(allows({"example.com"}, "http://example.com.evil.org/"));
  EXPECT_FALSE(allows({"example.com"}, "http://evil.org/example.com"));
  EXPECT_FALSE(allows({}, "http://example.com/"));
}

TEST(AllowedHosts, PortIsExact) {
  EXPECT_TRUE(allows({"example.com:8080"}, "http://example.com:8080/"));
  EXPECT_FALSE(allows({"example.com:8080"}, "http://example.com/"));
  EXPECT_TRUE(allows({"example.com:443"}, "https://example.com/"));
}

TEST(AllowedHosts, StarMeansEveryNameBelow) {
  EXPECT_TRUE(allows({"*.example.com"}, "http://a.b.example.com/"));
  EXPECT_FALSE(allows({"*.example.com"}, "http://example.com/"));
  EXPECT_FALSE(allows({"*.example.com"}, "http://badexample.com/"));
  EXPECT_TRUE(allows({"*.example.com:81"}, "http://a.example.com:81/"));
  EXPECT_FALSE(allows({"*.example.com"}, "http://a.example.com:81/"));
}

TEST(AllowedHosts, AddressesAreOneHoweverTheyAreWritten) {
  EXPECT_TRUE(allows({"127.0.0.1:80"}, "http://0x7f.1/"));
  EXPECT_TRUE(allows({"[::1]:80"}, "http://[0:0:0:0:0:0:0:1]/"));
  EXPECT_TRUE(allows({"[::1]"}, "http://[::1]/"));
  EXPECT_FALSE(allows({"[::1]"}, "http://[::2]/"));
}

}  // namespace
}  // namespace weft
