// TimerHeap: due times in a 4-ary heap: fewer cache misses than a binary one, removal in O(log n).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <weft/base/check.h>

namespace weft {

// Something that happens at a time. Lifetime: must be disarmed or have fired before destruction.
class Timer {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  bool armed() const { return position_ != kNowhere; }
  // Thread: the loop's. The timer is no longer armed when this is called.
  virtual void fire() = 0;

 protected:
  ~Timer() { WEFT_DCHECK(!armed(), "a timer is disarmed before it is destroyed"); }

 private:
  friend class TimerHeap;
  static constexpr uint32_t kNowhere = UINT32_MAX;  // 32 bits: there is one in every scope
  uint32_t position_ = kNowhere;
};

// Timers of one time fire in the order they were armed.
class TimerHeap {
 public:
  bool empty() const { return heap_.empty(); }
  size_t size() const { return heap_.size(); }
  int64_t next_ns() const { return heap_.front().time_ns; }

  void arm(Timer& timer, int64_t time_ns) {
    WEFT_DCHECK(!timer.armed(), "a timer is armed once");
    heap_.push_back({time_ns, ++order_, &timer});
    sift_up(heap_.size() - 1);
  }

  void disarm(Timer& timer) {
    if (!timer.armed()) return;
    const size_t index = timer.position_;
    timer.position_ = Timer::kNowhere;
    const Entry last = heap_.back();
    heap_.pop_back();
    if (index == heap_.size()) return;
    place(index, last);
    if (index > 0 && last < heap_[parent(index)]) {
      sift_up(index);
    } else {
      sift_down(index);
    }
  }

  // Removes and returns the first timer due at `now_ns`, or null.
  Timer* pop_due(int64_t now_ns) {
    if (heap_.empty() || heap_.front().time_ns > now_ns) return nullptr;
    Timer* timer = heap_.front().timer;
    disarm(*timer);
    return timer;
  }

 private:
  struct Entry {
    int64_t time_ns;
    uint64_t order;
    Timer* timer;
    bool operator<(const Entry& other) const {
      return time_ns != other.time_ns ? time_ns < other.time_ns : order < other.order;
    }
  };

  static size_t parent(size_t index) { return (index - 1) >> 2; }
  void place(size_t index, const Entry& entry) {
    heap_[index] = entry;
    entry.timer->position_ = static_cast<uint32_t>(index);
  }
  void sift_up(size_t index) {
    const Entry entry = heap_[index];
    while (index > 0 && entry < heap_[parent(index)]) {
      place(index, heap_[parent(index)]);
      index = parent(index);
    }
    place(index, entry);
  }
  void sift_down(size_t index) {
    const Entry entry = heap_[index];
    const size_t size = heap_.size();
    for (;;) {
      const size_t first = 4 * index + 1;
      if (first >= size) break;
      const size_t end = first + 4 < size ? first + 4 : size;
      size_t smallest = first;
      for (size_t i = first + 1; i < end; ++i) {
        if (heap_[i] < heap_[smallest]) smallest = i;
      }
      if (!(heap_[smallest] < entry)) break;
      place(index, heap_[smallest]);
      index = smallest;
    }
    place(index, entry);
  }

  std::vector<Entry> heap_;
  uint64_t order_ = 0;
};

}  // namespace weft
