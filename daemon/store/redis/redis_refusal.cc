// Error replies by their first word.
#include <weft/base/limits.h>
#include <weft/store/redis/redis_refusal.h>

namespace weft {
namespace {

constexpr int kRetryMs = static_cast<int>(limits::kRedisRetryMsMax);
constexpr std::array<std::string_view, kRedisRefusals> kNames = {
    "READONLY", "LOADING",   "BUSY",       "MASTERDOWN", "CLUSTERDOWN", "MOVED",
    "ASK",      "MISCONF",   "NOREPLICAS", "OOM",        "NOSCRIPT",    "NOPERM",
    "NOAUTH",   "WRONGPASS", "WRONGTYPE",  "OTHER"};

std::string_view advice(RedisRefusal refusal) {
  switch (refusal) {
    case RedisRefusal::kReadOnly:
      return "it is a replica; give weftd the master's address";
    case RedisRefusal::kLoading:
      return "it reads its data; try again soon";
    case RedisRefusal::kBusy:
      return "a script holds it up; try again, or end it with SCRIPT KILL";
    case RedisRefusal::kMasterDown:
      return "a part of it is down; try again when it is back";
    case RedisRefusal::kClusterDown:
      return "it is one node of a Redis Cluster that lacks a part; try again when that is back, or "
             "point weftd at a single server";
    case RedisRefusal::kMoved:
    case RedisRefusal::kAsk:
      return "it is one node of a Redis Cluster and another has the keys; point weftd at a single "
             "server";
    case RedisRefusal::kMisconf:
      return "it cannot save to its disk; mend that, or set stop-writes-on-bgsave-error no";
    case RedisRefusal::kNoReplicas:
      return "it has too few replicas; start them, or lower min-replicas-to-write";
    case RedisRefusal::kOom:
      return "it is full; remove finished jobs, or raise maxmemory";
    case RedisRefusal::kNoScript:
      return "it keeps losing scripts; try again, and let nothing call SCRIPT FLUSH";
    case RedisRefusal::kNoPerm:
    case RedisRefusal::kNoAuth:
    case RedisRefusal::kWrongPass:
      return "give weftd a user that may use its keys, channels and commands (ACL SETUSER)";
    case RedisRefusal::kWrongType:
      return "a key under our prefix is not ours; find what else writes there, or use another "
             "--store-prefix";
    case RedisRefusal::kOther:
      return "this should not happen; report it with the versions of weftd and Redis";
  }
  return "";
}

}  // namespace

RedisRefusal refusal_of(std::string_view error) {
  const std::string_view word = error.substr(0, error.find(' '));
  for (size_t i = 0; i + 1 < kRedisRefusals; ++i) {
    if (word == kNames[i]) return static_cast<RedisRefusal>(i);
  }
  return RedisRefusal::kOther;
}

std::string_view to_string(RedisRefusal refusal) { return kNames[static_cast<size_t>(refusal)]; }

Status status_of(RedisRefusal refusal, const std::string& server, const std::string& error) {
  // It ends the connection; for the next one its limit is looked up.
  if (refusal == RedisRefusal::kOther && error.find("invalid bulk length") != std::string::npos) {
    return retry_error(StatusCode::kUnavailable,
                       server +
                           " takes nothing as long as this in one piece any more: try again, "
                           "or raise its proto-max-bulk-len",
                       kRetryMs);
  }
  const std::string message =
      server + " refused with '" + error + "': " + std::string(advice(refusal));
  switch (refusal) {
    case RedisRefusal::kReadOnly:
    case RedisRefusal::kLoading:
    case RedisRefusal::kBusy:
    case RedisRefusal::kMasterDown:
    case RedisRefusal::kClusterDown:
    case RedisRefusal::kMoved:
    case RedisRefusal::kAsk:
    case RedisRefusal::kMisconf:
    case RedisRefusal::kNoReplicas:
    case RedisRefusal::kNoScript:
      return retry_error(StatusCode::kUnavailable, message, kRetryMs);
    case RedisRefusal::kOom:
      return retry_error(StatusCode::kResourceExhausted, message, kRetryMs);
    case RedisRefusal::kNoPerm:
    case RedisRefusal::kNoAuth:
    case RedisRefusal::kWrongPass:
    case RedisRefusal::kWrongType:
    case RedisRefusal::kOther:
      return make_status(StatusCode::kInternal, message);
  }
  return {};
}

std::vector<std::pair<std::string, uint64_t>> RedisRefusals::list() const {
  std::vector<std::pair<std::string, uint64_t>> list;
  for (size_t i = 0; i < kRedisRefusals; ++i) {
    if (counts_[i] > 0) list.emplace_back(kNames[i], counts_[i]);
  }
  return list;
}

}  // namespace weft
