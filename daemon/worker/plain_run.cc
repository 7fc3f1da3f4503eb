// Slices on the pool, values into the stream, and the end of both.
#include <weft/runtime/plain_work.h>
#include <weft/runtime/task_group.h>
#include <weft/worker/job_context.h>
#include <weft/worker/plain_run.h>

namespace weft::internal {
namespace {

// A generator gives its thread back so often, so that others have their turn.
constexpr std::chrono::milliseconds kSlice(10);

}  // namespace

PlainRun::PlainRun(Job job, std::unique_ptr<PlainBody> body)
    : job_(std::move(job)),
      context_(context_of(job_)),
      loop_(*EventLoop::current()),
      body_(std::move(body)),
      state_(std::make_shared<PlainState>(loop_, context_)) {}

void PlainRun::slice() {
  const PlainWork here(context_.record().spec().type());
  slice_values_ = 0;
  slice_start_ = std::chrono::steady_clock::now();
  try {
    if (!loaded_) state_->load();
    loaded_ = true;
    if (!stop_.load()) finished_ = body_->go_on(*this);
  } catch (...) {
    error_ = std::current_exception();
    finished_ = true;
  }
  if (finished_) destroy();
}

void PlainRun::destroy() {
  body_->destroy();
  state_->close();
  loaded_ = false;
}

bool PlainRun::emit(std::string value) {
  const size_t bytes = value.size();
  held_.fetch_add(1);
  held_bytes_.fetch_add(bytes);
  {
    std::lock_guard lock(mutex_);
    values_.push_back(std::move(value));
    if (!std::exchange(posted_, true)) loop_.post(*this);
  }
  ++slice_values_;
  return !stop_.load() && !full() && slice_values_ < limits::kExecutorStreamValues &&
         std::chrono::steady_clock::now() - slice_start_ < kSlice;
}

Task<void> PlainRun::run_slices() {
  while (!over_) {
    co_await wanted_.wait();
    wanted_.reset();
    running_ = true;
    co_await job_.offload([this] { slice(); });
    running_ = false;
    over_ = finished_;
    news_.set();
  }
}

void PlainRun::take_values() {
  taken_.clear();
  next_ = 0;
  std::lock_guard lock(mutex_);
  taken_.swap(values_);
}

void PlainRun::deliver() {
  {
    std::lock_guard lock(mutex_);
    posted_ = false;  // not before: mail is in the mailbox once at a time
  }
  news_.set();
}

// The window comes first: nothing is computed while nobody wants it.
Task<void> PlainRun::copy_values() {
  if (!has_room(context_)) co_await wait_for_room(context_);
  wanted_.set();
  while (!drained()) {
    if (next_ == taken_.size()) {
      news_.reset();
      take_values();
      if (taken_.empty()) {
        if (!over_ && !running_) wanted_.set();
        if (!drained()) co_await news_.wait();
        continue;
      }
    }
    if (!has_room(context_)) co_await wait_for_room(context_);
    const std::string& value = taken_[next_++];
    held_.fetch_sub(1);
    held_bytes_.fetch_sub(value.size());
    push_chunk(context_, value);
    // Half of it is enough to go on with: the pool computes while the loop copies.
    if (!over_ && !running_ && held_.load() <= limits::kExecutorStreamValues / 2 && !full()) {
      wanted_.set();
    }
  }
}

Task<void> PlainRun::drive() {
  std::exception_ptr error;
  std::exception_ptr cancelled;
  auto beside = [&](TaskGroup& group) -> Task<void> {
    group.start([this] { return run_slices(); });
    try {
      co_await copy_values();
    } catch (const Cancelled& cancel) {
      state_->cancel(cancel.reason());
      cancelled = std::current_exception();
    } catch (...) {
      error = std::current_exception();
    }
    stop_.store(true);  // a generator ends at its next value, a function is waited for
    group.cancel(CancelReason::kSiblingFailed);
  };
  try {
    co_await with_group(beside);
  } catch (...) {
    cancelled = std::current_exception();
  }
  over_ = finished_;
  if (loaded_) {
    // It is suspended. What it holds was made on the pool, and goes there.
    CancelScope shield(CancelScope::Kind::kShielded);
    co_await shield.run([](PlainRun* run) -> Task<void> {
      co_await run->job_.offload([run] { run->destroy(); });
    }(this));
  }
  if (error) std::rethrow_exception(error);
  if (error_) std::rethrow_exception(error_);
  // What had come to its end when the cancellation reached it is a success.
  if (cancelled && !drained()) std::rethrow_exception(cancelled);
  job_.set_result(std::move(result));
}

Task<void> run_plain(Job job, std::unique_ptr<PlainBody> body) {
  PlainRun run(std::move(job), std::move(body));
  co_await run.drive();
}

}  // namespace weft::internal
