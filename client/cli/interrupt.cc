// A thread that waits for SIGINT and SIGTERM by signalfd.
#include "client/cli/interrupt.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <utility>

#include <weft/base/check.h>

#include "client/cli/exit_code.h"

namespace weft::cli {

Interrupt::Interrupt() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal_fd_ = ::signalfd(-1, &signals, SFD_CLOEXEC);
  end_fd_ = ::eventfd(0, EFD_CLOEXEC);
  WEFT_CHECK(signal_fd_ >= 0 && end_fd_ >= 0, "signalfd or eventfd failed");
  watcher_ = std::thread([this] { watch(); });
}

Interrupt::~Interrupt() {
  end();
  watcher_.join();
  ::close(signal_fd_);
  ::close(end_fd_);
}

void Interrupt::end() {
  const uint64_t one = 1;
  static_cast<void>(!::write(end_fd_, &one, sizeof one));
}

void Interrupt::on_signal(std::function<void()> action) {
  std::lock_guard lock(mutex_);
  action_ = std::move(action);
  if (received_ && action_) action_();
}

void Interrupt::watch() {
  for (;;) {
    pollfd fds[] = {{signal_fd_, POLLIN, 0}, {end_fd_, POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0) continue;
    if (fds[1].revents != 0) return;
    signalfd_siginfo info;
    if (::read(signal_fd_, &info, sizeof info) != sizeof info) continue;
    if (received_.exchange(true)) ::_exit(kInterrupted);
    std::lock_guard lock(mutex_);
    if (action_) action_();
  }
}

}  // namespace weft::cli
