// HELLO, SELECT, PING.
#include <weft/store/redis/redis_login.h>
#include <weft/store/redis/redis_refusal.h>

namespace weft {
namespace {

enum Step : size_t { kHello, kSelect, kPing };

// Redis refuses names with spaces and control characters.
std::string client_name(std::string name) {
  for (char& c : name) {
    if (c < '!' || c > '~') c = '-';
  }
  return name;
}

Status check_hello(const RedisReply& reply, const RedisServer& server) {
  const std::string at = to_text(server);
  if (reply.is_error()) {
    const RedisRefusal refusal = refusal_of(reply.text());
    if (refusal == RedisRefusal::kWrongPass || refusal == RedisRefusal::kNoAuth) {
      return make_status(
          StatusCode::kPermissionDenied,
          at + (server.password.empty()
                    ? " wants a password: give it in WEFT_STORE_PASSWORD or a file with "
                      "--store-password-file, or in the URL (redis://:PASSWORD@HOST)"
                    : " refused the user or the password: check both, and that the user is 'on' "
                      "(ACL LIST)"));
    }
    if (reply.text().find("unknown command") != std::string::npos) {
      return make_status(StatusCode::kFailedPrecondition,
                         at + " does not know HELLO: run Redis 7.0 or newer, with that command");
    }
    return status_of(refusal, at, reply.text());
  }
  const std::string role = hello_field(reply, "role");
  if (role != "master") {
    return make_status(StatusCode::kFailedPrecondition,
                       at + " is a " + (role.empty() ? "server without data" : role) +
                           ", not a master: give weftd the master's address");
  }
  return {};
}

}  // namespace

std::array<RedisCommand, kRedisLoginSteps> login_commands(const RedisServer& server,
                                                          const std::string& name) {
  RedisCommand hello("HELLO");
  hello.add("2");
  if (!server.user.empty() || !server.password.empty()) {  // a user may need no password
    hello.add("AUTH").add(server.user.empty() ? "default" : server.user).add(server.password);
  }
  if (!name.empty()) hello.add("SETNAME").add(client_name(name));
  RedisCommand select("SELECT");
  select.add(static_cast<int64_t>(server.database));
  return {std::move(hello), std::move(select), RedisCommand("PING")};
}

Status check_login_answer(size_t step, const RedisReply& reply, const RedisServer& server) {
  if (step == kHello) return check_hello(reply, server);
  if (!reply.is_error()) return {};
  const RedisRefusal refusal = refusal_of(reply.text());
  // Database 0 needs no SELECT, so a user without the right to it is none the worse.
  if (step == kSelect && server.database != 0 &&
      (refusal == RedisRefusal::kOther || refusal == RedisRefusal::kNoPerm)) {
    return make_status(StatusCode::kFailedPrecondition,
                       to_text(server) + " has no such database for us ('" + reply.text() +
                           "'): choose one below its setting 'databases' that the user may SELECT");
  }
  switch (refusal) {
    case RedisRefusal::kLoading:
    case RedisRefusal::kBusy:
    case RedisRefusal::kMasterDown:
    case RedisRefusal::kNoAuth:
      return status_of(refusal, to_text(server), reply.text());
    default:
      return {};  // it answers; what it refuses now it may accept in a call
  }
}

std::string hello_field(const RedisReply& hello, std::string_view field) {
  for (size_t i = 0; i + 1 < hello.size(); i += 2) {
    if (hello[i].text() == field) return hello[i + 1].text();
  }
  return "";
}

std::string client_field(const RedisReply& info, std::string_view field) {
  if (info.is_error()) return "";
  const std::string text = " " + info.text();
  const std::string name = " " + std::string(field) + "=";
  const size_t at = text.find(name);
  if (at == std::string::npos) return "";
  const size_t from = at + name.size();
  return text.substr(from, text.find_first_of(" \n", from) - from);
}

}  // namespace weft
