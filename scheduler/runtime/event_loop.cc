// The turn of the loop.
#include <weft/runtime/event_loop.h>

#include <algorithm>

#include <weft/base/limits.h>

namespace weft {

EventLoop::EventLoop(EventLoopOptions options)
    : clock_(options.virtual_clock != nullptr ? *options.virtual_clock
             : options.clock != nullptr       ? *options.clock
                                              : RealClock::instance()),
      virtual_clock_(options.virtual_clock) {
  WEFT_CHECK(current_ == nullptr, "a thread has one loop");
  if (options.ready_seed) shuffle_.emplace(*options.ready_seed);
  current_ = this;
  now_ns_ = clock_.monotonic_ns();
}

EventLoop::~EventLoop() {
  WEFT_CHECK(ready_head_ == nullptr && timers_.empty() && external_ == 0,
             "a loop ends after everything that runs on it");
  current_ = nullptr;
  release_frame_cache();
}

void EventLoop::run_until_done(const bool& done) {
  WEFT_CHECK(running_ == nullptr, "run() is called from outside the loop");
  while (!done) {
    run_ready();
    mailbox_.drain();
    run_timers();
    run_hooks();
    ++stats_.turns;
    if (done) break;
    if (ready_head_ == nullptr) {
      wait(done);
    } else if (++turns_since_poll_ >= limits::kTurnsPerPoll ||
               resumes_since_poll_ >= limits::kResumesPerPoll) {
      turns_since_poll_ = resumes_since_poll_ = 0;
      ++stats_.polls;
      poller_.poll(0);
    }
  }
}

void EventLoop::run_context(TaskContext& context) {
  running_ = &context;
  context.state_ = TaskContext::State::kRunning;
  next_ = context.handle_;
  do {
    std::exchange(next_, nullptr).resume();
  } while (next_);
  running_ = nullptr;
  if (finished_) std::exchange(finished_, nullptr).destroy();
}

void EventLoop::run_ready() {
  // A snapshot: what becomes ready from here on waits for the next turn, so a task that is always
  // ready starves neither I/O nor timers.
  size_t count = std::min(ready_count_, limits::kReadyPerTurn);
  stats_.resumes += count;
  resumes_since_poll_ += count;
  const auto pop = [this] {
    TaskContext* context = ready_head_;
    ready_head_ = context->next_ready_;
    if (ready_head_ == nullptr) ready_tail_ = nullptr;
    --ready_count_;
    return context;
  };
  if (shuffle_) {
    for (; count > 0; --count) shuffled_.push_back(pop());
    for (size_t i = shuffled_.size(); i > 1; --i) {
      std::swap(shuffled_[i - 1], shuffled_[shuffle_->below(i)]);
    }
    for (TaskContext* context : shuffled_) run_context(*context);
    shuffled_.clear();
    return;
  }
  for (; count > 0; --count) run_context(*pop());
}

void EventLoop::run_timers() {
  const int64_t before_ns = now_ns_;
  now_ns_ = clock_.monotonic_ns();
  stats_.longest_turn_ns = std::max(stats_.longest_turn_ns, now_ns_ - before_ns);
  while (Timer* timer = timers_.pop_due(now_ns_)) timer->fire();
}

void EventLoop::run_hooks() {
  while (TurnEndHook* hook = hooks_.pop_front()) hook->on_turn_end();
}

void EventLoop::wait(const bool& done) {
  turns_since_poll_ = resumes_since_poll_ = 0;
  ++stats_.polls;
  if (virtual_clock_ != nullptr && external_ == 0) {
    // Nothing outside owes us an answer: what the kernel has now, else the next timer.
    if (poller_.poll(0) > 0 || mailbox_.drain()) return;
    if (!timers_.empty()) {
      virtual_clock_->advance_to(timers_.next_ns());
      now_ns_ = virtual_clock_->monotonic_ns();
      return;
    }
    if (poller_.registered() == 0) throw NothingPending();
  }
  if (!mailbox_.prepare_sleep()) return;
  int64_t timeout_ns = -1;
  if (virtual_clock_ == nullptr && !timers_.empty()) {
    timeout_ns = std::max<int64_t>(timers_.next_ns() - clock_.monotonic_ns(), 0);
  }
  if (!done) poller_.poll(timeout_ns);
  mailbox_.end_sleep();
  now_ns_ = clock_.monotonic_ns();
}

}  // namespace weft
