// Channel<T>: a bounded queue between tasks. Full: senders wait; empty: receivers wait.
#pragma once

#include <optional>
#include <type_traits>
#include <utility>

#include <weft/base/ring.h>
#include <weft/runtime/event_loop.h>

namespace weft {

// What passes through an await by value must not be an aggregate with a destructor: some compilers
// destroy such temporaries twice. Give the type a constructor.
template <typename T>
inline constexpr bool kSafeAcrossAwait =
    !std::is_aggregate_v<T> || std::is_trivially_destructible_v<T>;

// Values arrive in the order they were sent; waiting tasks are served in the order they came.
// Thread: the loop's. Lifetime: outlives its waits. Limits: `capacity` values; 0 hands over
// directly. Anybody may send and receive, so a deadlock over channels is not seen (wait_graph.h).
template <typename T>
class Channel {
  static_assert(kSafeAcrossAwait<T>, "give T a constructor: see kSafeAcrossAwait");

 public:
  class [[nodiscard]] Receive final : public Waiter, public ListNode<Receive> {
   public:
    explicit Receive(Channel& channel) : channel_(channel) {}
    bool await_ready() {
      if (refused()) return true;
      value_ = channel_.try_receive();
      return value_.has_value() || channel_.closed_;
    }
    void await_suspend(std::coroutine_handle<> handle) noexcept {
      park(handle);
      channel_.receivers_.push_back(*this);
    }
    std::optional<T> await_resume() {
      check();
      return std::move(value_);
    }
    bool cancel() noexcept override {
      this->unlink();
      return true;
    }
    std::string_view what() const override { return "a value from a channel"; }

   private:
    friend class Channel;
    Channel& channel_;
    std::optional<T> value_;
  };

  class [[nodiscard]] Send final : public Waiter, public ListNode<Send> {
   public:
    Send(Channel& channel, T value) : channel_(channel), value_(std::move(value)) {}
    bool await_ready() {
      if (refused()) return true;
      if (channel_.closed_) {
        sent_ = false;
        return true;
      }
      return channel_.offer(value_);
    }
    void await_suspend(std::coroutine_handle<> handle) noexcept {
      park(handle);
      channel_.senders_.push_back(*this);
    }
    bool await_resume() {
      check();
      return sent_;
    }
    bool cancel() noexcept override {
      this->unlink();
      return true;
    }
    std::string_view what() const override { return "room in a channel"; }

   private:
    friend class Channel;
    Channel& channel_;
    T value_;
    bool sent_ = true;
  };

  explicit Channel(size_t capacity) : capacity_(capacity) {}
  ~Channel() { WEFT_CHECK(receivers_.empty() && senders_.empty(), "a channel outlives its waits"); }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // co_await channel.receive(): the next value, or nothing once it is closed and empty.
  Receive receive() { return Receive(*this); }
  // co_await channel.send(value): false when the channel is closed.
  Send send(T value) { return Send(*this, std::move(value)); }
  // Without waiting. try_send: false when full or closed, and then `value` is untouched.
  bool try_send(T& value) { return !closed_ && offer(value); }
  bool try_send(T&& value) { return try_send(static_cast<T&>(value)); }
  std::optional<T> try_receive() {
    check_thread();
    std::optional<T> value;
    if (!buffer_.empty()) {
      value.emplace(buffer_.pop_front());
      refill();
    } else if (Send* sender = senders_.pop_front()) {
      value.emplace(std::move(sender->value_));
      sender->complete();
    }
    return value;
  }
  // No more values: receivers get what is buffered, then nothing; waiting senders get false.
  void close() {
    check_thread();
    closed_ = true;
    while (Receive* receiver = receivers_.pop_front()) receiver->complete();
    while (Send* sender = senders_.pop_front()) {
      sender->sent_ = false;
      sender->complete();
    }
  }
  bool closed() const { return closed_; }
  size_t size() const { return buffer_.size(); }

 private:
  static void check_thread() {
    WEFT_DCHECK(EventLoop::current() != nullptr, "a channel is used on the loop thread");
  }
  bool offer(T& value) {
    check_thread();
    if (Receive* receiver = receivers_.pop_front()) {
      receiver->value_.emplace(std::move(value));
      receiver->complete();
      return true;
    }
    if (buffer_.size() >= capacity_) return false;
    buffer_.push_back(std::move(value));
    return true;
  }
  void refill() {
    while (!senders_.empty() && buffer_.size() < capacity_) {
      Send* sender = senders_.pop_front();
      buffer_.push_back(std::move(sender->value_));
      sender->complete();
    }
  }

  size_t capacity_;
  bool closed_ = false;
  Ring<T> buffer_;
  IntrusiveList<Receive, Receive> receivers_;
  IntrusiveList<Send, Send> senders_;
};

}  // namespace weft
