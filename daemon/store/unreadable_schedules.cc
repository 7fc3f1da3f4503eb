// Into the log.
#include <spdlog/spdlog.h>

#include <weft/base/limits.h>
#include <weft/store/unreadable_schedules.h>

namespace weft {

void UnreadableSchedules::found(std::string name, uint64_t version) {
  if (named_.size() >= limits::kSchedules) named_.clear();
  const auto [entry, first] = named_.emplace(std::move(name), version);
  if (!first) return;
  spdlog::error("the schedule '{}' cannot be read and does not tick: delete it and create it again",
                entry->first);
}

}  // namespace weft
