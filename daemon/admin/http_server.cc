// libmicrohttpd inside the loop: its epoll descriptor in ours, its connections under our timers.
#include "daemon/admin/http_server.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <spdlog/spdlog.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <exception>
#include <optional>
#include <string_view>
#include <utility>

#include <weft/base/intrusive_list.h>
#include <weft/runtime/sleep.h>
#include <weft/runtime/socket.h>
#include <weft/runtime/task_group.h>

namespace weft {
namespace {

struct PeerAddress {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// The bytes that tell one client from another: its address without the port.
std::string host_of(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    return std::string(reinterpret_cast<const char*>(&v4->sin_addr), sizeof(v4->sin_addr));
  }
  if (address->sa_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
    return std::string(reinterpret_cast<const char*>(&v6->sin6_addr), sizeof(v6->sin6_addr));
  }
  return "";
}

constexpr int kRefusalReads = 16;

// Says why, as far as the socket takes it at once, and closes.
void refuse(int fd, std::string_view why) {
  std::string answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n";
  answer += "Connection: close\r\nRetry-After: 1\r\nContent-Length: ";
  answer += std::to_string(why.size()) + "\r\n\r\n";
  answer += why;
  send(fd, answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  // Unread bytes would turn the close into a reset, which can overtake the answer; but a client
  // that sends as fast as we read must not hold the loop.
  char unread[4096];
  for (int round = 0; round < kRefusalReads; ++round) {
    if (recv(fd, unread, sizeof(unread), MSG_DONTWAIT) != sizeof(unread)) break;
  }
  close(fd);
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(HttpServerOptions options, std::vector<HttpPage> pages, std::unique_ptr<Listener> listener);
  ~Impl();
  bool start();
  uint16_t port() const { return listener_->port(); }
  Task<void> run();
  HttpServerStats stats() const;

 private:
  // One connection. Its timer is of the loop, since libmicrohttpd's starts again at every byte.
  class Connection final : public Timer, public ListNode<Connection> {
   public:
    Connection(Impl& server, int fd, std::string host)
        : server_(server), fd_(fd), host_(std::move(host)) {}
    ~Connection() {
      if (armed()) EventLoop::current()->disarm(*this);
    }
    void expect_within(int64_t ms) {
      EventLoop* loop = EventLoop::current();
      if (armed()) loop->disarm(*this);
      loop->arm(*this, loop->after_ns(std::chrono::milliseconds(ms)));
    }
    const std::string& host() const { return host_; }

    bool asks = true;       // from the first request on: a request is under way
    size_t body_bytes = 0;  // sent with this request, and ignored

   private:
    // libmicrohttpd, which owns the descriptor, sees the end and closes.
    void fire() override {
      ++server_.stats_.timeouts;
      shutdown(fd_, SHUT_RDWR);
    }
    Impl& server_;
    const int fd_;
    const std::string host_;
  };

  static void on_connection(void* self, MHD_Connection* handle, void** context,
                            MHD_ConnectionNotificationCode code);
  static void* on_request_line(void* self, const char* uri, MHD_Connection* handle);
  static MHD_Result on_request(void* self, MHD_Connection* handle, const char* path,
                               const char* method, const char* version, const char* body,
                               size_t* body_bytes, void** request);
  static void on_completed(void* self, MHD_Connection* handle, void** request,
                           MHD_RequestTerminationCode code);
  static Connection* connection_of(MHD_Connection* handle);

  MHD_Result answer(MHD_Connection* handle, const HttpReply& reply, bool last = false);
  HttpReply reply_to(std::string_view path) const;
  std::string list_of_pages() const;
  size_t connections_of(const std::string& host);
  void admit(int fd);
  Task<void> accept_connections();
  Task<void> serve_connections();
  Task<void> serve_ready();

  const HttpServerOptions options_;
  const std::vector<HttpPage> pages_;
  std::unique_ptr<Listener> listener_;
  MHD_Daemon* daemon_ = nullptr;
  std::optional<FdWatch> watch_;
  IntrusiveList<Connection, Connection> connections_;
  HttpServerStats stats_;
};

HttpServer::Impl::Impl(HttpServerOptions options, std::vector<HttpPage> pages,
                       std::unique_ptr<Listener> listener)
    : options_(std::move(options)), pages_(std::move(pages)), listener_(std::move(listener)) {}

HttpServer::Impl::~Impl() {
  watch_.reset();
  if (daemon_ != nullptr) MHD_stop_daemon(daemon_);  // closes, and so frees, every connection
}

// We accept, so that a client beyond a bound hears of it instead of waiting in the backlog.
bool HttpServer::Impl::start() {
  const auto bound = static_cast<unsigned>(options_.connections);
  daemon_ = MHD_start_daemon(
      MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, nullptr, nullptr, &on_request, this,
      MHD_OPTION_CONNECTION_LIMIT, bound, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
      options_.request_bytes, MHD_OPTION_NOTIFY_CONNECTION, &on_connection, this,
      MHD_OPTION_NOTIFY_COMPLETED, &on_completed, this, MHD_OPTION_URI_LOG_CALLBACK,
      &on_request_line, this, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
  if (daemon_ == nullptr) return false;
  watch_.emplace(MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd);
  return true;
}

HttpServerStats HttpServer::Impl::stats() const { return stats_; }

Task<void> HttpServer::Impl::run() {
  auto body = [this](TaskGroup& group) -> Task<void> {
    group.start([this] { return accept_connections(); }).set_name("admin: accepts");
    group.start([this] { return serve_connections(); }).set_name("admin: serves");
    co_return;
  };
  co_await with_group(body);
}

Task<void> HttpServer::Impl::accept_connections() {
  for (;;) {
    Task<int> next = listener_->accept();
    const int fd = co_await next;
    admit(fd);
    Task<void> serve = serve_ready();
    co_await serve;
    co_await yield_now();  // a flood of connections is a turn each
  }
}

Task<void> HttpServer::Impl::serve_connections() {
  for (;;) {
    co_await watch_->readable();
    watch_->clear_readable();  // before: what comes during the run is seen by the next one
    Task<void> serve = serve_ready();
    co_await serve;
  }
}

// Its own timeouts are not in use, so it asks for "at once" or for nothing.
Task<void> HttpServer::Impl::serve_ready() {
  MHD_run(daemon_);
  MHD_UNSIGNED_LONG_LONG wait_ms = 0;
  while (MHD_get_timeout(daemon_, &wait_ms) == MHD_YES && wait_ms == 0) {
    co_await yield_now();
    MHD_run(daemon_);
  }
}

size_t HttpServer::Impl::connections_of(const std::string& host) {
  size_t count = 0;
  auto add = [&](Connection& connection) { count += connection.host() == host ? 1 : 0; };
  connections_.for_each(add);
  return count;
}

void HttpServer::Impl::admit(int fd) {
  PeerAddress peer;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer.storage), &peer.length) != 0) {
    close(fd);  // gone already
    return;
  }
  if (stats_.connections >= options_.connections) {
    ++stats_.connections_refused;
    refuse(fd, "too many connections: try again later\n");
  } else if (connections_of(host_of(peer.get())) >= options_.connections_per_address) {
    ++stats_.connections_refused;
    refuse(fd, "too many connections from your address: close some of them\n");
  } else if (MHD_add_connection(daemon_, fd, peer.get(), peer.length) != MHD_YES) {
    ++stats_.connections_refused;  // no memory; it has closed the descriptor
  }
}

HttpServer::Impl::Connection* HttpServer::Impl::connection_of(MHD_Connection* handle) {
  const MHD_ConnectionInfo* info =
      MHD_get_connection_info(handle, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
  return static_cast<Connection*>(info->socket_context);
}

void HttpServer::Impl::on_connection(void* self, MHD_Connection* handle, void** context,
                                     MHD_ConnectionNotificationCode code) {
  auto* server = static_cast<Impl*>(self);
  if (code == MHD_CONNECTION_NOTIFY_STARTED) {
    const int fd = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    const sockaddr* peer =
        MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
    auto* connection = new Connection(*server, fd, host_of(peer));
    server->connections_.push_back(*connection);
    ++server->stats_.connections;
    connection->expect_within(server->options_.header_ms);
    *context = connection;
  } else {
    auto* connection = static_cast<Connection*>(*context);
    --server->stats_.connections;
    delete connection;  // unlinks itself
  }
}

void* HttpServer::Impl::on_request_line(void* self, const char*, MHD_Connection* handle) {
  Connection* connection = connection_of(handle);
  // The first request's time runs since the connection was made.
  if (!std::exchange(connection->asks, true)) {
    connection->expect_within(static_cast<Impl*>(self)->options_.header_ms);
  }
  return nullptr;
}

// Called when the headers are there, for each piece of a body, and when the request is complete.
MHD_Result HttpServer::Impl::on_request(void* self, MHD_Connection* handle, const char* path,
                                        const char* method, const char*, const char*,
                                        size_t* body_bytes, void** request) {
  auto* server = static_cast<Impl*>(self);
  Connection* connection = connection_of(handle);
  if (*request == nullptr) {
    *request = connection;
    connection->body_bytes = 0;
    const std::string_view verb = method;
    if (verb == "GET" || verb == "HEAD") return MHD_YES;
    HttpReply reply{.status = MHD_HTTP_METHOD_NOT_ALLOWED, .body = "use GET or HEAD\n"};
    return server->answer(handle, reply, /*last=*/true);
  }
  if (*body_bytes > 0) {
    connection->body_bytes += *body_bytes;
    *body_bytes = 0;
    return connection->body_bytes <= server->options_.request_bytes ? MHD_YES : MHD_NO;
  }
  // A C library is no place for an exception.
  HttpReply reply;
  try {
    reply = server->reply_to(path);
  } catch (const std::exception& error) {
    spdlog::error("the page {} failed: {}", path, error.what());
    reply = {.status = MHD_HTTP_INTERNAL_SERVER_ERROR, .body = "this page failed; see the log\n"};
  }
  return server->answer(handle, reply);
}

void HttpServer::Impl::on_completed(void* self, MHD_Connection* handle, void**,
                                    MHD_RequestTerminationCode) {
  Connection* connection = connection_of(handle);
  connection->asks = false;
  connection->expect_within(static_cast<Impl*>(self)->options_.idle_ms);
}

MHD_Result HttpServer::Impl::answer(MHD_Connection* handle, const HttpReply& reply, bool last) {
  ++stats_.requests;
  // Copied, not changed: the library's signature knows no const.
  MHD_Response* response = MHD_create_response_from_buffer(
      reply.body.size(), const_cast<char*>(reply.body.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply.content_type.c_str());
  if (reply.status == MHD_HTTP_METHOD_NOT_ALLOWED) {
    MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
  }
  if (last) MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
  const MHD_Result queued =
      MHD_queue_response(handle, static_cast<unsigned>(reply.status), response);
  MHD_destroy_response(response);
  connection_of(handle)->expect_within(options_.idle_ms);
  return queued;
}

HttpReply HttpServer::Impl::reply_to(std::string_view path) const {
  for (const HttpPage& page : pages_) {
    if (page.path == path) return page.reply();
  }
  if (path == "/") return {.body = list_of_pages()};
  return {.status = MHD_HTTP_NOT_FOUND, .body = "no such page; there are:\n" + list_of_pages()};
}

std::string HttpServer::Impl::list_of_pages() const {
  std::string list;
  for (const HttpPage& page : pages_) list += page.path + "  " + page.about + "\n";
  return list;
}

StatusOr<std::unique_ptr<HttpServer>> HttpServer::open(HttpServerOptions options,
                                                       std::vector<HttpPage> pages) {
  auto listener = options.listening_fd >= 0 ? Listener::adopt(options.listening_fd)
                                            : Listener::open(options.address, options.port);
  if (!listener.ok()) return listener.status();
  auto impl = std::make_unique<Impl>(std::move(options), std::move(pages), *std::move(listener));
  if (!impl->start()) {
    return make_status(StatusCode::kInternal,
                       "the admin pages cannot be served: libmicrohttpd does not start");
  }
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;
uint16_t HttpServer::port() const { return impl_->port(); }
Task<void> HttpServer::run() { return impl_->run(); }
HttpServerStats HttpServer::stats() const { return impl_->stats(); }

}  // namespace weft
