// HttpServer: a small HTTP/1.1 server on the test's loop whose answers the test writes byte by
// byte, so that they can be slow, wrong or endless.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include <weft/runtime/socket.h>
#include <weft/runtime/task.h>
#include <weft/runtime/task_group.h>

namespace weft::testing {

// One request, and the connection its answer goes to.
class HttpExchange {
 public:
  explicit HttpExchange(Socket& socket) : socket_(socket) {}
  std::string method;
  std::string path;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;

  // False: the client has left.
  Task<bool> write(std::string bytes);
  // A whole answer. `more`: header lines, each with its CRLF.
  Task<void> reply(int status, std::string body, std::string more = "");
  // Waits until the client has closed the connection.
  Task<void> wait_for_close();
  // Answers over: the connection ends here.
  void close_after() { close_ = true; }
  bool closes() const { return close_; }
  size_t bytes_sent() const { return bytes_sent_; }

 private:
  Socket& socket_;
  bool close_ = false;
  size_t bytes_sent_ = 0;
};

// Thread: the loop's. Lifetime: outlives run().
class HttpServer {
 public:
  using Answer = std::function<Task<void>(HttpExchange&)>;

  HttpServer();
  uint16_t port() const { return listener_->port(); }
  std::string host() const { return "127.0.0.1:" + std::to_string(port()); }
  std::string url(const std::string& path) const { return "http://" + host() + path; }
  // Connections open now, and all there were.
  size_t open() const { return open_; }
  size_t accepted() const { return accepted_; }

  // Answers requests, each connection's one after the other, until cancelled.
  Task<void> run(Answer answer);

 private:
  Task<void> serve(int fd, const Answer* answer);
  std::unique_ptr<Listener> listener_;
  size_t open_ = 0;
  size_t accepted_ = 0;
};

// Runs body(server) beside a server that answers with `answer`.
Task<void> with_http_server(HttpServer::Answer answer, std::function<Task<void>(HttpServer&)> body);

}  // namespace weft::testing
