// BenchRedis: what a bench asks of the Redis server under its daemons, on a connection of its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <weft/base/status.h>

struct redisContext;
struct redisReply;

namespace weft::cli {

inline bool is_redis(const std::string& store) { return store.starts_with("redis"); }

// Thread: one. Errors of every call: UNAVAILABLE without an answer within seconds; what the server
// refuses, with its words.
class BenchRedis {
 public:
  // "redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]" or
  // "redis+unix://[USER[:PASSWORD]@]PATH[?db=DATABASE]", as weftd takes them. Errors:
  // INVALID_ARGUMENT for another URL.
  static Status check_url(const std::string& url);
  static StatusOr<std::unique_ptr<BenchRedis>> connect(const std::string& url);

  // CPU seconds of the server's process and of those it has forked.
  StatusOr<double> cpu_seconds();
  // How its append-only file is written: "off", "no", "everysec", "always"; "unknown" where asking
  // is denied.
  StatusOr<std::string> aof();
  // Removes every key of the cluster of daemons with this prefix.
  Status remove_keys(const std::string& prefix);

 private:
  struct FreeContext {
    void operator()(redisContext* context) const;
  };
  struct FreeReply {
    void operator()(redisReply* reply) const;
  };
  using Reply = std::unique_ptr<redisReply, FreeReply>;

  explicit BenchRedis(redisContext* context) : context_(context) {}
  StatusOr<Reply> call(const std::vector<std::string>& words);

  const std::unique_ptr<redisContext, FreeContext> context_;
};

}  // namespace weft::cli
