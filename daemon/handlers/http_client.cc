// libcurl's multi interface, driven by the loop's poller and timers.
#include "daemon/handlers/http_client.h"

#include <curl/curl.h>
#include <sys/epoll.h>

#include <chrono>
#include <optional>
#include <utility>

#include <weft/runtime/combinators.h>

namespace weft::handlers {
namespace {

constexpr int kEventsPerPoll = 64;
constexpr long kIdleConnections = 100;  // kept open for the next request to their host

// Counts what waits, however the wait ends.
class Counted {
 public:
  explicit Counted(size_t& count) : count_(count) { ++count_; }
  ~Counted() { --count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  size_t& count_;
};

}  // namespace

HttpClient::HttpClient(HttpClientOptions options)
    : options_(std::move(options)),
      resolver_(options_.look_up),
      connections_(options_.connections),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      multi_(nullptr) {
  static const CURLcode global = curl_global_init(CURL_GLOBAL_DEFAULT);
  WEFT_CHECK(global == CURLE_OK, "libcurl starts");
  WEFT_CHECK(epoll_.get() >= 0, "the process may open one more descriptor");
  multi_ = curl_multi_init();
  WEFT_CHECK(multi_ != nullptr, "libcurl has memory");
  CURLM* multi = multi_;
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, &HttpClient::on_socket);
  curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, &HttpClient::on_timer);
  curl_multi_setopt(multi, CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
  curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, kIdleConnections);
  EventLoop::current()->poller().add(epoll_.get(), *this, false);
}

HttpClient::~HttpClient() {
  EventLoop::current()->poller().remove(epoll_.get());
  curl_multi_cleanup(multi_);
  EventLoop::current()->disarm(*this);
}

Task<StatusOr<std::unique_ptr<HttpTransfer>>> HttpClient::start(HttpRequest request) {
  if (waiting_ >= options_.waiting) {
    co_return make_status(
        StatusCode::kResourceExhausted,
        std::to_string(waiting_) + " requests wait for a connection already: try again later");
  }
  std::optional<Counted> counted(std::in_place, waiting_);
  // First, so that names that nobody answers for hold none of the places.
  std::string addresses;
  if (!request.url.is_address()) {
    const std::chrono::milliseconds limit(options_.connect_ms);
    auto lookup = co_await with_timeout(limit, resolver_.resolve(request.url.host()));
    if (!lookup) {
      co_return make_status(StatusCode::kDeadlineExceeded,
                            "the host name '" + request.url.host() + "' was not resolved within " +
                                std::to_string(options_.connect_ms) + " ms");
    }
    if (!lookup->ok()) co_return lookup->status();
    addresses = **std::move(lookup);
  }
  auto place = std::make_unique<HttpPlace>(*this, request.url.host_and_port());
  co_await place->take();
  counted.reset();
  std::unique_ptr<HttpTransfer> transfer(
      new HttpTransfer(*this, std::move(place), std::move(request)));
  const Status begun = transfer->begin(addresses);
  if (!begun.ok()) co_return begun;
  co_return transfer;
}

// Called by libcurl: which readiness of `fd` it wants to hear of.
int HttpClient::on_socket(void*, int fd, int what, void* client, void* socket_data) {
  HttpClient& self = *static_cast<HttpClient*>(client);
  if (what == CURL_POLL_REMOVE) {
    epoll_ctl(self.epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
    return 0;
  }
  epoll_event event{};
  if (what & CURL_POLL_IN) event.events |= EPOLLIN;
  if (what & CURL_POLL_OUT) event.events |= EPOLLOUT;
  event.data.fd = fd;
  const int operation = socket_data == nullptr ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (epoll_ctl(self.epoll_.get(), operation, fd, &event) != 0) return -1;
  curl_multi_assign(self.multi_, fd, &self);
  return 0;
}

// Called by libcurl: when it wants to be called next.
int HttpClient::on_timer(void*, long timeout_ms, void* client) {
  HttpClient& self = *static_cast<HttpClient*>(client);
  EventLoop& loop = *EventLoop::current();
  loop.disarm(self);
  if (timeout_ms >= 0) loop.arm(self, loop.after_ns(std::chrono::milliseconds(timeout_ms)));
  return 0;
}

void HttpClient::on_events(uint32_t) {
  epoll_event events[kEventsPerPoll];
  const int count = epoll_wait(epoll_.get(), events, kEventsPerPoll, 0);
  for (int i = 0; i < count; ++i) {
    int what = 0;  // an error alone: libcurl looks for itself
    if (events[i].events & EPOLLIN) what |= CURL_CSELECT_IN;
    if (events[i].events & EPOLLOUT) what |= CURL_CSELECT_OUT;
    act(events[i].data.fd, what);
  }
}

void HttpClient::fire() { act(CURL_SOCKET_TIMEOUT, 0); }

void HttpClient::act(int fd, int events) {
  int running = 0;
  curl_multi_socket_action(multi_, fd, events, &running);
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    void* transfer = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    static_cast<HttpTransfer*>(transfer)->on_end(message->data.result);
  }
}

HttpPlace::HttpPlace(HttpClient& client, const std::string& host)
    : client_(client),
      host_(client.hosts_.try_emplace(host, client.options_.connections_per_host).first) {
  ++host_->second.users;
}

HttpPlace::~HttpPlace() {
  of_all_.reset();
  of_host_.reset();
  if (--host_->second.users == 0) client_.hosts_.erase(host_);
}

Task<void> HttpPlace::take() {
  auto of_host = co_await host_->second.permits.acquire();
  of_host_.emplace(std::move(of_host));
  auto of_all = co_await client_.connections_.acquire();
  of_all_.emplace(std::move(of_all));
}

}  // namespace weft::handlers
