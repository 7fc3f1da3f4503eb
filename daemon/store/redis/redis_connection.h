// RedisConnection: one connection to a Redis server on the loop, kept open.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <weft/base/limits.h>
#include <weft/base/status.h>
#include <weft/runtime/task.h>
#include <weft/store/redis/redis_command.h>
#include <weft/store/redis/redis_reply.h>
#include <weft/store/redis/redis_server.h>

namespace weft {

// A script with its name (that of its file), for errors and for the loading.
struct RedisScript {
  std::string_view name;
  std::string_view text;
  std::string sha1;  // in hex, as EVALSHA wants it
};

struct RedisConnectionOptions {
  int64_t command_ms = limits::kRedisCommandMs;
  int64_t connect_ms = limits::kRedisConnectMs;
  int64_t ping_ms = limits::kRedisPingMs;
  size_t in_flight = limits::kRedisInFlight;
  size_t in_flight_bytes = limits::kRedisInFlightBytes;
  uint64_t seed = 0;  // of the jitter; 0: from the system
};

struct RedisConnectionStats {
  uint64_t connects = 0;
  uint64_t timeouts = 0;
  uint64_t commands = 0;
  uint64_t pushes = 0;
  std::vector<std::pair<std::string, uint64_t>> refusals;  // READONLY, LOADING, OOM…
  Status health;  // not OK while there is no connection: why
};

// Commands of a turn are written at its end, together; each waits for its own answer, and answers
// come in the order of the commands. While there is no connection every command fails at once.
// Thread: the loop's. Lifetime: outlives its calls; run() must be running for anything to be
// answered. Cancellation: a cancelled caller stops waiting, but its command may be carried out.
// Errors of every command, apart from those the server means for the caller:
//   UNAVAILABLE with a retry time: no connection, or it was lost (then the command may have been
//   carried out), or the server said LOADING, BUSY, MASTERDOWN, CLUSTERDOWN, MOVED, ASK, MISCONF,
//   NOREPLICAS, READONLY (which ends the connection too: another server is the master now);
//   RESOURCE_EXHAUSTED with a retry time: OOM. Each is counted by its kind.
//   INTERNAL: any other error reply, with its text.
// Limits: in_flight commands and in_flight_bytes; more wait in their callers.
class RedisConnection {
 public:
  RedisConnection(RedisServer server, std::string name, RedisConnectionOptions options = {});
  ~RedisConnection();
  RedisConnection(const RedisConnection&) = delete;
  RedisConnection& operator=(const RedisConnection&) = delete;

  // Connects, lets itself in (AUTH, SELECT, CLIENT SETNAME), and connects again whenever the
  // connection is lost (which it then ends at the server, too, so that no command of it comes
  // late), after a pause that doubles and is jittered; asks an idle server if it lives. A host name
  // is resolved off the loop. Until cancelled.
  Task<void> run();

  Task<StatusOr<RedisReply>> call(RedisCommand command);
  // EVALSHA with `arguments` after the script's name (count of keys, keys, arguments); a server
  // that does not know the script gets it (SCRIPT LOAD), once, and the call is repeated.
  Task<StatusOr<RedisReply>> call_script(const RedisScript& script, RedisCommand arguments);
  // The beginning of a script's call.
  static RedisCommand start_script(const RedisScript& script) {
    RedisCommand command("EVALSHA");
    command.add(script.sha1);
    return command;
  }

  // This connection receives `channel` from now on, over every reconnect, and is good for nothing
  // else (RESP2). `on_message` is called on the loop; `on_subscribed` each time it has begun: what
  // was published before that is not heard.
  void subscribe(std::string channel, std::function<void(std::string)> on_message,
                 std::function<void()> on_subscribed);

  // A server gets these scripts each time before a connection is let in: a call that had to wait
  // for its script would be carried out after those that were made after it.
  void set_scripts(std::vector<const RedisScript*> scripts);
  // Each time a connection has logged in, `check` is asked whether this server may be used: with
  // null for the first command, then with each answer for the next one; nothing: it may. A server
  // that may not is left, and tried again.
  using Check = std::function<StatusOr<std::optional<RedisCommand>>(const RedisReply* answer)>;
  void set_check(Check check);
  // Called on the loop each time a connection is let in, before anything else is sent on it.
  void set_on_connected(std::function<void()> on_connected);
  bool connected() const;
  // Returns when connected.
  Task<void> wait_connected();
  RedisConnectionStats stats() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft
