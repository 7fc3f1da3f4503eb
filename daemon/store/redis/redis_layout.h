// RedisLayout: whether a server keeps what this weftd understands.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include <weft/base/status.h>
#include <weft/store/redis/redis_command.h>
#include <weft/store/redis/redis_reply.h>
#include <weft/store/redis/redis_sync.h>

namespace weft {

// Asked anew of every connection: another server, or a newer weftd, may be behind the address by
// then. Thread: one at a time.
class RedisLayout {
 public:
  // `keys`: P of the scripts; `prefix` and `server` as people know them.
  RedisLayout(const std::string& keys, std::string prefix, std::string server)
      : key_(keys + "layout"), prefix_(std::move(prefix)), server_(std::move(server)) {}

  // As RedisConnection::Check. A server that has none yet gets ours. Errors: DATA_LOSS for another
  // layout, with what to do; those of the server.
  StatusOr<std::optional<RedisCommand>> check(const RedisReply* answer);
  // The same at once, over a connection that blocks.
  Status agree(RedisSync& redis);

 private:
  Status other(const std::string& found) const;

  const std::string key_;
  const std::string prefix_;
  const std::string server_;
  bool setting_ = false;
};

}  // namespace weft
