// EarlyReaders: who reads, in other processes, the streams of jobs that are about to run here.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <weft/base/limits.h>
#include <weft/store/job_store.h>

namespace weft {

// Thread: one at a time. Limits: limits::kReaders entries; more are left out.
class EarlyReaders {
 public:
  enum Age { kOlder, kNewer };  // than what is known already of the same attempt

  void add(RemoteReaders readers, Age age) {
    std::vector<RemoteReaders>& known = jobs_[to_absl(readers.job_id)];
    const auto same = std::find_if(known.begin(), known.end(), [&](const RemoteReaders& one) {
      return one.from == readers.from;
    });
    if (same != known.end()) {
      const bool same_attempt = readers.attempt == same->attempt;
      if (same_attempt ? age == kNewer : readers.attempt > same->attempt) {
        *same = std::move(readers);
      }
    } else if (size_ < limits::kReaders) {
      ++size_;
      known.push_back(std::move(readers));
    } else {
      left_out_ = true;
    }
  }
  const std::vector<RemoteReaders>& of(const std::string& job_id) const {
    static const std::vector<RemoteReaders> none;
    const auto found = jobs_.find(to_absl(job_id));
    return found == jobs_.end() ? none : found->second;
  }
  // Forgets all. True: some were left out.
  bool clear() {
    jobs_.clear();
    size_ = 0;
    return std::exchange(left_out_, false);
  }

 private:
  absl::flat_hash_map<std::string, std::vector<RemoteReaders>> jobs_;
  size_t size_ = 0;
  bool left_out_ = false;
};

}  // namespace weft
