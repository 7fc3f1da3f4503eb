// Every open starts at a folder that is open already and follows no symlink, so that nothing that
// happens to the tree meanwhile leads outside of it.
#include "daemon/handlers/file_tree.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <new>
#include <optional>
#include <system_error>

#include <weft/base/check.h>

namespace weft::handlers {
namespace {

constexpr size_t kEntriesPerStep = 4096;         // names read before the executor serves others
constexpr size_t kNamesSortedPerStep = 1 << 16;  // names moved before it does
constexpr size_t kSortedAtOnce = 4096;
constexpr size_t kBytesPerStep = 16 << 20;  // bytes hashed before it does
constexpr size_t kReadBytes = 128 << 10;    // of one read

bool is_symlink(int folder_fd, const char* name) {
  struct stat info;
  return fstatat(folder_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(info.st_mode);
}

// sha256sum's way: a name with one of these gets them escaped, and its line a backslash in front.
std::string escaped(const std::string& name, bool& changed) {
  std::string out;
  changed = false;
  for (const char c : name) {
    const char* code = c == '\\' ? "\\\\" : c == '\n' ? "\\n" : c == '\r' ? "\\r" : nullptr;
    if (code != nullptr) {
      out += code;
      changed = true;
    } else {
      out += c;
    }
  }
  return out;
}

// `path` below `root`, or nothing when it is not there by its spelling.
std::optional<std::string> below(const std::string& root, const std::string& path) {
  if (root == "/") return path.substr(1);
  if (path.compare(0, root.size(), root) != 0) return std::nullopt;
  if (path.size() == root.size()) return "";
  if (path[root.size()] != '/') return std::nullopt;
  return path.substr(root.size() + 1);
}

std::string describe(int error) { return std::generic_category().message(error); }

}  // namespace

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) close(fd_);
}

FileDescriptor open_beneath(int root_fd, const std::string& path, int flags) {
  FileDescriptor at(openat(root_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  size_t begin = 0;
  std::string name = ".";
  while (at.ok() && begin < path.size()) {
    const size_t end = std::min(path.find('/', begin), path.size());
    name = path.substr(begin, end - begin);
    begin = end + 1;
    if (name.empty() || name == ".") continue;
    if (name == "..") {
      errno = EXDEV;
      return FileDescriptor();
    }
    const bool last = path.find_first_not_of("/", end) == std::string::npos;
    const int how = last ? flags : O_PATH | O_DIRECTORY;
    FileDescriptor next(openat(at.get(), name.c_str(), how | O_NOFOLLOW | O_CLOEXEC));
    if (!next.ok() && errno == ENOTDIR && is_symlink(at.get(), name.c_str())) errno = ELOOP;
    if (last) return next;
    at = std::move(next);
  }
  if (!at.ok()) return at;
  return FileDescriptor(openat(at.get(), ".", flags | O_CLOEXEC));
}

StatusOr<std::shared_ptr<FileDescriptor>> open_folder(const std::vector<std::string>& roots,
                                                      const std::string& path) {
  if (roots.empty()) {
    return make_status(StatusCode::kPermissionDenied,
                       "no folder is allowed here: start weftd with --allow-root DIR");
  }
  if (path.empty() || path[0] != '/' || path.find('\0') != std::string::npos) {
    return make_status(StatusCode::kInvalidArgument,
                       "path '" + path + "' is not absolute: give it from / on");
  }
  for (const std::string& root : roots) {
    const std::optional<std::string> relative = below(root, path);
    if (!relative) continue;
    const FileDescriptor root_fd(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    FileDescriptor folder;
    if (root_fd.ok()) folder = open_beneath(root_fd.get(), *relative, O_RDONLY | O_DIRECTORY);
    if (folder.ok()) return std::make_shared<FileDescriptor>(std::move(folder));
    switch (errno) {
      case ELOOP:
        return make_status(StatusCode::kPermissionDenied,
                           "path '" + path + "' leads through a symlink: give the path without it");
      case EXDEV:
        return make_status(StatusCode::kPermissionDenied,
                           "path '" + path + "' has '..' in it: give the path without it");
      case ENOENT:
        return make_status(StatusCode::kNotFound,
                           "path '" + path + "' does not exist: check its spelling");
      case ENOTDIR:
        return make_status(StatusCode::kFailedPrecondition,
                           "path '" + path + "' is not a folder: give the folder it is in");
      default:
        return make_status(StatusCode::kPermissionDenied, "path '" + path + "' cannot be opened (" +
                                                              describe(errno) +
                                                              "): let the daemon's user read it");
    }
  }
  return make_status(StatusCode::kPermissionDenied,
                     "path '" + path +
                         "' is outside of the allowed folders: start weftd with "
                         "--allow-root for it, or give a path below one of them");
}

bool FileLister::step() {
  if (!read_names()) return false;
  return too_many() || sort_names();
}

bool FileLister::read_names() {
  for (size_t read = 0; read < kEntriesPerStep; ++read) {
    if (too_many()) return true;
    if (open_ == nullptr) {
      if (folders_.empty()) return true;
      open_next();
      continue;
    }
    errno = 0;
    if (const dirent* entry = readdir(open_.get())) {
      add_name(*entry);
      continue;
    }
    if (errno != 0) entries_.emplace_back(reading_, errno);
    open_.reset();
  }
  return false;
}

void FileLister::open_next() {
  reading_ = std::move(folders_.front());
  folders_.pop_front();
  const FileDescriptor opened = open_beneath(folder_->get(), reading_, O_RDONLY | O_DIRECTORY);
  // fdopendir takes over what it is given.
  const int fd = opened.ok() ? fcntl(opened.get(), F_DUPFD_CLOEXEC, 0) : -1;
  if (fd >= 0) open_.reset(fdopendir(fd));
  if (open_ == nullptr) entries_.emplace_back(reading_, errno);
}

void FileLister::add_name(const dirent& entry) {
  const std::string_view name = entry.d_name;
  if (name == "." || name == "..") return;
  unsigned char type = entry.d_type;
  if (type == DT_UNKNOWN) {
    struct stat info;
    if (fstatat(dirfd(open_.get()), entry.d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) return;
    type = S_ISDIR(info.st_mode) ? DT_DIR : S_ISREG(info.st_mode) ? DT_REG : DT_LNK;
  }
  if (type != DT_DIR && type != DT_REG) return;
  ++names_;
  std::string path = reading_.empty() ? std::string(name) : reading_ + "/" + std::string(name);
  if (type == DT_DIR) {
    folders_.push_back(std::move(path));
  } else {
    entries_.emplace_back(std::move(path), 0);
  }
}

// A merge sort that can be interrupted: millions of names take seconds.
bool FileLister::sort_names() {
  const auto less = [](const Unreadable& a, const Unreadable& b) { return a.path < b.path; };
  const size_t count = entries_.size();
  size_t work = 0;
  for (; sorted_ < count; work += kSortedAtOnce) {
    if (work >= kNamesSortedPerStep) return false;
    const size_t end = std::min(sorted_ + kSortedAtOnce, count);
    std::sort(entries_.begin() + static_cast<ptrdiff_t>(sorted_),
              entries_.begin() + static_cast<ptrdiff_t>(end), less);
    sorted_ = end;
    width_ = kSortedAtOnce;
  }
  for (; width_ < count; width_ *= 2) {
    for (; low_ < count; low_ += 2 * width_) {
      const size_t middle = std::min(low_ + width_, count);
      const size_t high = std::min(low_ + 2 * width_, count);
      if (merged_.size() == low_) {
        left_ = low_;
        right_ = middle;
      }
      while (left_ < middle || right_ < high) {
        if (work++ >= kNamesSortedPerStep) return false;
        const bool right =
            left_ == middle || (right_ < high && less(entries_[right_], entries_[left_]));
        merged_.push_back(std::move(entries_[right ? right_++ : left_++]));
      }
    }
    low_ = 0;
    entries_.swap(merged_);
    merged_.clear();
  }
  return true;
}

std::vector<Unreadable> FileLister::take() { return std::move(entries_); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  if (context_ == nullptr ||
      EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_), EVP_sha256(), nullptr) != 1) {
    throw std::bad_alloc();
  }
}

Sha256::~Sha256() { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_)); }

void Sha256::add(std::string_view bytes) {
  const int added =
      EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes.data(), bytes.size());
  WEFT_CHECK(added == 1, "a digest takes bytes until it is finished");
}

std::string Sha256::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes;
  unsigned length = 0;
  const int finished =
      EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), bytes.data(), &length);
  WEFT_CHECK(finished == 1, "a digest is finished once");
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (unsigned i = 0; i < length; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

FileHash::FileHash(std::shared_ptr<FileDescriptor> folder, std::string path)
    : folder_(std::move(folder)), path_(std::move(path)) {}

bool FileHash::step() {
  if (!file_.ok()) {
    // It may have become something else since it was listed: opening a pipe must not wait.
    file_ = open_beneath(folder_->get(), path_, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    struct stat info;
    if (!file_.ok() || fstat(file_.get(), &info) != 0) {
      error_ = errno;
      return true;
    }
    if (!S_ISREG(info.st_mode)) {
      error_ = EINVAL;
      return true;
    }
  }
  const std::unique_ptr<char[]> buffer(new char[kReadBytes]);
  for (size_t done = 0; done < kBytesPerStep;) {
    const ssize_t got = read(file_.get(), buffer.get(), kReadBytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      error_ = got < 0 ? errno : 0;
      return true;
    }
    digest_.add(std::string_view(buffer.get(), static_cast<size_t>(got)));
    done += static_cast<size_t>(got);
  }
  return false;
}

std::string FileHash::line() {
  if (error_ != 0) return error_line(path_, error_);
  bool changed = false;
  const std::string name = escaped(path_, changed);
  return (changed ? "\\" : "") + digest_.finish() + "  " + name;
}

std::string error_line(const std::string& path, int error) {
  bool changed = false;
  const std::string name = escaped(path.empty() ? "." : path, changed);
  return "error: " + name + ": " + describe(error);
}

}  // namespace weft::handlers
