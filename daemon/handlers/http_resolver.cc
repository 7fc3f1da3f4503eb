// getaddrinfo on short-lived threads.
#include "daemon/handlers/http_resolver.h"

#include <netdb.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <weft/base/limits.h>

namespace weft::handlers {
namespace {

Status unresolved(const std::string& host, std::string_view why) {
  return make_status(StatusCode::kUnavailable,
                     "the host name '" + host + "' cannot be resolved: " + std::string(why));
}

}  // namespace

StatusOr<std::string> look_up_host(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (error != 0) return unresolved(host, gai_strerror(error));
  std::string addresses;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    char text[NI_MAXHOST];
    if (getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) !=
        0) {
      continue;
    }
    if (!addresses.empty()) addresses += ',';
    addresses += at->ai_family == AF_INET6 ? "[" + std::string(text) + "]" : std::string(text);
  }
  freeaddrinfo(found);
  if (addresses.empty()) return unresolved(host, "it has no address");
  return addresses;
}

// Outlives the resolver while a lookup runs, so that nobody waits for it at the end.
struct HttpResolver::Shared {
  Shared() : wake(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    WEFT_CHECK(wake.get() >= 0, "the process may open one more descriptor");
  }
  OwnedFd wake;
  std::mutex mutex;
  std::vector<std::pair<std::string, StatusOr<std::string>>> ended;
};

HttpResolver::HttpResolver(LookUp look_up)
    : look_up_(std::move(look_up)), shared_(std::make_shared<Shared>()) {
  EventLoop::current()->poller().add(shared_->wake.get(), *this);
}

HttpResolver::~HttpResolver() { EventLoop::current()->poller().remove(shared_->wake.get()); }

Task<StatusOr<std::string>> HttpResolver::resolve(std::string host) {
  if (const auto answer = answers_.find(host); answer != answers_.end()) {
    if (answer->second.until_ns > EventLoop::current()->now_ns())
      co_return answer->second.addresses;
    answers_.erase(answer);
  }
  std::shared_ptr<Lookup> lookup;
  if (const auto found = lookups_.find(host); found != lookups_.end()) {
    lookup = found->second;
  } else if (waiting_.size() < limits::kHttpLookupsWaiting) {
    lookup = std::make_shared<Lookup>();
    lookups_.emplace(host, lookup);
    waiting_.push_back(host);
    start_lookups();
  } else {
    co_return unresolved(host, "too many lookups wait: try again later");
  }
  co_await lookup->done.wait();
  co_return lookup->addresses;
}

void HttpResolver::start_lookups() {
  while (running_ < limits::kHttpLookups && !waiting_.empty()) {
    const std::string host = std::move(waiting_.front());
    waiting_.pop_front();
    const auto lookup = lookups_.find(host);
    if (lookup->second.use_count() == 1) {  // whoever asked has left
      lookups_.erase(lookup);
      continue;
    }
    const auto run = [shared = shared_, look_up = look_up_, host] {
      StatusOr<std::string> addresses = look_up(host);
      {
        const std::lock_guard lock(shared->mutex);
        shared->ended.emplace_back(host, std::move(addresses));
      }
      const uint64_t one = 1;
      [[maybe_unused]] const ssize_t written = write(shared->wake.get(), &one, sizeof(one));
    };
    try {
      std::thread(run).detach();
      ++running_;
    } catch (const std::system_error& error) {
      lookup->second->addresses = unresolved(host, error.what());
      lookup->second->done.set();
      lookups_.erase(lookup);
    }
  }
}

void HttpResolver::on_events(uint32_t) {
  uint64_t ignored;
  [[maybe_unused]] const ssize_t count = read(shared_->wake.get(), &ignored, sizeof(ignored));
  std::vector<std::pair<std::string, StatusOr<std::string>>> ended;
  {
    const std::lock_guard lock(shared_->mutex);
    ended.swap(shared_->ended);
  }
  for (auto& [host, addresses] : ended) {
    --running_;
    if (answers_.size() >= limits::kHttpAnswersKept) answers_.clear();
    const int64_t kept_ms = addresses.ok() ? limits::kHttpAnswerMs : limits::kHttpNoAnswerMs;
    answers_[host] = {addresses, EventLoop::current()->now_ns() + kept_ms * 1'000'000};
    const auto lookup = lookups_.find(host);
    lookup->second->addresses = std::move(addresses);
    lookup->second->done.set();
    lookups_.erase(lookup);
  }
  start_lookups();
}

}  // namespace weft::handlers
