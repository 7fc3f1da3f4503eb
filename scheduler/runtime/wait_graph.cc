// Depth-first search over parked contexts.
#include <absl/container/flat_hash_set.h>

#include <vector>

#include <weft/base/limits.h>
#include <weft/runtime/mutex.h>
#include <weft/runtime/wait_graph.h>

namespace weft {

std::string shown_name(const TaskContext& context) {
  const TaskContext* named = named_task(context);
  if (named == nullptr) return "an unnamed task";
  return (named == &context ? "'" : "a task of '") + named->name() + "'";
}

namespace internal {

void refuse_second_await(const char* what) {
  throw DeadlockError("deadlock refused: " + shown_name(*EventLoop::current()->context()) +
                      " waits for " + what +
                      " that is awaited already, by itself or by another task");
}

}  // namespace internal

namespace {

class Search final : public BlockerVisitor {
 public:
  explicit Search(TaskContext& target) : target_(target) {}

  void visit(TaskContext& context, Waiter& through) override {
    if (found_ || seen_.size() > limits::kDeadlockSearch) return;
    path_.push_back({&context, &through});
    if (&context == &target_) {
      found_ = true;
      return;
    }
    if (context.waiter() != nullptr && seen_.insert(&context).second) {
      context.waiter()->visit_blockers(*this);
    }
    if (!found_) path_.pop_back();
  }

  WaitCycle result() const {
    WaitCycle cycle;
    if (!found_) return cycle;
    cycle.description = "deadlock refused: " + shown_name(target_);
    for (size_t i = 0; i < path_.size(); ++i) {
      Waiter* wait = path_[i].through;
      cycle.description += (i == 0 ? " waits for " : ", which waits for ") +
                           std::string(wait->what()) + " of " + shown_name(*path_[i].context);
      if (dynamic_cast<Mutex::LockWaiter*>(wait) != nullptr && wait->context() != nullptr) {
        cycle.mutex_wait = wait;
      }
    }
    return cycle;
  }

 private:
  struct Step {
    TaskContext* context;
    Waiter* through;
  };
  TaskContext& target_;
  std::vector<Step> path_;
  absl::flat_hash_set<const TaskContext*> seen_;
  bool found_ = false;
};

}  // namespace

WaitCycle find_wait_cycle(TaskContext& from, Waiter& first) {
  Search search(from);
  first.visit_blockers(search);
  return search.result();
}

}  // namespace weft
