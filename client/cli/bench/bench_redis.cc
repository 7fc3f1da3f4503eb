// A blocking connection by hiredis, its URL, and the few commands.
#include "client/cli/bench/bench_redis.h"

#include <hiredis/hiredis.h>
#include <sys/time.h>

#include <charconv>
#include <optional>
#include <string_view>

namespace weft::cli {
namespace {

constexpr timeval kAnswerTime = {.tv_sec = 5, .tv_usec = 0};
constexpr char kScanCount[] = "1000";

struct Address {
  std::string host = "127.0.0.1";
  int port = 6379;
  std::string path;  // of a Unix socket; empty: TCP
  std::string user;
  std::string password;
  int database = 0;
};

Status bad_url(const std::string& url) {
  // Without what may be a password.
  const size_t at = url.rfind('@');
  return make_status(StatusCode::kInvalidArgument,
                     "the store '" + (at == std::string::npos ? url : "…" + url.substr(at)) +
                         "' cannot be used: write redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE] "
                         "or redis+unix://PATH[?db=DATABASE]");
}

std::optional<int> number(std::string_view text, int most) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value > most) {
    return std::nullopt;
  }
  return value;
}

// %XX becomes a byte.
std::string decoded(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned byte = 0;
    const char* hex = text.data() + i + 1;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(hex, hex + 2, byte, 16).ptr == hex + 2) {
      result += static_cast<char>(byte);
      i += 2;
    } else {
      result += text[i];
    }
  }
  return result;
}

StatusOr<Address> parse(const std::string& url) {
  constexpr std::string_view kTcp = "redis://";
  constexpr std::string_view kUnix = "redis+unix://";
  const bool is_unix = url.starts_with(kUnix);
  if (!is_unix && !url.starts_with(kTcp)) return bad_url(url);
  std::string_view rest = std::string_view(url).substr(is_unix ? kUnix.size() : kTcp.size());
  Address address;
  if (const size_t at = rest.rfind('@'); at != std::string_view::npos) {
    const std::string_view who = rest.substr(0, at);
    const size_t colon = who.find(':');
    address.user = decoded(who.substr(0, colon));
    if (colon != std::string_view::npos) address.password = decoded(who.substr(colon + 1));
    rest.remove_prefix(at + 1);
  }
  const std::string_view before_database = is_unix ? "?db=" : "/";
  if (const size_t at = rest.find(before_database); at != std::string_view::npos) {
    const std::string_view text = rest.substr(at + before_database.size());
    const std::optional<int> database = text.empty() ? 0 : number(text, 1'000'000);
    if (!database) return bad_url(url);
    address.database = *database;
    rest = rest.substr(0, at);
  }
  if (is_unix) {
    address.path = decoded(rest);
    if (address.path.empty()) return bad_url(url);
    return address;
  }
  const size_t colon = rest.rfind(':');
  const size_t bracket = rest.rfind(']');
  if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
    const std::optional<int> port = number(rest.substr(colon + 1), 65535);
    if (!port || *port == 0) return bad_url(url);
    address.port = *port;
    rest = rest.substr(0, colon);
  }
  if (rest.size() > 2 && rest.front() == '[' && rest.back() == ']') {
    rest = rest.substr(1, rest.size() - 2);
  }
  if (!rest.empty()) address.host = rest;
  return address;
}

double info_field(const std::string& info, const std::string& name) {
  const size_t at = info.find("\n" + name + ":");
  return at == std::string::npos ? 0 : std::stod(info.substr(at + name.size() + 2));
}

}  // namespace

void BenchRedis::FreeContext::operator()(redisContext* context) const { redisFree(context); }
void BenchRedis::FreeReply::operator()(redisReply* reply) const { freeReplyObject(reply); }

Status BenchRedis::check_url(const std::string& url) { return parse(url).status(); }

StatusOr<std::unique_ptr<BenchRedis>> BenchRedis::connect(const std::string& url) {
  const StatusOr<Address> address = parse(url);
  if (!address.ok()) return address.status();
  redisContext* context =
      address->path.empty()
          ? redisConnectWithTimeout(address->host.c_str(), address->port, kAnswerTime)
          : redisConnectUnixWithTimeout(address->path.c_str(), kAnswerTime);
  auto redis = std::unique_ptr<BenchRedis>(new BenchRedis(context));
  if (context == nullptr || context->err != 0) {
    return make_status(StatusCode::kUnavailable,
                       "no Redis server answers at the store's address" +
                           (context == nullptr ? "" : " (" + std::string(context->errstr) + ")") +
                           ": start one, or correct --store");
  }
  redisSetTimeout(context, kAnswerTime);
  if (!address->password.empty()) {
    std::vector<std::string> words = {"AUTH"};
    if (!address->user.empty()) words.push_back(address->user);
    words.push_back(address->password);
    const auto answer = redis->call(words);
    if (!answer.ok()) return answer.status();
  }
  const auto selected = redis->call({"SELECT", std::to_string(address->database)});
  if (!selected.ok()) return selected.status();
  return redis;
}

StatusOr<BenchRedis::Reply> BenchRedis::call(const std::vector<std::string>& words) {
  std::vector<const char*> data;
  std::vector<size_t> sizes;
  for (const std::string& word : words) {
    data.push_back(word.data());
    sizes.push_back(word.size());
  }
  Reply reply(static_cast<redisReply*>(
      redisCommandArgv(context_.get(), static_cast<int>(words.size()), data.data(), sizes.data())));
  if (!reply) {
    return make_status(StatusCode::kUnavailable, "Redis does not answer (" +
                                                     std::string(context_->errstr) +
                                                     "): look whether it still runs");
  }
  if (reply->type != REDIS_REPLY_ERROR) return reply;
  return make_status(StatusCode::kFailedPrecondition,
                     "Redis refuses " + words[0] + ": " + std::string(reply->str, reply->len));
}

StatusOr<double> BenchRedis::cpu_seconds() {
  const auto reply = call({"INFO", "cpu"});
  if (!reply.ok()) return reply.status();
  const std::string info((*reply)->str, (*reply)->len);
  return info_field(info, "used_cpu_user") + info_field(info, "used_cpu_sys") +
         info_field(info, "used_cpu_user_children") + info_field(info, "used_cpu_sys_children");
}

StatusOr<std::string> BenchRedis::aof() {
  std::string values[2];
  const char* const names[2] = {"appendonly", "appendfsync"};
  for (int i = 0; i < 2; ++i) {
    const auto reply = call({"CONFIG", "GET", names[i]});
    if (reply.status().code() == StatusCode::kFailedPrecondition) return "unknown";
    if (!reply.ok()) return reply.status();
    if ((*reply)->type != REDIS_REPLY_ARRAY || (*reply)->elements < 2) return "unknown";
    values[i] = std::string((*reply)->element[1]->str, (*reply)->element[1]->len);
  }
  return values[0] == "yes" ? values[1] : "off";
}

Status BenchRedis::remove_keys(const std::string& prefix) {
  std::string cursor = "0";
  do {
    const auto reply = call({"SCAN", cursor, "MATCH", "{" + prefix + ":*", "COUNT", kScanCount});
    if (!reply.ok()) return reply.status();
    cursor = (*reply)->element[0]->str;
    const redisReply& keys = *(*reply)->element[1];
    std::vector<std::string> words = {"UNLINK"};
    for (size_t i = 0; i < keys.elements; ++i) {
      words.emplace_back(keys.element[i]->str, keys.element[i]->len);
    }
    if (words.size() == 1) continue;
    const auto removed = call(words);
    if (!removed.ok()) return removed.status();
  } while (cursor != "0");
  return absl::OkStatus();
}

}  // namespace weft::cli
