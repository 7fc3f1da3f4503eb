// What processes tell each other over Redis, as bytes (the format is told in scripts/common.lua).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <weft/store/job_store.h>

namespace weft {

enum class NewsResult : uint8_t {
  kTold,
  kAskForEnd,  // a job has ended whose outcome was too large to push
  kNotNews,    // it is damaged, or of a later version; nobody was told
};

// Tells `listener` what `message` says; `job_id` becomes that of its job.
NewsResult tell_news(std::string_view message, StoreListener& listener, std::string& job_id);

// The readers of one process, as P watch has them.
std::string watch_entry(Incarnation from, const StreamReaders& readers);
// Appends those of all processes but `self` that stand in a value of P watch, for `attempt`.
void add_remote_readers(const std::string& job_id, std::string_view watch, Incarnation self,
                        uint64_t attempt, std::vector<RemoteReaders>& readers);

}  // namespace weft
