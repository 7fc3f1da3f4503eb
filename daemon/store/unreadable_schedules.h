// UnreadableSchedules: says once of each schedule that its record does not parse.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>

namespace weft {

// Thread: one at a time. Limits: of limits::kSchedules it knows whether it has named them.
class UnreadableSchedules {
 public:
  void found(std::string name, uint64_t version);

 private:
  std::set<std::pair<std::string, uint64_t>> named_;
};

}  // namespace weft
