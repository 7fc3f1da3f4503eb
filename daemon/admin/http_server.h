// HttpServer: a few pages over HTTP, served by the loop itself.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <weft/base/limits.h>
#include <weft/base/status.h>
#include <weft/runtime/task.h>

namespace weft {

struct HttpReply {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

// `reply` runs on the loop and must not block; what it throws becomes a 500.
struct HttpPage {
  std::string path;
  std::string about;  // for the list of pages
  std::function<HttpReply()> reply;
};

struct HttpServerOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 0;      // 0: a free one
  int listening_fd = -1;  // an inherited socket to use instead; -1: none
  size_t connections = limits::kAdminConnections;
  size_t connections_per_address = limits::kAdminConnectionsPerAddress;
  size_t request_bytes = limits::kAdminRequestBytes;
  int64_t header_ms = limits::kAdminHeaderMs;
  int64_t idle_ms = limits::kAdminIdleMs;
};

struct HttpServerStats {
  size_t connections = 0;
  uint64_t connections_refused = 0;  // beyond a bound of connections
  uint64_t requests = 0;             // answered by a page, or with an error about the request
  uint64_t timeouts = 0;             // connections closed for being slow or idle
};

// Answers GET and HEAD; "/" and every unknown path list the pages. No thread: each piece of work is
// a turn of the loop. Thread: the loop's. Lifetime: run() has returned before it is destroyed,
// which closes all connections. Cancellation: run() serves until it is cancelled. Limits: those of
// the options. Too many connections get 503, requests that are too long 414 or 431; a client that
// takes longer than header_ms for a request, or idle_ms to read the answer or to ask again, is
// disconnected, however steadily its bytes trickle in.
class HttpServer {
 public:
  // Listens when it returns. Errors: those of Listener::open; INTERNAL when libmicrohttpd fails.
  static StatusOr<std::unique_ptr<HttpServer>> open(HttpServerOptions options,
                                                    std::vector<HttpPage> pages);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  uint16_t port() const;
  Task<void> run();
  HttpServerStats stats() const;

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft
