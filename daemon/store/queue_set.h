// QueueSet: which queued job is taken next: oldest first in a queue, the queues in turn.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include <weft/base/intrusive_list.h>

namespace weft {

template <typename T>
class QueueSet;

// Base of what can stand in a queue. Thread: one at a time.
template <typename T>
class Queued : public ListNode<Queued<T>> {
 private:
  friend class QueueSet<T>;
  void* queue_ = nullptr;
};

// Lifetime: owns nothing; what stands in it is removed before it is destroyed.
// A queue costs memory only while something stands in it.
template <typename T>
class QueueSet {
  using Tag = Queued<T>;

 public:
  QueueSet() = default;
  QueueSet(const QueueSet&) = delete;
  QueueSet& operator=(const QueueSet&) = delete;

  void push_back(const std::string& name, T& item) {
    Queue& queue = open(name, item);
    queue.items.push_back(item);
  }
  void push_front(const std::string& name, T& item) {
    Queue& queue = open(name, item);
    queue.items.push_front(item);
  }
  void remove(T& item) {
    static_cast<ListNode<Tag>&>(item).unlink();
    leave(item);
  }
  // Null when every queue is empty.
  T* take() {
    if (turns_.empty()) return nullptr;
    Queue& queue = turns_.front();
    turns_.push_back(queue);
    T* item = queue.items.pop_front();
    leave(*item);
    return item;
  }
  size_t size(const std::string& name) const {
    const auto found = queues_.find(name);
    return found == queues_.end() ? 0 : found->second->size;
  }
  size_t size() const { return size_; }
  void clear() {
    while (take() != nullptr) {
    }
  }

 private:
  struct Queue : ListNode<Queue> {
    std::string name;
    IntrusiveList<T, Tag> items;
    size_t size = 0;
  };

  Queue& open(const std::string& name, T& item) {
    std::unique_ptr<Queue>& queue = queues_[name];
    if (queue == nullptr) {
      queue = std::make_unique<Queue>();
      queue->name = name;
      turns_.push_back(*queue);
    }
    item.queue_ = queue.get();
    ++queue->size;
    ++size_;
    return *queue;
  }
  void leave(T& item) {
    Queue* queue = static_cast<Queue*>(item.queue_);
    item.queue_ = nullptr;
    --size_;
    if (--queue->size == 0) queues_.erase(std::string(queue->name));
  }

  std::unordered_map<std::string, std::unique_ptr<Queue>> queues_;
  IntrusiveList<Queue, Queue> turns_;
  size_t size_ = 0;
};

}  // namespace weft
