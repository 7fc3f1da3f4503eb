// How a connection lets itself in, whichever way it is read.
#pragma once

#include <array>
#include <string>

#include <weft/base/status.h>
#include <weft/store/redis/redis_command.h>
#include <weft/store/redis/redis_reply.h>
#include <weft/store/redis/redis_server.h>

namespace weft {

// HELLO (speaks RESP2, logs in, sets the connection's name, tells version and role), SELECT, and
// PING, which tells whether the server answers commands at all by now. Sent together.
inline constexpr size_t kRedisLoginSteps = 3;
std::array<RedisCommand, kRedisLoginSteps> login_commands(const RedisServer& server,
                                                          const std::string& name);

// Whether the answer to that step lets the connection go on. Errors, with what to do:
// PERMISSION_DENIED for a refused user or password; FAILED_PRECONDITION for a server that is too
// old or a replica, and for a database it does not have; UNAVAILABLE for one that is not ready.
Status check_login_answer(size_t step, const RedisReply& reply, const RedisServer& server);

// What CLIENT INFO told of `field`, as "id" or "addr"; empty: it is not there.
std::string client_field(const RedisReply& info, std::string_view field);

// What HELLO told: the value after `field`, as "version" or "role"; empty: it is not there.
std::string hello_field(const RedisReply& hello, std::string_view field);

}  // namespace weft
