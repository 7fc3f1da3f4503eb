// The HTTP server of the admin pages against clients that are good, slow, greedy and wrong.
#include "daemon/admin/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <weft/runtime/task_group.h>

#include "tests/support/coro_test.h"
#include "tests/support/http_client.h"

namespace weft {
namespace {

using std::chrono::milliseconds;
using ::testing::EndsWith;
using testing::ExternalWork;
using ::testing::HasSubstr;
using testing::HttpClient;
using ::testing::StartsWith;

constexpr size_t kLargeBytes = 16 << 20;  // more than any socket buffer

std::vector<HttpPage> pages() {
  auto hello = [] { return HttpReply{.body = "hello\n"}; };
  auto broken = []() -> HttpReply { throw std::runtime_error("broken"); };
  auto large = [] { return HttpReply{.body = std::string(kLargeBytes, 'x')}; };
  return {
      {"/hello", "says hello", hello}, {"/broken", "throws", broken}, {"/large", "is long", large}};
}

template <typename Body>
Task<void> with_server(HttpServerOptions options, Body body) {
  auto server = HttpServer::open(std::move(options), pages());
  WEFT_ASSERT(server.ok());
  auto both = [&](TaskGroup& group) -> Task<void> {
    group.start([&server] { return (*server)->run(); });
    Task<void> test = body(**server);
    co_await test;
    group.cancel(CancelReason::kShutdown);
  };
  co_await with_group(both);
}

// One request on a connection of its own.
Task<std::string> ask(const HttpServer& server, std::string request) {
  HttpClient client = co_await HttpClient::connect(server.port());
  co_await client.send(std::move(request));
  co_return co_await client.read_answer();
}

CORO_TEST(HttpServer, AnswersItsPagesAndListsThem) {
  auto body = [](HttpServer& server) -> Task<void> {
    HttpClient client = co_await HttpClient::connect(server.port());
    const std::string hello = co_await client.get("/hello?with=query");
    EXPECT_THAT(hello, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(hello, HasSubstr("Content-Type: text/plain; charset=utf-8\r\n"));
    EXPECT_THAT(hello, EndsWith("\r\n\r\nhello\n"));
    const std::string list = co_await client.get("/");
    EXPECT_THAT(list, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(list, HasSubstr("/hello  says hello\n"));
    const std::string missing = co_await client.get("/hell");
    EXPECT_THAT(missing, StartsWith("HTTP/1.1 404 "));
    EXPECT_THAT(missing, HasSubstr("/hello  says hello\n"));
    EXPECT_EQ(server.stats().connections, 1u) << "one connection was kept";
    EXPECT_EQ(server.stats().requests, 3u);
  };
  Task<void> test = with_server({}, body);
  co_await test;
}

CORO_TEST(HttpServer, HeadHasNoBodyAndOtherMethodsAreRefused) {
  auto body = [](HttpServer& server) -> Task<void> {
    HttpClient client = co_await HttpClient::connect(server.port());
    co_await client.send("HEAD /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const std::string head = co_await client.read_to_end();
    EXPECT_THAT(head, HasSubstr("Content-Length: 6\r\n"));
    EXPECT_THAT(head, EndsWith("\r\n\r\n"));
    for (const std::string method : {"POST", "PUT", "DELETE", "BREW"}) {
      const std::string answer =
          co_await ask(server, method + " /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
      EXPECT_THAT(answer, StartsWith("HTTP/1.1 405 ")) << method;
      EXPECT_THAT(answer, HasSubstr("Allow: GET, HEAD\r\n"));
    }
    const std::string endless =
        co_await ask(server, "POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx");
    EXPECT_THAT(endless, StartsWith("HTTP/1.1 405 ")) << "the body is not waited for";
  };
  Task<void> test = with_server({}, body);
  co_await test;
}

CORO_TEST(HttpServer, PipelinedRequestsAreAnsweredInOrder) {
  auto body = [](HttpServer& server) -> Task<void> {
    HttpClient client = co_await HttpClient::connect(server.port());
    std::string requests;
    for (int i = 0; i < 100; ++i) {
      requests += i % 2 == 0 ? "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
                             : "GET /missing HTTP/1.1\r\nHost: x\r\n\r\n";
    }
    co_await client.send(requests);
    for (int i = 0; i < 100; ++i) {
      const std::string answer = co_await client.read_answer();
      EXPECT_THAT(answer, StartsWith(i % 2 == 0 ? "HTTP/1.1 200 " : "HTTP/1.1 404 ")) << i;
    }
  };
  Task<void> test = with_server({}, body);
  co_await test;
}

CORO_TEST(HttpServer, APageThatThrowsIsAnErrorOfThatPageAlone) {
  auto body = [](HttpServer& server) -> Task<void> {
    HttpClient client = co_await HttpClient::connect(server.port());
    const std::string broken = co_await client.get("/broken");
    EXPECT_THAT(broken, StartsWith("HTTP/1.1 500 "));
    const std::string hello = co_await client.get("/hello");
    EXPECT_THAT(hello, StartsWith("HTTP/1.1 200 "));
  };
  Task<void> test = with_server({}, body);
  co_await test;
}

CORO_TEST(HttpServer, AMegabyteOfHeadersIsRefusedAndHurtsNobody) {
  auto body = [](HttpServer& server) -> Task<void> {
    HttpClient other = co_await HttpClient::connect(server.port());
    const std::string start = "GET /hello HTTP/1.1\r\nHost: x\r\nX-Filler: ";
    const std::string small =
        co_await ask(server, start + std::string(limits::kAdminRequestBytes / 2, 'x') + "\r\n\r\n");
    EXPECT_THAT(small, StartsWith("HTTP/1.1 200 "));
    for (const size_t bytes : {limits::kAdminRequestBytes + 1, size_t{1} << 20}) {
      const std::string answer = co_await ask(server, start + std::string(bytes, 'x') + "\r\n\r\n");
      EXPECT_THAT(answer, StartsWith("HTTP/1.1 431 ")) << bytes;
    }
    const std::string path =
        co_await ask(server, "GET /" + std::string(1 << 20, 'x') + " HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(path, StartsWith("HTTP/1.1 414 "));
    const std::string hello = co_await other.get("/hello");
    EXPECT_THAT(hello, StartsWith("HTTP/1.1 200 "));
  };
  Task<void> test = with_server({}, body);
  co_await test;
}

CORO_TEST(HttpServer, ATrickledRequestIsCutOffInTime) {
  auto body = [](HttpServer& server) -> Task<void> {
    HttpClient client = co_await HttpClient::connect(server.port());
    HttpClient good = co_await HttpClient::connect(server.port());
    co_await client.send("GET /hello HTTP/1.1\r\nX-Slow: ");
    const std::string served = co_await good.get("/hello");
    EXPECT_THAT(served, StartsWith("HTTP/1.1 200 ")) << "the slow one keeps nobody waiting";
    for (int64_t ms = 0; ms + 100 < limits::kAdminHeaderMs; ms += 100) {
      co_await client.send("x");
      co_await sleep_for(milliseconds(100));
    }
    EXPECT_EQ(server.stats().connections, 2u);
    co_await client.send("x");
    co_await sleep_for(milliseconds(200));
    const std::string rest = co_await client.read_to_end();
    EXPECT_EQ(rest, "");
    EXPECT_EQ(server.stats().connections, 1u);
    EXPECT_EQ(server.stats().timeouts, 1u);
  };
  Task<void> test = with_server({}, body);
  co_await test;
}

CORO_TEST(HttpServer, AKeptConnectionMayIdleButNotTrickle) {
  auto body = [](HttpServer& server) -> Task<void> {
    HttpClient idle = co_await HttpClient::connect(server.port());
    HttpClient slow = co_await HttpClient::connect(server.port());
    for (HttpClient* client : {&idle, &slow}) {
      const std::string hello = co_await client->get("/hello");
      EXPECT_THAT(hello, StartsWith("HTTP/1.1 200 "));
    }
    co_await sleep_for(milliseconds(limits::kAdminHeaderMs * 2));
    EXPECT_EQ(server.stats().timeouts, 0u);
    co_await slow.send("GET /hello HTTP/1.1\r\nX-Slow: ");
    co_await sleep_for(milliseconds(limits::kAdminHeaderMs - 100));
    EXPECT_EQ(server.stats().timeouts, 0u);
    co_await slow.send("x");
    co_await sleep_for(milliseconds(200));
    EXPECT_EQ(server.stats().timeouts, 1u);
    const std::string hello = co_await idle.get("/hello");
    EXPECT_THAT(hello, StartsWith("HTTP/1.1 200 "));
    co_await sleep_for(milliseconds(limits::kAdminIdleMs + 100));
    EXPECT_EQ(server.stats().timeouts, 2u);
    const std::string end = co_await idle.read_to_end();
    EXPECT_EQ(end, "");
    EXPECT_EQ(server.stats().connections, 0u);
  };
  Task<void> test = with_server({}, body);
  co_await test;
}

CORO_TEST(HttpServer, AClientThatDoesNotReadIsCutOff) {
  auto body = [](HttpServer& server) -> Task<void> {
    HttpClient client = co_await HttpClient::connect(server.port());
    co_await client.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    const std::string hello = co_await ask(server, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(hello, StartsWith("HTTP/1.1 200 "));
    co_await sleep_for(milliseconds(limits::kAdminIdleMs + 100));
    const std::string start = co_await client.read_to_end();
    EXPECT_LT(start.size(), kLargeBytes);
    EXPECT_EQ(server.stats().timeouts, 1u);
    EXPECT_EQ(server.stats().connections, 0u);
  };
  Task<void> test = with_server({}, body);
  co_await test;
}

CORO_TEST(HttpServer, ALargePageArrivesWhole) {
  auto body = [](HttpServer& server) -> Task<void> {
    HttpClient client = co_await HttpClient::connect(server.port());
    const std::string answer = co_await client.get("/large");
    EXPECT_GT(answer.size(), kLargeBytes);
    EXPECT_TRUE(answer.ends_with(std::string(1000, 'x')));
  };
  Task<void> test = with_server({}, body);
  co_await test;
}

CORO_TEST(HttpServer, OneConnectionTooManyHearsOfIt) {
  auto body = [](HttpServer& server) -> Task<void> {
    std::vector<HttpClient> clients;
    for (int i = 0; i < 3; ++i) {
      clients.push_back(co_await HttpClient::connect(server.port()));
      const std::string hello = co_await clients.back().get("/hello");
      EXPECT_THAT(hello, StartsWith("HTTP/1.1 200 ")) << i;
    }
    const std::string refused = co_await ask(server, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(refused, StartsWith("HTTP/1.1 503 "));
    EXPECT_THAT(refused, HasSubstr("too many connections: try again later"));
    EXPECT_EQ(server.stats().connections, 3u);
    EXPECT_EQ(server.stats().connections_refused, 1u);
    clients.pop_back();
    while (server.stats().connections == 3) {
      const ExternalWork waiting;
      co_await yield_now();
    }
    const std::string hello = co_await ask(server, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(hello, StartsWith("HTTP/1.1 200 "));
  };
  Task<void> test = with_server({.connections = 3, .connections_per_address = 3}, body);
  co_await test;
}

// A connection from another address of the loopback network.
Task<HttpClient> connect_from(std::string address, uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  inet_pton(AF_INET, address.c_str(), &name.sin_addr);
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  inet_pton(AF_INET, "127.0.0.1", &name.sin_addr);
  name.sin_port = htons(port);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  co_return HttpClient(Socket(fd));
}

CORO_TEST(HttpServer, OneAddressCannotTakeAllConnections) {
  auto body = [](HttpServer& server) -> Task<void> {
    HttpClient first = co_await HttpClient::connect(server.port());
    HttpClient second = co_await HttpClient::connect(server.port());
    const std::string hello = co_await second.get("/hello");
    EXPECT_THAT(hello, StartsWith("HTTP/1.1 200 "));
    const std::string refused = co_await ask(server, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(refused, HasSubstr("too many connections from your address"));
    HttpClient neighbour = co_await connect_from("127.0.0.2", server.port());
    const std::string served = co_await neighbour.get("/hello");
    EXPECT_THAT(served, StartsWith("HTTP/1.1 200 "));
  };
  Task<void> test = with_server({.connections = 10, .connections_per_address = 2}, body);
  co_await test;
}

// Sends to the port until the peer closes, or all of `most` is sent; returns how much.
size_t flood(uint16_t port, size_t most) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(port);
  inet_pton(AF_INET, "127.0.0.1", &name.sin_addr);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  const std::string block(1 << 16, 'x');
  size_t sent = 0;
  while (sent < most) {
    const ssize_t count = send(fd, block.data(), block.size(), MSG_NOSIGNAL);
    if (count <= 0) break;
    sent += static_cast<size_t>(count);
  }
  close(fd);
  return sent;
}

CORO_TEST(HttpServer, ARefusedClientThatSendsWithoutEndIsCutOff) {
  auto body = [](HttpServer& server) -> Task<void> {
    constexpr size_t kMost = 256 << 20;  // more than all buffers of both sides
    HttpClient first = co_await HttpClient::connect(server.port());
    const std::string hello = co_await first.get("/hello");
    EXPECT_THAT(hello, StartsWith("HTTP/1.1 200 "));
    std::atomic<size_t> sent = 0;
    std::jthread client([&sent, port = server.port()] { sent = flood(port, kMost); });
    while (sent == 0) {
      const std::string answer = co_await first.get("/hello");
      EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 "));
    }
    EXPECT_LT(sent, kMost);
  };
  Task<void> test = with_server({.connections = 1}, body);
  co_await test;
}

Task<void> ask_often(uint16_t port, int* answered) {
  HttpClient client = co_await HttpClient::connect(port);
  for (int i = 0; i < 20; ++i) {
    const std::string answer = co_await client.get("/hello");
    if (answer.ends_with("hello\n")) ++*answered;
  }
}

CORO_TEST(HttpServer, ManyClientsAtOnceAreAllServed) {
  auto body = [](HttpServer& server) -> Task<void> {
    int answered = 0;
    auto all = [&](TaskGroup& group) -> Task<void> {
      for (size_t i = 0; i < limits::kAdminConnectionsPerAddress; ++i) {
        group.start(&ask_often, server.port(), &answered);
      }
      co_return;
    };
    co_await with_group(all);
    EXPECT_EQ(answered, 20 * static_cast<int>(limits::kAdminConnectionsPerAddress));
    EXPECT_EQ(server.stats().connections_refused, 0u);
  };
  Task<void> test = with_server({}, body);
  co_await test;
}

CORO_TEST(HttpServer, GarbageEndsItsOwnConnectionOnly) {
  auto body = [](HttpServer& server) -> Task<void> {
    for (const std::string& garbage :
         {std::string("garbage\r\n\r\n"), std::string("\x16\x03\x01\x02\x00\x01\x00", 7),
          std::string(100, '\0') + "\r\n\r\n", std::string("GET\r\n\r\n")}) {
      HttpClient client = co_await HttpClient::connect(server.port());
      co_await client.send(garbage);
      co_await sleep_for(milliseconds(limits::kAdminHeaderMs + 100));
      const std::string answer = co_await client.read_to_end();
      EXPECT_FALSE(answer.starts_with("HTTP/1.1 200")) << answer;
    }
    const std::string hello = co_await ask(server, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(hello, StartsWith("HTTP/1.1 200 "));
  };
  Task<void> test = with_server({}, body);
  co_await test;
}

CORO_TEST(HttpServer, EndsWithConnectionsOpen) {
  std::optional<HttpClient> client;
  auto body = [&client](HttpServer& server) -> Task<void> {
    client.emplace(co_await HttpClient::connect(server.port()));
    const std::string hello = co_await client->get("/hello");
    EXPECT_THAT(hello, StartsWith("HTTP/1.1 200 "));
    co_await client->send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
  };
  Task<void> test = with_server({}, body);
  co_await test;
  const std::string rest = co_await client->read_to_end();
  EXPECT_LT(rest.size(), kLargeBytes);
}

CORO_TEST(HttpServer, APortInUseIsRefused) {
  auto first = HttpServer::open({}, pages());
  WEFT_ASSERT(first.ok());
  HttpServerOptions options;
  options.port = (*first)->port();
  auto second = HttpServer::open(options, pages());
  EXPECT_EQ(second.status().code(), StatusCode::kAlreadyExists);
  co_return;
}

}  // namespace
}  // namespace weft
