// Requests read from sockets of our own.
#include "tests/support/http_server.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <optional>

namespace weft::testing {
namespace {

// Reads until `buffer` holds `enough` bytes, or, with 0, a whole head. False: the client has left.
Task<bool> fill(Socket* socket, std::string* buffer, size_t enough) {
  std::array<char, 4096> bytes;
  while (enough == 0 ? buffer->find("\r\n\r\n") == std::string::npos : buffer->size() < enough) {
    const auto count = co_await socket->read(bytes.data(), bytes.size());
    if (!count.ok() || *count == 0) co_return false;
    buffer->append(bytes.data(), *count);
  }
  co_return true;
}

void parse_head(const std::string& head, HttpExchange& exchange) {
  size_t at = head.find("\r\n");
  const std::string first = head.substr(0, at);
  const size_t space = first.find(' ');
  exchange.method = first.substr(0, space);
  exchange.path = first.substr(space + 1, first.rfind(' ') - space - 1);
  while (at + 2 < head.size()) {
    const size_t end = std::min(head.find("\r\n", at + 2), head.size());
    const std::string line = head.substr(at + 2, end - at - 2);
    const size_t colon = line.find(':');
    if (colon != std::string::npos) {
      std::string name = line.substr(0, colon);
      for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      exchange.headers[name] = line.substr(std::min(colon + 2, line.size()));
    }
    at = end;
  }
}

}  // namespace

Task<bool> HttpExchange::write(std::string bytes) {
  const Status written = co_await socket_.write_all(bytes);
  if (written.ok()) bytes_sent_ += bytes.size();
  co_return written.ok();
}

Task<void> HttpExchange::reply(int status, std::string text, std::string more) {
  std::string answer = "HTTP/1.1 " + std::to_string(status) + " Reason\r\n" + more +
                       "Content-Length: " + std::to_string(text.size()) + "\r\n\r\n";
  if (method != "HEAD") answer += text;
  co_await write(std::move(answer));
}

Task<void> HttpExchange::wait_for_close() {
  close_ = true;
  std::array<char, 64> ignored;
  for (;;) {
    const auto count = co_await socket_.read(ignored.data(), ignored.size());
    if (!count.ok() || *count == 0) co_return;
  }
}

HttpServer::HttpServer() {
  auto listener = Listener::open("127.0.0.1", 0);
  EXPECT_TRUE(listener.ok()) << listener.status();
  listener_ = *std::move(listener);
}

Task<void> HttpServer::run(Answer answer) {
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (;;) {
      const int fd = co_await listener_->accept();
      ++accepted_;
      group.start([this, fd, &answer] { return serve(fd, &answer); });
    }
  };
  co_await with_group(body);
}

Task<void> HttpServer::serve(int fd, const Answer* answer) {
  Socket socket(fd);
  struct Count {
    explicit Count(size_t& open) : count(open) { ++count; }
    ~Count() { --count; }
    size_t& count;
  } const counted(open_);
  std::string buffer;
  for (;;) {
    const bool head = co_await fill(&socket, &buffer, 0);
    if (!head) co_return;
    HttpExchange exchange(socket);
    const size_t end = buffer.find("\r\n\r\n");
    parse_head(buffer.substr(0, end), exchange);
    buffer.erase(0, end + 4);
    const size_t length = std::strtoul(exchange.headers["content-length"].c_str(), nullptr, 10);
    const bool body = length == 0 || co_await fill(&socket, &buffer, length);
    if (!body) co_return;
    exchange.body = buffer.substr(0, length);
    buffer.erase(0, length);
    co_await (*answer)(exchange);
    if (exchange.closes()) co_return;
  }
}

Task<void> with_http_server(HttpServer::Answer answer,
                            std::function<Task<void>(HttpServer&)> body) {
  HttpServer server;
  auto both = [&](TaskGroup& group) -> Task<void> {
    group.start([&server, &answer] { return server.run(answer); });
    co_await body(server);
    group.cancel(CancelReason::kShutdown);
  };
  co_await with_group(both);
}

}  // namespace weft::testing
