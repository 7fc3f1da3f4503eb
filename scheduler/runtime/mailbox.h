// Mailbox: how other threads reach the loop. Many producers, one consumer, no lock.
#pragma once

#include <atomic>

namespace weft {

// Something to do on the loop thread. The object must live until deliver() has run; deliver() may
// delete it. One object may be in the mailbox only once at a time.
class Mail {
 public:
  virtual void deliver() = 0;

 protected:
  ~Mail() = default;

 private:
  friend class Mailbox;
  Mail* next_ = nullptr;
};

// A Treiber stack that is taken whole and reversed, so mail arrives in the order it was posted.
class Mailbox {
 public:
  // Thread: any. Returns true when the loop sleeps and must be woken by the caller.
  bool post(Mail* mail) {
    Mail* head = head_.load(std::memory_order_relaxed);
    do {
      mail->next_ = head;
    } while (!head_.compare_exchange_weak(head, mail, std::memory_order_seq_cst,
                                          std::memory_order_relaxed));
    return sleeping_.load(std::memory_order_seq_cst) &&
           sleeping_.exchange(false, std::memory_order_seq_cst);
  }

  // Thread: the loop's. Delivers what was there when it was called; true if there was any.
  bool drain() {
    if (head_.load(std::memory_order_relaxed) == nullptr) return false;
    Mail* newest = head_.exchange(nullptr, std::memory_order_acquire);
    Mail* oldest = nullptr;
    while (newest != nullptr) {
      Mail* next = newest->next_;
      newest->next_ = oldest;
      oldest = newest;
      newest = next;
    }
    const bool any = oldest != nullptr;
    while (oldest != nullptr) {
      Mail* next = oldest->next_;  // read first: deliver() may delete it
      oldest->deliver();
      oldest = next;
    }
    return any;
  }

  // Thread: the loop's, around a blocking poll. False: mail came in between, do not block.
  bool prepare_sleep() {
    sleeping_.store(true, std::memory_order_seq_cst);
    if (head_.load(std::memory_order_seq_cst) == nullptr) return true;
    sleeping_.store(false, std::memory_order_relaxed);
    return false;
  }
  void end_sleep() { sleeping_.store(false, std::memory_order_relaxed); }

 private:
  std::atomic<Mail*> head_{nullptr};
  std::atomic<bool> sleeping_{false};
};

}  // namespace weft
