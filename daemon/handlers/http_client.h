// HttpClient and HttpTransfer: HTTP/1.1 requests as coroutines await them, by libcurl on our loop.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <weft/base/limits.h>
#include <weft/runtime/event.h>
#include <weft/runtime/fd_watch.h>
#include <weft/runtime/semaphore.h>
#include <weft/runtime/task.h>

#include "daemon/handlers/http_resolver.h"
#include "daemon/handlers/http_url.h"

namespace weft::handlers {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

class HttpRequest {
 public:
  explicit HttpRequest(HttpUrl to) : url(std::move(to)) {}
  HttpUrl url;
  std::string method = "GET";
  HttpHeaders headers;  // names are tokens, values have no control characters
  std::optional<std::string> body;
  int64_t timeout_ms = limits::kHttpTotalMs;
  uint64_t max_bytes = limits::kHttpBodyBytes;
};

// What comes before a response's body.
class HttpHead {
 public:
  int status = 0;
  HttpHeaders headers;  // names in lower case
  // Null: there is none. Of several the first.
  const std::string* find(std::string_view name) const;
};

struct HttpClientOptions {
  size_t connections = limits::kHttpConnections;
  size_t connections_per_host = limits::kHttpConnectionsPerHost;
  size_t waiting = limits::kResidentJobs;  // transfers that wait for one of these
  size_t buffer_bytes = limits::kHttpBufferBytes;
  size_t header_bytes = limits::kHttpHeaderBytes;
  int64_t connect_ms = limits::kHttpConnectMs;
  HttpResolver::LookUp look_up = &look_up_host;
};

class HttpPlace;
class HttpTransfer;

// Follows no redirect, uses no proxy and no file of the user's, verifies TLS, speaks HTTP/1.1.
// Thread: the loop's; the only other threads look names up. Lifetime: outlives its transfers.
class HttpClient final : private PollTarget, private Timer {
 public:
  explicit HttpClient(HttpClientOptions options = {});
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Looks the host up, waits for its turn and begins to send. Waiting is in order, for the host
  // first. Cancellation: at once. Errors: RESOURCE_EXHAUSTED when too many wait already;
  // UNAVAILABLE for a host without an address; DEADLINE_EXCEEDED for one not found in time.
  Task<StatusOr<std::unique_ptr<HttpTransfer>>> start(HttpRequest request);

 private:
  friend class HttpPlace;
  friend class HttpTransfer;
  struct Host {
    explicit Host(size_t limit) : permits(limit) {}
    Semaphore permits;
    size_t users = 0;  // transfers of it, those included that wait
  };
  using Hosts = std::map<std::string, Host, std::less<>>;
  static int on_socket(void* easy, int fd, int what, void* client, void* socket_data);
  static int on_timer(void* multi, long timeout_ms, void* client);
  void on_events(uint32_t events) override;
  void fire() override;
  void act(int fd, int events);

  const HttpClientOptions options_;
  HttpResolver resolver_;
  Semaphore connections_;
  Hosts hosts_;
  size_t waiting_ = 0;
  OwnedFd epoll_;  // libcurl's sockets, level-triggered as it expects them
  void* multi_;
};

// What a transfer occupies of its client's limits, from when it asks until it is destroyed.
class HttpPlace {
 public:
  HttpPlace(HttpClient& client, const std::string& host);
  ~HttpPlace();
  HttpPlace(const HttpPlace&) = delete;
  HttpPlace& operator=(const HttpPlace&) = delete;
  // Waits for its turn.
  Task<void> take();

 private:
  HttpClient& client_;
  const HttpClient::Hosts::iterator host_;
  std::optional<Semaphore::Permit> of_host_;
  std::optional<Semaphore::Permit> of_all_;
};

// One request and its response. Destroying it ends the transfer at once.
// Errors of head() and next(): DEADLINE_EXCEEDED after timeout_ms (from its start on, the lookup
// not counted) or the time to connect; UNAVAILABLE when the server cannot be reached; DATA_LOSS
// when it breaks off; OUT_OF_RANGE over max_bytes or the limit of headers; FAILED_PRECONDITION when
// TLS fails; INTERNAL for anything else.
// Limits: received and not yet read: `buffer_bytes`; then the server is not read from any more.
class HttpTransfer {
 public:
  ~HttpTransfer();
  HttpTransfer(const HttpTransfer&) = delete;
  HttpTransfer& operator=(const HttpTransfer&) = delete;

  // Waits for status and headers.
  Task<Status> head(HttpHead* out);
  // Whether next() would return at once.
  bool ready() const { return !buffer_.empty() || ended_; }
  // What has come of the body since the last call; waits for some. Nothing: it was all.
  Task<StatusOr<std::optional<std::string>>> next();

 private:
  friend class HttpClient;
  HttpTransfer(HttpClient& client, std::unique_ptr<HttpPlace> place, HttpRequest request);
  Status begin(const std::string& addresses);
  void set_options();
  void set_body();
  void on_end(int code);
  bool on_header(std::string_view line);
  size_t on_body(std::string_view data);
  Status failure(int code) const;
  Status not_an_answer() const;
  static size_t header_callback(char* data, size_t size, size_t count, void* transfer);
  static size_t body_callback(char* data, size_t size, size_t count, void* transfer);

  HttpClient& client_;
  const std::unique_ptr<HttpPlace> place_;
  const HttpRequest request_;
  void* easy_ = nullptr;         // null: ended, or never begun
  void* header_list_ = nullptr;  // libcurl reads both lists until the end
  void* address_list_ = nullptr;
  std::vector<char> error_text_;  // libcurl writes into it
  std::string buffer_;
  uint64_t received_ = 0;
  size_t header_bytes_ = 0;
  HttpHead head_;
  bool head_done_ = false;
  bool paused_ = false;
  bool ended_ = false;
  Status refused_;  // why a callback of ours stopped it
  Status result_;
  Event changed_;
};

}  // namespace weft::handlers
