// The pool's threads and the queue in front of them.
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <weft/runtime/executor.h>
#include <weft/runtime/frame_allocator.h>

namespace weft {

Executor::Lane::~Lane() { WEFT_CHECK(waiting_.empty(), "a lane outlives its callers"); }

Executor::Executor(ExecutorOptions options)
    : loop_(*EventLoop::current()), capacity_(options.queue) {
  WEFT_CHECK(options.threads > 0, "an executor has a thread");
  for (size_t i = 0; i < options.threads; ++i) threads_.emplace_back([this] { run_thread(); });
}

Executor::~Executor() {
  WEFT_CHECK(occupied_ == 0 && callers_waiting_ == 0, "an executor outlives its callers");
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

ExecutorStats Executor::stats() const {
  std::lock_guard lock(mutex_);
  return {finished_, refused_, queued_, occupied_ - queued_, callers_waiting_};
}

void Executor::submit(OffloadBase& work) {
  loop_.begin_external();
  ++occupied_;
  work.place_ = OffloadBase::Place::kPool;
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(&work);
    ++queued_;
  }
  wake_.notify_one();
}

bool Executor::withdraw(OffloadBase& work) {
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < queue_.size(); ++i) {
    if (queue_[i] != &work) continue;
    queue_.erase(i);
    --queued_;
    return true;
  }
  return false;
}

void Executor::on_room() {
  --occupied_;
  loop_.end_external();
  while (!lanes_.empty() && occupied_ < capacity_ + threads_.size()) {
    Lane& lane = *lanes_.pop_front();
    OffloadBase& work = *lane.waiting_.pop_front();
    --callers_waiting_;
    if (!lane.waiting_.empty()) lanes_.push_back(lane);
    submit(work);
  }
}

void Executor::run_thread() {
  // Best effort: a container may forbid it, and then the pool is only less polite.
  [[maybe_unused]] int niced =
      setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), 10);
  const sched_param param{};
  [[maybe_unused]] int batched = sched_setscheduler(0, SCHED_BATCH, &param);
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
    if (queue_.empty()) break;
    OffloadBase* work = queue_.pop_front();
    --queued_;
    lock.unlock();
    work->run();
    loop_.post(*work);  // from here on `work` belongs to the loop
    lock.lock();
  }
  lock.unlock();
  release_frame_cache();
}

void OffloadBase::await_suspend(std::coroutine_handle<> handle) {
  park(handle);
  if (executor_.occupied_ < executor_.capacity_ + executor_.threads_.size()) {
    executor_.submit(*this);
    return;
  }
  place_ = Place::kLane;
  if (lane_.waiting_.empty()) executor_.lanes_.push_back(lane_);
  lane_.waiting_.push_back(*this);
  ++executor_.callers_waiting_;
}

bool OffloadBase::cancel() noexcept {
  if (place_ == Place::kLane) {
    unlink();
    if (lane_.waiting_.empty()) static_cast<ListNode<Executor::Lane>&>(lane_).unlink();
    --executor_.callers_waiting_;
    return true;
  }
  if (!executor_.withdraw(*this)) {  // it runs, or is on its way back
    cancelled_.store(context()->scope()->reason(), std::memory_order_relaxed);
    return false;
  }
  executor_.on_room();
  return true;
}

void OffloadBase::deliver() {
  ++executor_.finished_;
  executor_.on_room();
  complete();
}

}  // namespace weft
