// RedisRefusals: what kinds of error a Redis server answers with, what each means for the caller,
// and how often each came.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <weft/base/status.h>

namespace weft {

enum class RedisRefusal : uint8_t {
  kReadOnly,     // a replica: another server is the master now
  kLoading,      // it reads its data after a start
  kBusy,         // a script runs for too long
  kMasterDown,   // a replica that lost its master
  kClusterDown,  // its cluster lacks a part
  kMoved,        // another node of its cluster has our keys…
  kAsk,          // …or gets them now
  kMisconf,      // it cannot save to its disk
  kNoReplicas,   // fewer replicas than it was told to have
  kOom,          // maxmemory is reached
  kNoScript,     // it does not know the script
  kNoPerm,       // the user may not
  kNoAuth,       // nobody logged in
  kWrongPass,    // the password or the user is wrong
  kWrongType,    // a key of ours is somebody else's
  kOther,
};
inline constexpr size_t kRedisRefusals = static_cast<size_t>(RedisRefusal::kOther) + 1;

// By the first word of an error reply, which is also the kind's name in metrics.
RedisRefusal refusal_of(std::string_view error);
std::string_view to_string(RedisRefusal refusal);
// For a caller: `server` as people know it, `error` the whole reply.
Status status_of(RedisRefusal refusal, const std::string& server, const std::string& error);

class RedisRefusals {
 public:
  void count(RedisRefusal refusal) { ++counts_[static_cast<size_t>(refusal)]; }
  // Those that came at all.
  std::vector<std::pair<std::string, uint64_t>> list() const;

 private:
  std::array<uint64_t, kRedisRefusals> counts_{};
};

}  // namespace weft
