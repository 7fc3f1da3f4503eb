// MemoryKeys: the idempotency keys of the memory store.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include <weft/v1/job.pb.h>

namespace weft {

// A key is of a queue, and counts as long as its job is there or for a time after that.
// Thread: one at a time. Specs without a key have nothing to do with it.
class MemoryKeys {
 public:
  struct Key {
    std::string job_id;
    std::string fingerprint;
    int64_t expire_ms;  // kNever while the job is there
  };

  // Null: it was not used, or that is over.
  const Key* find(const v1::JobSpec& spec, int64_t now_ms);
  void add(const v1::JobSpec& spec, std::string fingerprint);
  // Its job is gone.
  void expire(const v1::JobSpec& spec, int64_t expire_ms);
  // Forgets those that are over; how many it were.
  size_t sweep(int64_t now_ms, size_t max_keys);

 private:
  absl::flat_hash_map<std::string, Key> keys_;          // by queue and key
  std::set<std::pair<int64_t, std::string>> expiring_;  // of jobs that are gone
};

}  // namespace weft
