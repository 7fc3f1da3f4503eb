// Job: what a handler holds of the job it runs.
#pragma once

#include <google/protobuf/map.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <weft/proto/codec.h>
#include <weft/runtime/cancellation.h>
#include <weft/runtime/executor.h>
#include <weft/runtime/task.h>
#include <weft/runtime/task_group.h>
#include <weft/worker/permanent.h>
#include <weft/worker/snooze.h>
#include <weft/worker/transient.h>

namespace weft {

namespace internal {

class JobContext;

// Held by a task that a handler has started: the job keeps its slot while one of them works.
class TaskMark {
 public:
  explicit TaskMark(std::shared_ptr<JobContext> context);
  TaskMark(TaskMark&& other) noexcept : context_(std::move(other.context_)) {}
  TaskMark& operator=(TaskMark&&) = delete;
  ~TaskMark();

 private:
  std::shared_ptr<JobContext> context_;
};

}  // namespace internal

// A cheap handle; copies name the same attempt.
// Thread: the loop's; work given to offload() must not touch it.
// Lifetime: valid as long as it is held. After the handler's end what it is told goes nowhere.
// Cancellation: every co_await throws Cancelled once the job is cancelled; let it pass.
class Job {
 public:
  explicit Job(std::shared_ptr<internal::JobContext> context) : context_(std::move(context)) {}

  const std::string& id() const;
  const std::string& type() const;
  const std::string& queue() const;
  uint64_t attempt() const;
  // Attempts before this one that failed, since the submission or the last retry by hand. Snoozes,
  // crashes and hand-backs rise attempt() alone.
  uint32_t failures() const;
  const google::protobuf::Map<std::string, std::string>& metadata() const;
  const std::string& payload() const;
  // T: std::string, nlohmann::json or a protobuf message (wire form). Errors: throws Permanent with
  // the code invalid_payload, naming the fault.
  template <typename T>
  T payload_as() const {
    try {
      return Codec<T>::decode(payload());
    } catch (const std::exception& error) {
      bad_payload(error.what());
    }
  }

  // co_await job.offload(fn): runs fn() or fn(OffloadToken) on the executor, behind other work of
  // the job's queue. A cancelled job waits for it: a long fn asks its token now and then.
  template <typename F>
  auto offload(F function) const {
    return executor().offload(lane(), std::move(function));
  }
  // Starts function(args…), which returns a Task<void>, beside the handler. It is copied into the
  // task with its arguments. When the handler ends, tasks still running are cancelled and joined;
  // if one throws, the job fails with it. Errors: throws std::logic_error when the handler and all
  // tasks it had started have ended.
  template <typename F, typename... Args>
  void start(F function, Args... args) const {
    auto run = [mark = internal::TaskMark(context_), function = std::move(function)](
                   Args... given) mutable { return std::invoke(function, std::move(given)...); };
    group().start(std::move(run), std::move(args)...);
  }
  // Holds no slot meanwhile, unless the handler or another task it has started goes on working. In
  // all_of, any_of and groups of the handler's own the slot is kept: others in there may work.
  Task<void> sleep(std::chrono::nanoseconds delay) const;
  // Awaits what needs no slot, such as an answer from the network; holds none meanwhile, as
  // sleep().
  template <typename T>
  Task<T> wait(Task<T> what) const {
    return wait_without_slot(*this, std::move(what));
  }
  // The next value sent to this job; waits for it, as sleep() does. In the order sent, each once;
  // what it takes a later co_yield does not get. A new attempt gets all of them again. Nothing: the
  // attempt is over.
  Task<std::optional<std::string>> receive() const;

  // Shows readers how far the job is; only the latest value is kept. Limits: the message is cut at
  // limits::kProgressBytes.
  void progress(double fraction, std::string_view message = {}) const;
  // What the job returns when a stream handler ends. Limits: limits::kResultBytes, else the job
  // fails.
  void set_result(std::string bytes) const;

  bool cancelled() const;
  CancelReason cancel_reason() const;

  // A line in the daemon's log that names the job.
  void log(std::string_view message) const;

 private:
  friend internal::JobContext& context_of(const Job& job);
  [[noreturn]] void bad_payload(const char* fault) const;
  Task<void> parked(Task<void> wait) const;
  template <typename T>
  static Task<T> wait_without_slot(Job job, Task<T> what) {
    if constexpr (std::is_void_v<T>) {
      co_await job.parked(std::move(what));
    } else {
      std::optional<T> result;
      auto keep = [](Task<T> task, std::optional<T>* into) -> Task<void> {
        into->emplace(co_await std::move(task));
      };
      co_await job.parked(keep(std::move(what), &result));
      co_return *std::move(result);
    }
  }
  TaskGroup& group() const;
  Executor& executor() const;
  Executor::Lane& lane() const;

  std::shared_ptr<internal::JobContext> context_;
};

// ---- what make_handler needs of a running job

inline internal::JobContext& context_of(const Job& job) { return *job.context_; }

namespace internal {

// Whether the stream has room for one more chunk right now, and the wait for it.
bool has_room(JobContext& context);
Task<void> wait_for_room(JobContext& context);
// Errors: throws Permanent for a chunk over limits::kChunkBytes.
void push_chunk(JobContext& context, std::string_view chunk);
bool has_sends(const JobContext& context);
std::optional<std::string> take_send(JobContext& context);
void log_bad_send(JobContext& context, std::string_view fault);

}  // namespace internal
}  // namespace weft
