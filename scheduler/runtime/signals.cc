// signalfd.
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <weft/runtime/signals.h>

namespace weft {
namespace {

int open_signals(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (int number : signals) sigaddset(&set, number);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  const int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  WEFT_CHECK(fd >= 0, "signals can be read from a descriptor");
  return fd;
}

}  // namespace

SignalSet::SignalSet(std::initializer_list<int> signals)
    : fd_(open_signals(signals)), watch_(fd_.get()) {}

Task<int> SignalSet::next() {
  for (;;) {
    co_await watch_.readable();
    signalfd_siginfo info;
    if (read(watch_.fd(), &info, sizeof(info)) == sizeof(info)) {
      co_return static_cast<int>(info.ssi_signo);
    }
    watch_.clear_readable();
  }
}

}  // namespace weft
