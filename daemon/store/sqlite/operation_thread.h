// OperationThread: a thread that works through operations in batches and mails them back.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include <weft/store/sqlite/operation.h>
#include <weft/store/sqlite/writer.h>

namespace weft {

// What a batch sends to the loop: one mail, however many operations.
class BatchResult {
 public:
  OperationList operations;
  std::vector<StoreEvent> events;
  StoreStats stats;  // of the writing thread
  bool has_stats = false;
  Status error;  // why its transaction was not committed
};

// Thread: the loop's, for all but delivered().
class BatchReceiver {
 public:
  virtual void on_batch(BatchResult result) = 0;

 protected:
  ~BatchReceiver() = default;
};

// Lifetime: stop() before it is destroyed; the receiver outlives every batch.
class OperationThread {
 public:
  explicit OperationThread(BatchReceiver& receiver) : receiver_(receiver) {}
  OperationThread(const OperationThread&) = delete;
  OperationThread& operator=(const OperationThread&) = delete;

  void start(const char* name);
  // One wake-up for all of them. Answers come to `loop`, always the same one.
  void hand_over(OperationList operations, EventLoop& loop);
  // Works off what was handed over, then ends the thread.
  void stop();

 protected:
  virtual ~OperationThread();
  // On the thread.
  virtual BatchResult process(OperationList batch) = 0;
  virtual void after_batch() {}
  // How long to wait for operations before on_idle(); 0: for ever.
  virtual std::chrono::milliseconds patience() const { return std::chrono::milliseconds(0); }
  virtual void on_idle() {}
  virtual void on_stop() {}
  // Wall time, once something was handed over. On the thread, while a batch is there: a virtual
  // clock stands still meanwhile.
  int64_t wall_ns();
  // Nothing waits for the thread just now.
  bool idle();

 private:
  class Delivery;
  void run();
  // Empty: it has waited long enough. Nothing: it is stopped, and all is done.
  std::optional<OperationList> next_batch();

  BatchReceiver& receiver_;
  std::thread thread_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Operation>> queue_;
  EventLoop* loop_ = nullptr;
  bool stop_ = false;
};

}  // namespace weft
