// A walk over the scopes: tasks that share a scope with its owner are the owner's children.
#include <cstdio>

#include <weft/base/limits.h>
#include <weft/runtime/mutex.h>
#include <weft/runtime/task_dump.h>
#include <weft/runtime/task_group.h>

namespace weft {
namespace {

class Holder final : public BlockerVisitor {
 public:
  void visit(TaskContext& context, Waiter&) override { task = &context; }
  const TaskContext* task = nullptr;
};

std::string seconds(int64_t ns) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f s", static_cast<double>(ns / 100'000'000) / 10);
  return text;
}

}  // namespace

class TaskTree {
 public:
  TaskTree(EventLoop& loop, size_t max_bytes) : loop_(loop), max_bytes_(max_bytes) {}

  std::string dump() {
    add_children(loop_.root_scope(), nullptr, 0);
    const size_t more = loop_.tasks() - shown_;
    if (more > 0)
      text_ += "… and " + std::to_string(more) + (more == 1 ? " more task\n" : " more tasks\n");
    return std::move(text_);
  }

 private:
  // Longer than the line about what was cut.
  static constexpr size_t kLastLine = 64;

  // The tasks in `scope` that belong to `owner`. False: the dump is full.
  bool add_children(CancelScope& scope, const TaskContext* owner, size_t depth) {
    for (TaskContext* task = scope.tasks_.first(); task != nullptr;
         task = scope.tasks_.next(*task)) {
      if (task != owner && !add(*task, depth)) return false;
    }
    for (CancelScope* inner = scope.inner_.first(); inner != nullptr;
         inner = scope.inner_.next(*inner)) {
      const TaskContext* entered = inner->owner();
      if (entered == nullptr || entered == owner) {
        if (!add_children(*inner, owner, depth)) return false;
        continue;
      }
      if (!add(*entered, depth)) return false;
      if (depth < limits::kDumpDepth && !add_children(*inner, entered, depth + 1)) return false;
    }
    return true;
  }

  bool add(const TaskContext& task, size_t depth) {
    std::string line(2 * depth, ' ');
    line += task.name_writer() == nullptr ? "a task" : "'" + task.name() + "'";
    line += ": " + state_of(task) + "\n";
    if (text_.size() + line.size() + kLastLine > max_bytes_ || shown_ >= limits::kDumpTasks) {
      return false;
    }
    text_ += line;
    ++shown_;
    return true;
  }

  std::string state_of(const TaskContext& task) {
    std::string state;
    switch (task.state()) {
      case TaskContext::State::kNew:
      case TaskContext::State::kReady:
        state = "ready";
        break;
      case TaskContext::State::kRunning:
        state = "running";
        break;
      case TaskContext::State::kParked:
        state =
            "waits for " + what(*task.waiter()) + ", " + seconds(task.parked_ns(loop_.now_ns()));
        break;
    }
    const CancelReason reason = task.scope()->reason();
    if (reason != CancelReason::kNone)
      state += " (cancelled: " + std::string(to_string(reason)) + ")";
    return state;
  }

  static std::string what(Waiter& waiter) {
    std::string text(waiter.what());
    if (const auto* join = dynamic_cast<TaskGroup::Join*>(&waiter)) {
      const size_t count = join->group_.running_;
      return text + " of " + std::to_string(count) + (count == 1 ? " task" : " tasks");
    }
    if (dynamic_cast<Mutex::LockWaiter*>(&waiter) == nullptr) return text;
    Holder holder;
    waiter.visit_blockers(holder);
    return holder.task == nullptr ? text : text + " of " + shown_name(*holder.task);
  }

  EventLoop& loop_;
  const size_t max_bytes_;
  std::string text_;
  size_t shown_ = 0;
};

std::string dump_tasks(EventLoop& loop, size_t max_bytes) {
  return TaskTree(loop, max_bytes).dump();
}

}  // namespace weft
