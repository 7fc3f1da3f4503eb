// StartGate: how many jobs of one kind run at once in a worker; more of them wait in order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <weft/runtime/event_loop.h>

namespace weft {

// Thread: the loop's. Lifetime: outlives its places.
class StartGate {
 public:
  class PlaceWaiter;

  // One job's place; it leaves the gate when destroyed.
  class Place {
   public:
    Place() = default;
    ~Place() { leave(); }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    // Goes in if nobody waits and there is room, else is held: wait() is to be awaited then.
    // REQUIRES: called once, at most.
    void enter(StartGate& gate) {
      hold(gate);
      if (gate.held_ == 1 && gate.inside_ < gate.limit_) go_in();
    }
    // Is held, room or not.
    void hold(StartGate& gate) {
      gate_ = &gate;
      state_ = State::kHeld;
      ++gate.held_;
    }
    bool held() const { return state_ == State::kHeld; }
    // co_await place.wait(): returns once inside. REQUIRES: held().
    PlaceWaiter wait();
    void leave();

   private:
    friend class StartGate;
    enum class State : uint8_t { kOutside, kHeld, kInside };
    void go_in() {
      --gate_->held_;
      ++gate_->inside_;
      state_ = State::kInside;
    }
    StartGate* gate_ = nullptr;
    State state_ = State::kOutside;
  };

  class [[nodiscard]] PlaceWaiter final : public Waiter, public ListNode<PlaceWaiter> {
   public:
    explicit PlaceWaiter(Place& place) : place_(place) {}
    bool await_ready() noexcept {
      if (refused()) return true;
      StartGate& gate = *place_.gate_;
      if (!gate.waiting_.empty() || gate.inside_ >= gate.limit_) return false;
      place_.go_in();
      return true;
    }
    void await_suspend(std::coroutine_handle<> handle) noexcept {
      park(handle);
      place_.gate_->waiting_.push_back(*this);
    }
    void await_resume() const { check(); }
    bool cancel() noexcept override {
      unlink();
      return true;
    }
    std::string_view what() const override { return "room for one more job of its kind"; }

   private:
    friend class StartGate;
    Place& place_;
  };

  explicit StartGate(size_t limit) : limit_(limit) {}
  ~StartGate() { WEFT_CHECK(inside_ == 0 && held_ == 0, "a gate outlives its places"); }
  StartGate(const StartGate&) = delete;
  StartGate& operator=(const StartGate&) = delete;

  // How many more could go in now.
  size_t room() const { return limit_ - std::min(limit_, inside_ + held_); }
  size_t inside() const { return inside_; }
  size_t held() const { return held_; }

 private:
  const size_t limit_;
  size_t inside_ = 0;
  size_t held_ = 0;
  IntrusiveList<PlaceWaiter, PlaceWaiter> waiting_;
};

inline StartGate::PlaceWaiter StartGate::Place::wait() { return PlaceWaiter(*this); }

inline void StartGate::Place::leave() {
  const State was = std::exchange(state_, State::kOutside);
  if (was == State::kHeld) --gate_->held_;
  if (was != State::kInside) return;
  --gate_->inside_;
  if (PlaceWaiter* next = gate_->waiting_.pop_front()) {
    next->place_.go_in();
    next->complete();
  }
}

}  // namespace weft
