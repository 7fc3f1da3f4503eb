// OwnTasks: tasks that a store finishes though the caller who asked for them waits no longer.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include <weft/base/check.h>
#include <weft/runtime/event.h>
#include <weft/runtime/event_loop.h>
#include <weft/runtime/task.h>

namespace weft {

// What others have to be told of a verb's answer is told even when its caller is gone.
// Thread: the loop's. Lifetime: joined before it is destroyed. Cancellation: none of the tasks is.
class OwnTasks final : private TaskObserver {
 public:
  OwnTasks() = default;
  ~OwnTasks() { WEFT_CHECK(running_ == 0, "a store is closed before it is destroyed"); }
  OwnTasks(const OwnTasks&) = delete;
  OwnTasks& operator=(const OwnTasks&) = delete;

  // Starts function(args…), which returns a Task<void> and throws nothing.
  template <typename F, typename... Args>
  void start(F function, Args... args) {
    ++running_;
    RootTask<F, Args...>::start(scope_, *this, std::move(function), std::move(args)...);
  }

  // Starts `task` now and waits for its answer.
  template <typename T>
  Task<T> run(Task<T> task) {
    struct Answer {
      std::optional<T> value;
      Event there;
    };
    const auto answer = std::make_shared<Answer>();
    start(
        [](Task<T> verb, std::shared_ptr<Answer> to) -> Task<void> {
          to->value.emplace(co_await verb);
          to->there.set();
        },
        std::move(task), answer);
    co_await answer->there.wait();
    co_return *std::move(answer->value);
  }

  Task<void> join() {
    while (running_ > 0) co_await ended_.wait();
  }

 private:
  void on_task_end(std::exception_ptr error, CancelReason cancelled) override {
    WEFT_CHECK(error == nullptr && cancelled == CancelReason::kNone, "a store's verb ends");
    --running_;
    ended_.notify_all();
  }

  CancelScope scope_;
  size_t running_ = 0;
  Event ended_;
};

}  // namespace weft
