// FreeDisk: how much room the disk of a store has left, asked now and then.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include <weft/base/status.h>

namespace weft {

// Thread: one at a time.
class FreeDisk {
 public:
  // `floor_bytes` 0: there is always room.
  FreeDisk(const std::string& file, uint64_t floor_bytes);

  // RESOURCE_EXHAUSTED with a retry time while less than the floor is free. Asks the disk at most
  // every limits::kFreeDiskCheckMs.
  const Status& check(std::chrono::steady_clock::time_point now);

 private:
  const std::string folder_;
  const uint64_t floor_bytes_;
  std::chrono::steady_clock::time_point next_;
  Status answer_;
};

}  // namespace weft
