// From a RedisServer to a socket: names looked up on a thread, connects that never block.
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include <weft/base/status.h>
#include <weft/runtime/fd_watch.h>
#include <weft/store/redis/redis_server.h>

namespace weft {

struct RedisAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

// One lookup of a host's name. A resolver may hang for half a minute, so the thread it runs on
// belongs to nobody: it ends by itself, and whoever started it may be gone by then.
class RedisLookup {
 public:
  // Nothing to wait for when the host is an address or the server is a Unix socket. Errors:
  // UNAVAILABLE when no thread could be started.
  static StatusOr<std::shared_ptr<RedisLookup>> start(const RedisServer& server);
  bool done() const { return done_.load(std::memory_order_acquire); }
  // Readable when done.
  int fd() const { return wake_.get(); }
  // Once. REQUIRES: done(). Errors: UNAVAILABLE for a name that cannot be resolved.
  StatusOr<std::vector<RedisAddress>> take_addresses();

  RedisLookup();

 private:
  void finish(StatusOr<std::vector<RedisAddress>> addresses);
  OwnedFd wake_;
  StatusOr<std::vector<RedisAddress>> addresses_;  // the thread's until done
  std::atomic<bool> done_ = false;
};

struct RedisSocket {
  std::unique_ptr<OwnedFd> fd;
  bool connected = false;  // else it will be when it is writable, or never: see connect_error()
};
// Begins to connect. Errors: UNAVAILABLE with the system's words.
StatusOr<RedisSocket> open_redis_socket(const RedisAddress& address);
// What became of a connect whose socket is writable now.
Status connect_error(int fd);

}  // namespace weft
