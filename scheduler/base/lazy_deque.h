// LazyDeque: a std::deque that costs 8 bytes until something is put in; an empty std::deque costs
// 656, which a million waiting jobs feel.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <utility>

namespace weft {

// As std::deque, for the members it has. Iterators of one that never held anything are equal.
// Thread: one at a time.
template <typename T>
class LazyDeque {
 public:
  using iterator = typename std::deque<T>::iterator;
  using const_iterator = typename std::deque<T>::const_iterator;

  bool empty() const { return items_ == nullptr || items_->empty(); }
  size_t size() const { return items_ == nullptr ? 0 : items_->size(); }
  T& front() { return items_->front(); }
  const T& front() const { return items_->front(); }
  T& back() { return items_->back(); }
  const T& back() const { return items_->back(); }
  iterator begin() { return items_ == nullptr ? iterator() : items_->begin(); }
  iterator end() { return items_ == nullptr ? iterator() : items_->end(); }
  const_iterator begin() const { return items_ == nullptr ? const_iterator() : items_->cbegin(); }
  const_iterator end() const { return items_ == nullptr ? const_iterator() : items_->cend(); }

  void push_back(T item) { items().push_back(std::move(item)); }
  template <typename... Args>
  void emplace_back(Args&&... args) {
    items().emplace_back(std::forward<Args>(args)...);
  }
  void pop_front() { items_->pop_front(); }
  template <typename Iterator>
  void assign(Iterator first, Iterator last) {
    items().assign(first, last);
  }
  // Forgets the items before `end`.
  void erase_before(iterator end) {
    if (items_ != nullptr) items_->erase(items_->begin(), end);
  }
  // Forgets all and gives the memory back.
  void clear() { items_.reset(); }

 private:
  std::deque<T>& items() {
    if (items_ == nullptr) items_ = std::make_unique<std::deque<T>>();
    return *items_;
  }

  std::unique_ptr<std::deque<T>> items_;
};

}  // namespace weft
