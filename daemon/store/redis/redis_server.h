// RedisServer: which Redis to talk to, as a URL says it.
#pragma once

#include <cstdint>
#include <string>

#include <weft/base/status.h>

namespace weft {

struct RedisServer {
  std::string host = "127.0.0.1";  // or, with `path`, nothing
  uint16_t port = 6379;
  std::string path;  // of a Unix socket; empty: TCP
  std::string user;  // empty: the server's default user
  std::string password;
  int database = 0;
};

// "redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]" (an IPv6 host in brackets) or
// "redis+unix://[USER[:PASSWORD]@]PATH[?db=DATABASE]"; %XX in user, password and path. Errors:
// INVALID_ARGUMENT that says what is wrong; rediss:// is refused with advice.
StatusOr<RedisServer> parse_redis_url(const std::string& url);
// The same without user and password: for people and logs.
std::string to_text(const RedisServer& server);

}  // namespace weft
