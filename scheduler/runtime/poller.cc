// epoll and eventfd.
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include <weft/base/check.h>
#include <weft/runtime/poller.h>

namespace weft {
namespace {

// Kernels before 5.11 and some sandboxes have no epoll_pwait2.
bool refused(int error) { return error == ENOSYS || error == EPERM; }

}  // namespace

Poller::Poller()
    : epoll_fd_(epoll_create1(EPOLL_CLOEXEC)), wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  WEFT_CHECK(epoll_fd_ >= 0 && wake_fd_ >= 0, "the process may open two more descriptors");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;
  WEFT_CHECK(epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, wake_fd_, &event) == 0, "eventfd can be polled");
}

Poller::~Poller() {
  close(wake_fd_);
  close(epoll_fd_);
}

void Poller::add(int fd, PollTarget& target, bool edge) {
  epoll_event event{};
  event.events = edge ? EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET : EPOLLIN | 0u;
  event.data.ptr = &target;
  WEFT_CHECK(epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) == 0,
             "a registered descriptor is open, pollable and registered once");
  ++registered_;
}

void Poller::remove(int fd) {
  WEFT_CHECK(!telling_, "on_events() removes no registration");
  epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
  --registered_;
}

int Poller::poll(int64_t timeout_ns) {
  constexpr int kEvents = 256;
  epoll_event events[kEvents];
  int count;
  if (timeout_ns > 0) {
    // Nanoseconds, where epoll_wait would round a 50 µs sleep up to a millisecond.
    timespec timeout{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
    count = coarse_ ? -1 : epoll_pwait2(epoll_fd_, events, kEvents, &timeout, nullptr);
    if (coarse_ || (count < 0 && refused(errno))) {
      coarse_ = true;
      const int64_t timeout_ms = timeout_ns / 1'000'000 + (timeout_ns % 1'000'000 > 0 ? 1 : 0);
      count = epoll_wait(epoll_fd_, events, kEvents,
                         static_cast<int>(std::min<int64_t>(timeout_ms, INT_MAX)));
    }
  } else {
    count = epoll_wait(epoll_fd_, events, kEvents, timeout_ns == 0 ? 0 : -1);
  }
  WEFT_CHECK(count >= 0 || errno == EINTR, "epoll works");
  telling_ = true;
  for (int i = 0; i < count; ++i) {
    if (events[i].data.ptr == nullptr) {
      uint64_t value;
      [[maybe_unused]] ssize_t read_bytes = read(wake_fd_, &value, sizeof(value));
    } else {
      static_cast<PollTarget*>(events[i].data.ptr)->on_events(events[i].events);
    }
  }
  telling_ = false;
  return count < 0 ? 0 : count;
}

void Poller::wake() {
  const uint64_t one = 1;
  [[maybe_unused]] ssize_t written = write(wake_fd_, &one, sizeof(one));
}

}  // namespace weft
