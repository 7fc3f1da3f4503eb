// Asking the file system.
#include <sys/statvfs.h>

#include <filesystem>

#include <weft/base/limits.h>
#include <weft/store/sqlite/free_disk.h>

namespace weft {
namespace {

constexpr int kRetryMs = 1000;

}  // namespace

FreeDisk::FreeDisk(const std::string& file, uint64_t floor_bytes)
    : folder_(std::filesystem::path(file).parent_path().string()), floor_bytes_(floor_bytes) {}

const Status& FreeDisk::check(std::chrono::steady_clock::time_point now) {
  if (floor_bytes_ == 0 || now < next_) return answer_;
  next_ = now + std::chrono::milliseconds(limits::kFreeDiskCheckMs);
  struct statvfs disk{};
  answer_ = absl::OkStatus();
  if (::statvfs(folder_.c_str(), &disk) != 0) return answer_;  // a commit finds out
  const uint64_t free_bytes = static_cast<uint64_t>(disk.f_bavail) * disk.f_frsize;
  if (free_bytes >= floor_bytes_) return answer_;
  answer_ = retry_error(StatusCode::kResourceExhausted,
                        "the disk of " + folder_ + " has " + std::to_string(free_bytes) +
                            " bytes free, and new jobs need " + std::to_string(floor_bytes_) +
                            ": free some space, or start weftd with a smaller --free-disk",
                        kRetryMs);
  return answer_;
}

}  // namespace weft
