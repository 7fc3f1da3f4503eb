// Reading the URL of a Redis server.
#include <sys/un.h>

#include <charconv>
#include <optional>
#include <string_view>

#include <weft/store/redis/redis_server.h>

namespace weft {
namespace {

constexpr std::string_view kForms =
    "write redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE] or "
    "redis+unix://[USER[:PASSWORD]@]PATH[?db=DATABASE]";

// Never shows the URL itself: there may be a password in it.
Status refuse(const std::string& what) {
  return make_status(StatusCode::kInvalidArgument,
                     "the Redis URL " + what + ": " + std::string(kForms));
}

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> decode(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = digit_of(text[i + 1]), low = digit_of(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return decoded;
}

template <typename Number>
bool parse_number(std::string_view text, Number& number) {
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  return parsed.ec == std::errc() && parsed.ptr == end;
}

Status parse_login(std::string_view login, RedisServer& server) {
  const size_t colon = login.find(':');
  const auto user = decode(login.substr(0, colon));
  const auto password =
      decode(colon == std::string_view::npos ? std::string_view() : login.substr(colon + 1));
  if (!user || !password) return refuse("has a '%' in its user or password that is not %XX");
  server.user = *user;
  server.password = *password;
  return {};
}

Status parse_database(std::string_view text, RedisServer& server) {
  if (!parse_number(text, server.database) || server.database < 0) {
    return refuse("has '" + std::string(text) + "' where the database's number belongs");
  }
  return {};
}

Status parse_unix(std::string_view rest, RedisServer& server) {
  server.host.clear();
  server.port = 0;
  if (const size_t query = rest.find('?'); query != std::string_view::npos) {
    const std::string_view option = rest.substr(query + 1);
    if (!option.starts_with("db=")) return refuse("has an option other than ?db=DATABASE");
    WEFT_RETURN_IF_ERROR(parse_database(option.substr(3), server));
    rest = rest.substr(0, query);
  }
  const auto path = decode(rest);
  if (!path || path->find('\0') != std::string::npos) {
    return refuse("has a '%' in its path that is not the %XX of a character");
  }
  if (!path->starts_with('/')) return refuse("has no absolute path of a socket");
  if (path->size() >= sizeof(sockaddr_un::sun_path)) {
    return refuse("has a path longer than the " +
                  std::to_string(sizeof(sockaddr_un::sun_path) - 1) + " bytes a socket may have");
  }
  server.path = *path;
  return {};
}

Status parse_tcp(std::string_view rest, RedisServer& server) {
  if (rest.find_first_of("?#") != std::string_view::npos) {
    return refuse("has options, and there are none for TCP");
  }
  if (const size_t slash = rest.find('/'); slash != std::string_view::npos) {
    if (slash + 1 < rest.size()) {
      WEFT_RETURN_IF_ERROR(parse_database(rest.substr(slash + 1), server));
    }
    rest = rest.substr(0, slash);
  }
  std::string_view port;
  bool has_port = false;
  if (rest.starts_with('[')) {
    const size_t end = rest.find(']');
    if (end == std::string_view::npos) return refuse("has a '[' without its ']'");
    server.host = rest.substr(1, end - 1);
    rest = rest.substr(end + 1);
    if (!rest.empty() && rest.front() != ':') return refuse("has something after the ']'");
    has_port = !rest.empty();
    if (has_port) port = rest.substr(1);
  } else {
    const size_t colon = rest.find(':');
    has_port = colon != std::string_view::npos;
    server.host = rest.substr(0, colon);
    if (has_port) port = rest.substr(colon + 1);
    if (port.find(':') != std::string_view::npos) {
      return refuse("has too many ':' (an IPv6 address belongs in brackets)");
    }
  }
  if (server.host.empty()) return refuse("names no host");
  if (has_port && (!parse_number(port, server.port) || server.port == 0)) {
    return refuse("has '" + std::string(port) + "' where the port belongs (1 to 65535)");
  }
  return {};
}

}  // namespace

StatusOr<RedisServer> parse_redis_url(const std::string& url) {
  if (url.starts_with("rediss://")) {
    return make_status(StatusCode::kInvalidArgument,
                       "rediss:// is not supported, as the Redis library in use has no TLS: run a "
                       "TLS tunnel (stunnel) beside weftd and give its redis:// address");
  }
  constexpr std::string_view kTcp = "redis://", kUnix = "redis+unix://";
  const bool is_unix = url.starts_with(kUnix);
  if (!is_unix && !url.starts_with(kTcp)) return refuse("begins with neither scheme");
  std::string_view rest = std::string_view(url).substr(is_unix ? kUnix.size() : kTcp.size());
  RedisServer server;
  // A path may have an '@' in it, a login no '/'.
  const std::string_view authority = rest.substr(0, rest.find('/'));
  if (const size_t at = authority.rfind('@'); at != std::string_view::npos) {
    WEFT_RETURN_IF_ERROR(parse_login(authority.substr(0, at), server));
    rest = rest.substr(at + 1);
  }
  WEFT_RETURN_IF_ERROR(is_unix ? parse_unix(rest, server) : parse_tcp(rest, server));
  return server;
}

std::string to_text(const RedisServer& server) {
  const std::string database = std::to_string(server.database);
  if (!server.path.empty()) {
    return "redis+unix://" + server.path + (server.database != 0 ? "?db=" + database : "");
  }
  const bool is_ipv6 = server.host.find(':') != std::string::npos;
  return "redis://" + (is_ipv6 ? "[" + server.host + "]" : server.host) + ":" +
         std::to_string(server.port) + "/" + database;
}

}  // namespace weft
