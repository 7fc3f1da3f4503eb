// FileLock: one daemon a file. SQLite alone would let a second one in and run its jobs twice.
#pragma once

#include <memory>
#include <string>

#include <weft/base/status.h>

namespace weft {

// Holds PATH.lock with flock until destroyed; the kernel lets go of it when the process dies. The
// lock file stays, since removing it would race with the next holder; it contains the holder's pid.
class FileLock {
 public:
  // Errors: ALREADY_EXISTS naming the holder's pid; PERMISSION_DENIED.
  static StatusOr<std::unique_ptr<FileLock>> acquire(const std::string& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace weft
