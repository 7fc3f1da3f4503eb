// IntrusiveList: a doubly linked list whose links live in its members, so linking never allocates.
#pragma once

#include <cstddef>

namespace weft {

// Base of anything that can stand in one list. Tag tells several bases of one type apart.
template <typename Tag = void>
class ListNode {
 public:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { unlink(); }

  bool linked() const { return next_ != this; }
  void unlink() {
    prev_->next_ = next_;
    next_->prev_ = prev_;
    prev_ = next_ = this;
  }

 private:
  template <typename T, typename U>
  friend class IntrusiveList;
  ListNode* prev_ = this;
  ListNode* next_ = this;
};

// Lifetime: the list owns nothing; members unlink themselves when destroyed.
template <typename T, typename Tag = void>
class IntrusiveList {
  using Node = ListNode<Tag>;

 public:
  bool empty() const { return !head_.linked(); }
  void push_back(T& item) {
    Node& node = item;
    node.unlink();
    node.prev_ = head_.prev_;
    node.next_ = &head_;
    head_.prev_->next_ = &node;
    head_.prev_ = &node;
  }
  void push_front(T& item) {
    Node& node = item;
    node.unlink();
    node.next_ = head_.next_;
    node.prev_ = &head_;
    head_.next_->prev_ = &node;
    head_.next_ = &node;
  }
  T& front() { return *static_cast<T*>(head_.next_); }
  T* pop_front() {
    if (empty()) return nullptr;
    T& item = front();
    static_cast<Node&>(item).unlink();
    return &item;
  }
  // One member after the other; null at the end.
  T* first() { return empty() ? nullptr : &front(); }
  T* next(T& item) {
    Node* node = static_cast<Node&>(item).next_;
    return node == &head_ ? nullptr : static_cast<T*>(node);
  }
  // Calls visit(item) for each member; visit may unlink that member, nothing else.
  template <typename Visit>
  void for_each(Visit visit) {
    for (Node* node = head_.next_; node != &head_;) {
      Node* next = node->next_;
      visit(*static_cast<T*>(node));
      node = next;
    }
  }

 private:
  Node head_;
};

}  // namespace weft
