// FileTree: names and contents of the files below a folder, without ever leaving it.
#pragma once

#include <dirent.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <weft/base/status.h>

namespace weft::handlers {

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor();
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  int fd_;
};

// Opens `path` below the folder `root_fd`; follows no symlink and refuses "..". Not ok: errno says
// why (ELOOP: there is a symlink).
FileDescriptor open_beneath(int root_fd, const std::string& path, int flags);

// Opens the folder `path`, which must lie in one of `roots`. Errors: PERMISSION_DENIED outside of
// them or through a symlink; NOT_FOUND; FAILED_PRECONDITION for what is not a folder.
StatusOr<std::shared_ptr<FileDescriptor>> open_folder(const std::vector<std::string>& roots,
                                                      const std::string& path);

// A name that cannot be read, or is not what it seemed.
class Unreadable {
 public:
  Unreadable(std::string relative_path, int why) : path(std::move(relative_path)), error(why) {}
  std::string path;
  int error;  // an errno
};

// Thread: any, one at a time; blocks. Symlinks and other special files are left out.
// Limits: `max_names` files and folders.
class FileLister {
 public:
  FileLister(std::shared_ptr<FileDescriptor> folder, size_t max_names)
      : folder_(std::move(folder)), max_names_(max_names) {}
  // Goes on for a while, also through a folder of millions of names; true when done.
  bool step();
  // There are more names than the limit: the list is not complete.
  bool too_many() const { return names_ > max_names_; }
  // Sorted by bytes; folders that cannot be read stand among them, with their error.
  std::vector<Unreadable> take();

 private:
  bool read_names();
  void open_next();
  void add_name(const struct dirent& entry);
  bool sort_names();

  const std::shared_ptr<FileDescriptor> folder_;
  const size_t max_names_;
  size_t names_ = 0;
  std::deque<std::string> folders_{""};  // still to be read
  std::string reading_;                  // the one that is read now
  std::unique_ptr<DIR, int (*)(DIR*)> open_{nullptr, &closedir};
  std::vector<Unreadable> entries_;  // error 0: a file
  // The sort: runs of `width_` are in order; those before `low_` have been merged to twice that.
  std::vector<Unreadable> merged_;
  size_t sorted_ = 0;
  size_t width_ = 0;
  size_t low_ = 0;
  size_t left_ = 0;
  size_t right_ = 0;
};

// SHA-256 of what is added. Thread: one at a time.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void add(std::string_view bytes);
  // In hexadecimal; once, at the end.
  std::string finish();

 private:
  void* context_;
};

// Hashes one file piece by piece. Thread: as FileLister.
class FileHash {
 public:
  FileHash(std::shared_ptr<FileDescriptor> folder, std::string path);
  // Goes on for a while; true when done.
  bool step();
  // The line that sha256sum prints for the path, or "error: …", without the end of line.
  std::string line();

 private:
  std::shared_ptr<FileDescriptor> folder_;
  std::string path_;
  FileDescriptor file_;
  Sha256 digest_;
  int error_ = 0;
};

// The line that stands for what cannot be read.
std::string error_line(const std::string& path, int error);

}  // namespace weft::handlers
