// From epoll events to waiting tasks.
#include <sys/epoll.h>
#include <unistd.h>

#include <weft/runtime/fd_watch.h>

namespace weft {

OwnedFd::~OwnedFd() { close(fd_); }

FdWatch::FdWatch(int fd) : fd_(fd) { EventLoop::current()->poller().add(fd, *this); }

FdWatch::~FdWatch() {
  WEFT_CHECK(reader_ == nullptr && writer_ == nullptr, "nobody waits on a watch that goes away");
  EventLoop::current()->poller().remove(fd_);
}

void FdWatch::on_events(uint32_t events) {
  constexpr uint32_t kBroken = EPOLLHUP | EPOLLERR;
  if (events & (EPOLLIN | EPOLLRDHUP | kBroken)) {
    readable_ = true;
    if (reader_ != nullptr) std::exchange(reader_, nullptr)->complete();
  }
  if (events & (EPOLLOUT | kBroken)) {
    writable_ = true;
    if (writer_ != nullptr) std::exchange(writer_, nullptr)->complete();
  }
}

}  // namespace weft
