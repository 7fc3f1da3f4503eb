// The lock file of a store.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <weft/store/sqlite/file_lock.h>

namespace weft {
namespace {

std::string holder_of(int fd) {
  char text[32] = {};
  const ssize_t size = ::pread(fd, text, sizeof text - 1, 0);
  std::string pid(text, size > 0 ? static_cast<size_t>(size) : 0);
  pid.erase(pid.find_last_not_of("\n ") + 1);
  return pid.empty() ? "another process" : "process " + pid;
}

Status cannot(const std::string& lock_path, int error) {
  return make_status(StatusCode::kPermissionDenied,
                     "the lock file " + lock_path + " cannot be written (" + std::strerror(error) +
                         "): make its folder writable for this user, or choose another path");
}

}  // namespace

StatusOr<std::unique_ptr<FileLock>> FileLock::acquire(const std::string& path) {
  const std::string lock_path = path + ".lock";
  const int fd = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return cannot(lock_path, errno);
  std::unique_ptr<FileLock> lock(new FileLock(fd));
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return cannot(lock_path, errno);
    return make_status(StatusCode::kAlreadyExists, "the store file " + path + " is in use by " +
                                                       holder_of(fd) +
                                                       ": stop it first, or choose another path");
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd, 0) != 0 ||
      ::pwrite(fd, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return cannot(lock_path, errno);
  }
  return lock;
}

FileLock::~FileLock() { ::close(fd_); }

}  // namespace weft
