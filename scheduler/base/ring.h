// Ring: a FIFO that allocates only when something is put in, unlike std::deque (576 bytes when
// empty).
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

namespace weft {

// Grows by doubling, gives its memory back when destroyed. Thread: one at a time.
template <typename T>
class Ring {
 public:
  Ring() = default;
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() {
    while (!empty()) pop_front();
    deallocate();
  }

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  T& front() { return slots_[head_]; }
  T& operator[](size_t index) { return slots_[(head_ + index) & (capacity_ - 1)]; }

  void push_back(T item) {
    if (size_ == capacity_) grow();
    std::construct_at(&slots_[(head_ + size_) & (capacity_ - 1)], std::move(item));
    ++size_;
  }
  T pop_front() {
    T item = std::move(slots_[head_]);
    std::destroy_at(&slots_[head_]);
    head_ = (head_ + 1) & (capacity_ - 1);
    --size_;
    return item;
  }
  // Takes one out of the middle; those behind it move up.
  void erase(size_t index) {
    for (; index + 1 < size_; ++index) (*this)[index] = std::move((*this)[index + 1]);
    std::destroy_at(&(*this)[index]);
    --size_;
  }

 private:
  [[gnu::noinline]] void grow() {
    const size_t wider = capacity_ == 0 ? 4 : capacity_ * 2;
    T* slots = std::allocator<T>().allocate(wider);
    for (size_t i = 0; i < size_; ++i) {
      std::construct_at(&slots[i], std::move((*this)[i]));
      std::destroy_at(&(*this)[i]);
    }
    deallocate();
    slots_ = slots;
    capacity_ = wider;
    head_ = 0;
  }
  void deallocate() {
    if (slots_ != nullptr) std::allocator<T>().deallocate(slots_, capacity_);
  }

  T* slots_ = nullptr;
  size_t capacity_ = 0;
  size_t head_ = 0;
  size_t size_ = 0;
};

}  // namespace weft
