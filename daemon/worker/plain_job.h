// PlainJob: what a handler that is a plain function holds of its job, on a thread of the executor.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <weft/proto/codec.h>
#include <weft/runtime/cancellation.h>
#include <weft/runtime/event_loop.h>
#include <weft/v1/job.pb.h>

namespace weft {

namespace internal {

class JobContext;

// Shared by the function's thread and the loop.
class PlainState final : private Mail {
 public:
  PlainState(EventLoop& loop, JobContext& context);

  // Thread: the loop's.
  void cancel(CancelReason reason) { cancelled_.store(reason, std::memory_order_relaxed); }
  // Thread: any, before anything reads it: keeps what the function may ask for.
  void load();
  // Thread: any. Nothing is posted after it.
  void close();

  const v1::Job& job() const { return job_; }
  CancelReason cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  void progress(double fraction, std::string_view message);

 private:
  void deliver() override;

  EventLoop& loop_;
  JobContext& context_;  // used until close()
  v1::Job job_;
  std::atomic<CancelReason> cancelled_{CancelReason::kNone};
  std::mutex mutex_;  // guards what follows
  bool open_ = false;
  bool posted_ = false;
  double fraction_ = 0;
  std::string message_;
};

[[noreturn]] void throw_bad_payload(const char* fault);

}  // namespace internal

// A cheap handle; copies name the same attempt.
// Thread: any. Lifetime: valid as long as it is held.
class PlainJob {
 public:
  explicit PlainJob(std::shared_ptr<internal::PlainState> state) : state_(std::move(state)) {}

  const std::string& id() const { return state_->job().spec().id(); }
  const std::string& type() const { return state_->job().spec().type(); }
  const std::string& queue() const { return state_->job().spec().queue(); }
  uint64_t attempt() const { return state_->job().attempt(); }
  uint32_t failures() const { return state_->job().failures(); }  // as Job::failures
  const google::protobuf::Map<std::string, std::string>& metadata() const {
    return state_->job().spec().metadata();
  }
  const std::string& payload() const { return state_->job().spec().payload(); }
  // As Job::payload_as.
  template <typename T>
  T payload_as() const {
    try {
      return Codec<T>::decode(payload());
    } catch (const std::exception& error) {
      internal::throw_bad_payload(error.what());
    }
  }

  // A function cannot be interrupted: one that runs for long looks at this now and then, and
  // throws. What it returns all the same is the job's result.
  bool cancelled() const { return state_->cancelled() != CancelReason::kNone; }
  // Errors: throws Cancelled once the job is cancelled.
  void throw_if_cancelled() const {
    if (cancelled()) throw Cancelled(state_->cancelled());
  }
  // As Job::progress; never waits.
  void progress(double fraction, std::string_view message = {}) const {
    state_->progress(fraction, message);
  }

 private:
  std::shared_ptr<internal::PlainState> state_;
};

}  // namespace weft
