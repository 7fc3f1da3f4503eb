// RedisSync: a blocking connection, for what has no loop: the checks before the start, and the
// keeper's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <weft/base/status.h>
#include <weft/store/redis/redis_command.h>
#include <weft/store/redis/redis_connection.h>
#include <weft/store/redis/redis_reply.h>
#include <weft/store/redis/redis_server.h>

namespace weft {

// Thread: one at a time. Errors: as RedisConnection's; after UNAVAILABLE connect anew. Limits: each
// call waits for its answer at most `timeout_ms`.
class RedisSync {
 public:
  // Connected and let in within `timeout_ms`. Errors also: PERMISSION_DENIED for a refused
  // password or user, FAILED_PRECONDITION for a replica or a database that is not there, each with
  // what to do.
  static StatusOr<std::unique_ptr<RedisSync>> connect(const RedisServer& server,
                                                      const std::string& name, int64_t timeout_ms);
  ~RedisSync();
  StatusOr<RedisReply> call(RedisCommand command);
  StatusOr<RedisReply> call_script(const RedisScript& script, RedisCommand arguments);

 private:
  class Impl;
  explicit RedisSync(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// What was found of a server that can be used.
struct RedisFacts {
  std::string version;
  std::string aof;              // "off", "everysec", "always", "no", or "unknown" (CONFIG denied)
  uint64_t max_bulk_bytes = 0;  // proto-max-bulk-len: no argument may be longer; 0: unknown
  std::string durability;       // what `aof` means for jobs, a sentence; empty: unknown
  std::string warning;          // a sentence for the log; empty: none
};
// Errors: FAILED_PRECONDITION for a server older than 7.0, a maxmemory-policy that evicts, a
// replica, each with what to do; those of a call.
StatusOr<RedisFacts> check_redis(RedisSync& redis);

}  // namespace weft
