// getaddrinfo, socket, connect.
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <system_error>
#include <thread>

#include <weft/base/check.h>
#include <weft/store/redis/redis_address.h>

namespace weft {
namespace {

using Addresses = std::vector<RedisAddress>;

Status unavailable(const std::string& message) {
  return make_status(StatusCode::kUnavailable, message);
}

StatusOr<Addresses> find(const std::string& host, uint16_t port, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0) {
    return unavailable("the host name '" + host + "' cannot be resolved (" + gai_strerror(error) +
                       ")");
  }
  Addresses addresses;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    RedisAddress& address = addresses.emplace_back();
    std::memcpy(&address.storage, at->ai_addr, at->ai_addrlen);
    address.length = at->ai_addrlen;
  }
  freeaddrinfo(found);
  return addresses;
}

Addresses unix_address(const std::string& path) {
  sockaddr_un unix{};
  unix.sun_family = AF_UNIX;
  std::memcpy(unix.sun_path, path.data(), std::min(path.size(), sizeof(unix.sun_path) - 1));
  Addresses addresses(1);
  std::memcpy(&addresses[0].storage, &unix, sizeof(unix));
  addresses[0].length = sizeof(unix);
  return addresses;
}

}  // namespace

RedisLookup::RedisLookup()
    : wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)), addresses_(Addresses()) {
  WEFT_CHECK(wake_.get() >= 0, "the process may open one more descriptor");
}

StatusOr<std::shared_ptr<RedisLookup>> RedisLookup::start(const RedisServer& server) {
  auto lookup = std::make_shared<RedisLookup>();
  if (!server.path.empty()) {
    lookup->finish(unix_address(server.path));
    return lookup;
  }
  if (auto numeric = find(server.host, server.port, AI_NUMERICHOST); numeric.ok()) {
    lookup->finish(std::move(numeric));
    return lookup;
  }
  try {
    std::thread([lookup, host = server.host, port = server.port] {
      lookup->finish(find(host, port, AI_ADDRCONFIG));
    }).detach();
  } catch (const std::system_error& error) {
    return unavailable(std::string("no thread for looking up the host: ") + error.what());
  }
  return lookup;
}

void RedisLookup::finish(StatusOr<Addresses> addresses) {
  addresses_ = std::move(addresses);
  done_.store(true, std::memory_order_release);
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_.get(), &one, sizeof(one));
}

StatusOr<Addresses> RedisLookup::take_addresses() {
  WEFT_CHECK(done(), "addresses are taken when they are there");
  return std::move(addresses_);
}

StatusOr<RedisSocket> open_redis_socket(const RedisAddress& address) {
  const int family = address.storage.ss_family;
  const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return unavailable(std::strerror(errno));
  RedisSocket opened;
  opened.fd = std::make_unique<OwnedFd>(fd);
  if (family != AF_UNIX) {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  }
  const auto* to = reinterpret_cast<const sockaddr*>(&address.storage);
  opened.connected = connect(fd, to, address.length) == 0;
  if (!opened.connected && errno != EINPROGRESS) return unavailable(std::strerror(errno));
  return opened;
}

Status connect_error(int fd) {
  int error = 0;
  socklen_t length = sizeof(error);
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
  return error == 0 ? Status() : unavailable(std::strerror(error));
}

}  // namespace weft
