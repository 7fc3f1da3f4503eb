// The turn of the loop.
#include <algorithm>

#include <weft/base/limits.h>
#include <weft/runtime/event_loop.h>
#include <weft/runtime/plain_work.h>

namespace weft {

EventLoop::EventLoop(EventLoopOptions options)
    : clock_(options.virtual_clock != nullptr ? *options.virtual_clock
             : options.clock != nullptr       ? *options.clock
                                              : RealClock::instance()),
      virtual_clock_(options.virtual_clock) {
  PlainWork::refuse("an event loop");
  WEFT_CHECK(current_ == nullptr, "a thread has one loop");
  if (options.ready_seed) shuffle_.emplace(*options.ready_seed);
  current_ = this;
  now_ns_ = last_wait_ns_ = clock_.monotonic_ns();
}

EventLoop::~EventLoop() {
  WEFT_CHECK(ready_.empty() && timers_.empty() && external_ == 0,
             "a loop ends after everything that runs on it");
  while (mailbox_.drain()) {  // what came for tasks that did not wait for it frees itself
  }
  current_ = nullptr;
  release_frame_cache();
}

void EventLoop::run_until_done(const bool& done) {
  WEFT_CHECK(context() == nullptr, "run() is called from outside the loop");
  bool stuck = false;
  now_ns_ = last_wait_ns_ = clock_.monotonic_ns();
  set_busy_since(now_ns_);
  while (!done) {
    run_ready();
    deliver_urgent();
    mailbox_.drain();
    const bool poll_due = ++turns_since_poll_ >= limits::kTurnsPerPoll ||
                          resumes_since_poll_ >= limits::kResumesPerPoll;
    if (poll_due || ready_.empty()) run_timers();
    run_hooks();
    ++stats_.turns;
    if (done || (!poll_due && !ready_.empty())) continue;
    turns_since_poll_ = resumes_since_poll_ = 0;
    ++stats_.polls;
    if (!ready_.empty()) {
      poller_.poll(0);
      continue;
    }
    try {
      wait();
    } catch (const NothingPending&) {
      WEFT_CHECK(!stuck, "a task that nothing can wake obeys a cancellation");
      stuck = true;
      root_scope_.cancel(CancelReason::kShutdown);
    }
  }
  set_busy_since(kIdle);
  if (stuck) throw NothingPending();
}

void EventLoop::run_task(ReadyTask task) {
  TaskContext& context = *task.context;
  set_running(&context);
  context.state_ = TaskContext::State::kRunning;
  next_ = std::coroutine_handle<>::from_address(task.frame);
  size_t hops = 0;
  do {
    std::exchange(next_, nullptr).resume();
    if (++hops < limits::kHopsPerResume || !next_) continue;
    // A chain of awaits that never waits: the others have their turn, then it goes on.
    requeue(std::exchange(next_, nullptr));
  } while (next_);
  set_running(nullptr);
  if (finished_) std::exchange(finished_, nullptr).destroy();
}

void EventLoop::run_ready() {
  // A snapshot: what becomes ready from here on waits for the next turn, so a task that is always
  // ready starves neither I/O nor timers.
  size_t count = std::min(ready_.size(), limits::kReadyPerTurn);
  stats_.resumes += count;
  resumes_since_poll_ += count;
  if (shuffle_) {
    for (; count > 0; --count) shuffled_.push_back(ready_.pop_front());
    for (size_t i = shuffled_.size(); i > 1; --i) {
      std::swap(shuffled_[i - 1], shuffled_[shuffle_->below(i)]);
    }
    for (ReadyTask task : shuffled_) {
      deliver_urgent();
      run_task(task);
    }
    shuffled_.clear();
    return;
  }
  constexpr size_t kAhead = 3;
  for (; count > 0; --count) {
    if (ready_.size() > kAhead) {
      const ReadyTask& soon = ready_[kAhead];
      __builtin_prefetch(soon.frame);
      __builtin_prefetch(static_cast<char*>(soon.frame) + 64);
      __builtin_prefetch(soon.context);
    }
    deliver_urgent();
    run_task(ready_.pop_front());
  }
}

void EventLoop::run_timers() {
  now_ns_ = clock_.monotonic_ns();
  const int64_t busy_ns = now_ns_ - last_wait_ns_;
  stats_.longest_busy_ns = std::max(stats_.longest_busy_ns, busy_ns);
  stats_.lag.add_ns(busy_ns);
  last_wait_ns_ = now_ns_;
  set_busy_since(now_ns_);
  const int64_t due_ns = now_ns_;
  for (size_t i = 0; i < limits::kTimersPerTurn; ++i) {
    Timer* timer = timers_.pop_due(due_ns);
    if (timer == nullptr) break;
    timer->fire();
  }
}

void EventLoop::run_hooks() {
  while (TurnEndHook* hook = hooks_.pop_front()) hook->on_turn_end();
}

void EventLoop::wait() {
  if (virtual_clock_ != nullptr && external_ == 0) {
    // Nothing outside owes us an answer: what the kernel has now, else the next timer.
    if (poller_.poll(0) > 0 || mailbox_.drain()) return;
    if (!timers_.empty()) {
      virtual_clock_->advance_to(timers_.next_ns());
      now_ns_ = last_wait_ns_ = virtual_clock_->monotonic_ns();
      return;
    }
    if (poller_.registered() == 0) throw NothingPending();
  }
  if (!mailbox_.prepare_sleep()) return;
  int64_t timeout_ns = -1;
  if (virtual_clock_ == nullptr && !timers_.empty()) {
    timeout_ns = std::max<int64_t>(timers_.next_ns() - clock_.monotonic_ns(), 0);
  }
  set_busy_since(kIdle);
  poller_.poll(timeout_ns);
  mailbox_.end_sleep();
  now_ns_ = last_wait_ns_ = clock_.monotonic_ns();
  set_busy_since(now_ns_);
}

}  // namespace weft
