// HttpClient: speaks HTTP by hand, so that tests can be as slow or as wrong as they like.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <weft/runtime/socket.h>

namespace weft::testing {

// While one lives, the kernel owes the test an answer, and virtual time stands still.
class ExternalWork {
 public:
  ExternalWork() { EventLoop::current()->begin_external(); }
  ~ExternalWork() { EventLoop::current()->end_external(); }
  ExternalWork(const ExternalWork&) = delete;
  ExternalWork& operator=(const ExternalWork&) = delete;
};

// One connection. Thread: the loop's.
class HttpClient {
 public:
  explicit HttpClient(Socket socket) : socket_(std::move(socket)) {}

  static Task<HttpClient> connect(uint16_t port) {
    const ExternalWork waiting;
    StatusOr<Socket> socket = co_await Socket::connect("127.0.0.1", port);
    if (!socket.ok()) throw std::runtime_error(socket.status().ToString());
    co_return HttpClient(*std::move(socket));
  }
  // What a server that has closed does not take is dropped: its answer says why.
  Task<void> send(std::string text) {
    const ExternalWork waiting;
    [[maybe_unused]] const Status sent = co_await socket_.write_all(text);
  }
  // All that comes until the server closes.
  Task<std::string> read_to_end() {
    const ExternalWork waiting;
    while (co_await read_more()) {
    }
    co_return std::exchange(received_, "");
  }
  // The next answer, head and body; what there was when the server closed before its end.
  Task<std::string> read_answer() {
    const ExternalWork waiting;
    while (!answer_size() || received_.size() < *answer_size()) {
      const bool more = co_await read_more();
      if (!more) co_return std::exchange(received_, "");
    }
    const std::string answer = received_.substr(0, *answer_size());
    received_.erase(0, answer.size());
    co_return answer;
  }
  Task<std::string> get(std::string path) {
    co_await send("GET " + path + " HTTP/1.1\r\nHost: test\r\n\r\n");
    co_return co_await read_answer();
  }

 private:
  Task<bool> read_more() {
    std::array<char, 16384> buffer;
    const StatusOr<size_t> count = co_await socket_.read(buffer.data(), buffer.size());
    if (count.ok()) received_.append(buffer.data(), *count);
    co_return count.ok() && *count > 0;
  }
  std::optional<size_t> answer_size() const {
    const size_t head = received_.find("\r\n\r\n");
    const std::string name = "Content-Length: ";
    const size_t length = received_.find(name);
    if (head == std::string::npos || length > head) return std::nullopt;
    return head + 4 + std::stoul(received_.substr(length + name.size(), 20));
  }

  Socket socket_;
  std::string received_;
};

// One GET on a loop of its own: the whole answer, head and body. `address`: 127.0.0.1:PORT.
inline std::string get_page(const std::string& address, const std::string& path) {
  const auto port = static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
  auto get = [](uint16_t to, std::string what) -> Task<std::string> {
    HttpClient client = co_await HttpClient::connect(to);
    co_return co_await client.get(std::move(what));
  };
  EventLoop loop;
  return loop.run(get(port, path));
}

}  // namespace weft::testing
