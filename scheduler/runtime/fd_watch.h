// FdWatch: awaitable readiness of one file descriptor.
#pragma once

#include <weft/runtime/event_loop.h>

namespace weft {

// Closes its descriptor. Declared before the FdWatch of the same descriptor, it closes after the
// watch has left the poller.
class OwnedFd {
 public:
  explicit OwnedFd(int fd) : fd_(fd) {}
  ~OwnedFd();
  OwnedFd(const OwnedFd&) = delete;
  OwnedFd& operator=(const OwnedFd&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

// Registered once, edge-triggered, with the readiness cached: waiting and cancelling cost no system
// call. After a read or write that would block, call clear_readable() or clear_writable().
// Thread: the loop's. Lifetime: destroyed before the descriptor is closed, with nobody waiting.
// Limits: one waiting task per direction.
class FdWatch final : private PollTarget {
 public:
  explicit FdWatch(int fd);
  ~FdWatch();
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;

  class [[nodiscard]] Ready final : public Waiter {
   public:
    Ready(bool& ready, Ready*& slot) : ready_(ready), slot_(slot) {}
    bool await_ready() noexcept { return refused() || ready_; }
    void await_suspend(std::coroutine_handle<> handle) noexcept {
      WEFT_CHECK(slot_ == nullptr, "one task waits for a direction");
      park(handle);
      slot_ = this;
    }
    void await_resume() const { check(); }
    bool cancel() noexcept override {
      slot_ = nullptr;
      return true;
    }
    std::string_view what() const override { return "a file descriptor"; }

   private:
    friend class FdWatch;
    bool& ready_;
    Ready*& slot_;
  };

  // co_await watch.readable() / writable(): returns at once while the cached state says ready.
  Ready readable() { return Ready(readable_, reader_); }
  Ready writable() { return Ready(writable_, writer_); }
  void clear_readable() { readable_ = false; }
  void clear_writable() { writable_ = false; }
  int fd() const { return fd_; }

 private:
  void on_events(uint32_t events) override;
  int fd_;
  bool readable_ = true;  // until a read says otherwise
  bool writable_ = true;
  Ready* reader_ = nullptr;
  Ready* writer_ = nullptr;
};

}  // namespace weft
