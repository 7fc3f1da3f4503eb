// Plain functions and generators as handlers: they run on the executor, a slice at a time.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <weft/base/limits.h>
#include <weft/proto/codec.h>
#include <weft/runtime/event.h>
#include <weft/runtime/generator.h>
#include <weft/runtime/task.h>
#include <weft/worker/job.h>
#include <weft/worker/plain_job.h>

namespace weft::internal {

class PlainRun;

// The function of one attempt. Thread: any, one at a time, but made on the loop's.
class PlainBody {
 public:
  virtual ~PlainBody() = default;
  // Goes on until it is over (true) or run.emit() says that it is to give its thread back.
  virtual bool go_on(PlainRun& run) = 0;
  // Frees all it has made, on a thread of the pool as well.
  virtual void destroy() = 0;
};

// What function and loop share of one attempt: values on their way into the stream, and the result.
// Limits: limits::kExecutorStreamValues and kExecutorStreamBytes, one value more at most in bytes;
// a generator that has filled it is suspended and holds no thread.
class PlainRun final : private Mail {
 public:
  PlainRun(Job job, std::unique_ptr<PlainBody> body);

  // The handler's whole run. Thread: the loop's.
  Task<void> drive();

  // Thread: the function's. False: the thread is to be given back.
  bool emit(std::string value);
  std::string result;
  const std::shared_ptr<PlainState>& state() const { return state_; }

 private:
  void slice();
  void destroy();
  void deliver() override;
  bool full() const {
    return held_.load() >= limits::kExecutorStreamValues ||
           held_bytes_.load() >= limits::kExecutorStreamBytes;
  }
  Task<void> run_slices();
  Task<void> copy_values();
  void take_values();
  bool drained() const { return over_ && held_.load() == 0; }

  const Job job_;
  JobContext& context_;
  EventLoop& loop_;
  const std::unique_ptr<PlainBody> body_;
  const std::shared_ptr<PlainState> state_;

  // The function's side, while a slice runs.
  bool loaded_ = false;
  bool finished_ = false;
  size_t slice_values_ = 0;
  std::chrono::steady_clock::time_point slice_start_;
  std::exception_ptr error_;

  // Both sides'.
  std::atomic<bool> stop_{false};
  std::atomic<size_t> held_{0};  // emitted, and not in the stream yet
  std::atomic<size_t> held_bytes_{0};
  std::mutex mutex_;
  std::vector<std::string> values_;
  bool posted_ = false;

  // The loop's side.
  std::vector<std::string> taken_;
  size_t next_ = 0;  // of taken_
  bool over_ = false;
  bool running_ = false;
  Event wanted_;  // set: the generator may compute
  Event news_;    // set: values came, or a slice has ended
};

Task<void> run_plain(Job job, std::unique_ptr<PlainBody> body);

// What a function is given: the job, or its payload as A.
template <typename A>
class Argument {
 public:
  const A& get(PlainRun& run) {
    if constexpr (std::is_same_v<A, PlainJob>) {
      if (!value_) value_.emplace(run.state());
    } else {
      if (!value_) value_.emplace(PlainJob(run.state()).template payload_as<A>());
    }
    return *value_;
  }
  void reset() { value_.reset(); }

 private:
  std::optional<A> value_;
};

template <typename F, typename A, typename R>
class FunctionBody final : public PlainBody {
 public:
  explicit FunctionBody(const F& function) : function_(function) {}
  bool go_on(PlainRun& run) override {
    if constexpr (std::is_void_v<R>) {
      function_(argument_.get(run));
    } else {
      run.result = Codec<R>::encode(function_(argument_.get(run)));
    }
    return true;
  }
  void destroy() override { argument_.reset(); }

 private:
  const F& function_;
  Argument<A> argument_;
};

template <typename F, typename A, typename Y>
class GeneratorBody final : public PlainBody {
 public:
  explicit GeneratorBody(const F& function) : function_(function) {}
  bool go_on(PlainRun& run) override {
    if (!values_) {
      values_.emplace(function_(argument_.get(run)));
      at_.emplace(values_->begin());
    } else {
      ++*at_;
    }
    for (; *at_ != values_->end(); ++*at_) {
      if (!run.emit(Codec<Y>::encode(**at_))) return false;
    }
    return true;
  }
  void destroy() override {
    at_.reset();
    values_.reset();
    argument_.reset();
  }

 private:
  const F& function_;
  Argument<A> argument_;
  std::optional<Generator<Y>> values_;
  std::optional<typename Generator<Y>::Iterator> at_;
};

}  // namespace weft::internal
