// The queue in front of a store thread, and the mail behind it.
#include <pthread.h>

#include <algorithm>

#include <weft/base/check.h>
#include <weft/base/limits.h>
#include <weft/runtime/mailbox.h>
#include <weft/store/sqlite/operation_thread.h>

namespace weft {

class OperationThread::Delivery final : public Mail {
 public:
  Delivery(BatchReceiver& receiver, BatchResult result)
      : receiver_(receiver), result_(std::move(result)) {}
  void deliver() override {
    receiver_.on_batch(std::move(result_));
    delete this;
  }

 private:
  BatchReceiver& receiver_;
  BatchResult result_;
};

OperationThread::~OperationThread() {
  WEFT_CHECK(!thread_.joinable(), "a store thread is stopped before it is destroyed");
}

void OperationThread::start(const char* name) {
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), name);
}

void OperationThread::hand_over(OperationList operations, EventLoop& loop) {
  bool was_empty = false;
  {
    std::lock_guard lock(mutex_);
    was_empty = queue_.empty();
    loop_ = &loop;
    for (auto& operation : operations) queue_.push_back(std::move(operation));
  }
  if (was_empty) wake_.notify_one();
}

void OperationThread::stop() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

int64_t OperationThread::wall_ns() {
  std::lock_guard lock(mutex_);
  return loop_->wall_ns();
}

bool OperationThread::idle() {
  std::lock_guard lock(mutex_);
  return queue_.empty();
}

std::optional<OperationList> OperationThread::next_batch() {
  const std::chrono::milliseconds wait = patience();
  std::unique_lock lock(mutex_);
  const auto woken = [this] { return !queue_.empty() || stop_; };
  if (wait.count() == 0) {
    wake_.wait(lock, woken);
  } else {
    wake_.wait_for(lock, wait, woken);
  }
  if (queue_.empty() && stop_) return std::nullopt;
  OperationList batch;
  size_t items = 0;
  size_t bytes = 0;
  while (!queue_.empty()) {
    const Operation& next = *queue_.front();
    items += next.items;
    bytes += next.bytes;
    const bool fits = items <= limits::kStoreBatchOps && bytes <= limits::kStoreBatchBytes;
    if (!batch.empty() && !fits) break;
    batch.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return batch;
}

void OperationThread::run() {
  while (true) {
    std::optional<OperationList> batch = next_batch();
    if (!batch) break;
    if (batch->empty()) {
      on_idle();
      continue;
    }
    auto* delivery = new Delivery(receiver_, process(*std::move(batch)));
    EventLoop* loop = nullptr;
    {
      std::lock_guard lock(mutex_);
      loop = loop_;
    }
    loop->post(*delivery);
    after_batch();
  }
  on_stop();
}

}  // namespace weft
