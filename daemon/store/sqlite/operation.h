// Operation: one call of a verb, as it travels from the loop to a store thread and back.
#pragma once

#include <coroutine>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <weft/base/status.h>
#include <weft/runtime/cancellation.h>
#include <weft/runtime/event_loop.h>
#include <weft/runtime/semaphore.h>

namespace weft {

class Reader;
class Writer;

// What an operation works on; a thread sets what it has.
struct OperationContext {
  Writer* writer = nullptr;  // commit thread
  Reader* reader = nullptr;  // reader thread
  int64_t wall_ns = 0;       // when its batch began
};

enum class Durability : uint8_t {
  kProcess,  // survives kill -9: appends, takes
  kPower,    // survives power loss
};

// Heap-owned: by the loop until handed over, then by the store thread, then by the loop again. The
// awaiter only points at it, so a cancelled caller is forgotten without a race.
class Operation {
 public:
  virtual ~Operation() = default;
  // On the store thread.
  virtual void run(OperationContext& context) = 0;
  virtual void fail(const Status& status) = 0;

  // On the loop thread.
  class Wait;
  Wait* wait = nullptr;
  // Room among the waiting operations.
  std::optional<Semaphore::Permit> permit;
  std::optional<Semaphore::Permit> byte_permit;

  size_t items = 1;
  size_t bytes = 0;
  Durability durability = Durability::kPower;
};

using OperationList = std::vector<std::unique_ptr<Operation>>;

// Takes new operations on the loop thread and gives them back finished.
class OperationSink {
 public:
  virtual void start(std::unique_ptr<Operation> operation) = 0;

 protected:
  ~OperationSink() = default;
};

// The awaiter. Cancellation: detaches at once; the operation goes on without its caller.
class Operation::Wait : public Waiter {
 public:
  Wait(OperationSink& sink, std::unique_ptr<Operation> operation)
      : operation_(std::move(operation)), sink_(sink) {}
  bool await_ready() noexcept { return refused(); }
  void await_suspend(std::coroutine_handle<> handle) {
    park(handle);
    started_ = operation_.get();
    started_->wait = this;
    sink_.start(std::move(operation_));
  }
  bool cancel() noexcept override {
    started_->wait = nullptr;
    return true;
  }
  std::string_view what() const override { return "the store"; }
  // The operation comes back finished.
  void deliver(std::unique_ptr<Operation> operation) noexcept {
    operation_ = std::move(operation);
    complete();
  }

 protected:
  ~Wait() = default;
  void check_cancelled() const { check(); }
  std::unique_ptr<Operation> operation_;

 private:
  OperationSink& sink_;
  Operation* started_ = nullptr;
};

namespace internal {

// Every item of a batch fails alike.
template <typename Answer>
struct FailedAnswer {
  static Answer make(const Status& status, size_t) { return Answer(status); }
};
template <typename Item>
struct FailedAnswer<std::vector<Item>> {
  static std::vector<Item> make(const Status& status, size_t items) {
    return std::vector<Item>(items, Item(status));
  }
};

}  // namespace internal

// An operation that runs `function(OperationContext&)`, which returns the verb's answer.
template <typename Function>
class FunctionOperation final : public Operation {
 public:
  using Answer = std::invoke_result_t<Function&, OperationContext&>;

  explicit FunctionOperation(Function function) : function_(std::move(function)) {}
  void run(OperationContext& context) override { answer.emplace(function_(context)); }
  void fail(const Status& status) override {
    answer.emplace(internal::FailedAnswer<Answer>::make(status, items));
  }
  std::optional<Answer> answer;

 private:
  Function function_;
};

template <typename Function>
class [[nodiscard]] OperationWait final : public Operation::Wait {
  using Finished = FunctionOperation<Function>;

 public:
  OperationWait(OperationSink& sink, std::unique_ptr<Finished> operation)
      : Wait(sink, std::move(operation)) {}
  typename Finished::Answer await_resume() {
    check_cancelled();
    return std::move(*static_cast<Finished&>(*operation_).answer);
  }
};

}  // namespace weft
