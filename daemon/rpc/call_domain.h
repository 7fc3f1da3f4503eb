// CallDomain: what all calls of one server share: the completion queue, the loop, the counts.
#pragma once

#include <grpcpp/grpcpp.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include <weft/base/intrusive_list.h>
#include <weft/base/limits.h>
#include <weft/base/status.h>
#include <weft/runtime/event.h>
#include <weft/runtime/mailbox.h>
#include <weft/runtime/task_group.h>

namespace weft {

class Call;
class CallDomain;

// Told on the rpc thread that an operation given to gRPC has ended.
class RpcTag {
 public:
  virtual void on_event(bool ok) = 0;

 protected:
  ~RpcTag() = default;
};

// A tag and a piece of mail that call a member function, so that one object can have several.
template <typename C>
class CallTag final : public RpcTag {
 public:
  using Function = void (C::*)(bool ok);
  CallTag(C* object, Function function) : object_(object), function_(function) {}
  // What gRPC is given; it comes back as an RpcTag*.
  void* get() { return static_cast<RpcTag*>(this); }

 private:
  void on_event(bool ok) override { (object_->*function_)(ok); }
  C* object_;
  Function function_;
};

template <typename C>
class CallMail final : public Mail {
 public:
  using Function = void (C::*)();
  CallMail(C* object, Function function) : object_(object), function_(function) {}

 private:
  void deliver() override { (object_->*function_)(); }
  C* object_;
  Function function_;
};

// How many calls of one method ended with one code.
struct FinishedCalls {
  std::string method;  // "weft.v1.JobService/Submit"
  grpc::StatusCode code = grpc::StatusCode::OK;
  uint64_t count = 0;
};

// One method of a service: makes the calls and starts their handlers.
// Limits: one counter for each of gRPC's codes.
class MethodBase {
 public:
  MethodBase(CallDomain& domain, std::string name);
  virtual ~MethodBase();
  MethodBase(const MethodBase&) = delete;
  MethodBase& operator=(const MethodBase&) = delete;
  // Thread: any.
  void count_finished(grpc::StatusCode code);
  // Appends the codes that occurred. Thread: the loop's.
  void list_finished(std::vector<FinishedCalls>& list) const;
  // Readies gRPC for one more call. Thread: any, but not after the completion queue was shut down.
  virtual void post_acceptor() = 0;
  // Starts the handler. Thread: the loop's.
  virtual void start(Call& call) = 0;

 protected:
  // "rpc Submit", for the tasks of its calls: one for all of them.
  TaskName* task_name() { return &task_name_; }

  CallDomain& domain_;

 private:
  class CallName final : public TaskName {
   public:
    explicit CallName(const std::string& method);
    size_t write(char* out, size_t size) const noexcept override;

   private:
    const std::string text_;
  };

  static constexpr size_t kCodes = 17;  // OK to UNAUTHENTICATED
  const std::string name_;
  CallName task_name_{name_};
  std::array<std::atomic<uint64_t>, kCodes> finished_{};
};

// Thread: as each member says. Lifetime: outlives its calls; destroyed when none is left.
// Limits: `max_calls` arrived and not yet over, which hold `max_bytes` of requests and answers;
// more are refused, new calls on the rpc thread at once.
class CallDomain {
 public:
  CallDomain(EventLoop& loop, TaskGroup& group, size_t max_calls, size_t max_bytes)
      : loop_(loop), group_(group), max_calls_(max_calls), max_bytes_(max_bytes) {}
  CallDomain(const CallDomain&) = delete;
  CallDomain& operator=(const CallDomain&) = delete;

  EventLoop& loop() { return loop_; }
  TaskGroup& group() { return group_; }
  void set_queue(grpc::ServerCompletionQueue* queue) { queue_ = queue; }
  grpc::ServerCompletionQueue* queue() { return queue_; }

  // Thread: any. gRPC was asked for one more call.
  void count_acceptor() { acceptors_.fetch_add(1); }
  // Thread: rpc. It has answered: with a call, counted as arrived before this, or with none.
  void count_answered();
  // Thread: rpc. A call has arrived with so many bytes. Not OK: it is too much.
  Status count_arrival(size_t request_bytes);
  // Thread: any. An arrived call is over, and the memory of so many bytes is going.
  void count_end(size_t bytes);
  // Thread: any. A call holds so many bytes more. Not OK: it is too much, but counted all the same.
  Status hold(size_t bytes);
  void let_go(size_t bytes) { held_bytes_.fetch_sub(bytes, std::memory_order_relaxed); }
  size_t held_bytes() const { return held_bytes_.load(std::memory_order_relaxed); }
  // Thread: any. Time for calls that hold much to wait until they hold less.
  bool crowded() const { return held_bytes() > max_bytes_ / 2; }
  // Thread: any.
  bool accepting() const { return accepting_.load(); }
  size_t live() const { return live_.load(); }
  uint64_t arrived() const { return arrived_.load(std::memory_order_relaxed); }
  uint64_t refused() const { return refused_.load(std::memory_order_relaxed); }

  // Thread: the loop's, all below.
  void add_method(MethodBase& method) { methods_.push_back(&method); }
  void remove_method(MethodBase& method) { std::erase(methods_, &method); }
  std::vector<FinishedCalls> finished() const;
  // A call whose handler runs; it unlinks itself.
  void add(Call& call);
  // No acceptor is posted again.
  void stop_accepting() { accepting_.store(false); }
  // Cancels every stream with kShutdown, and those that still arrive.
  void cancel_streams();
  bool streams_cancelled() const { return streams_cancelled_; }
  // Returns when no call is left. Only after stop_accepting().
  Task<void> wait_until_empty();
  // The same, when none can come any more either: gRPC has answered every acceptor, and also what
  // it had on its way to the rpc thread is over. Only after gRPC's server was shut down.
  Task<void> wait_until_closed();
  // Returns when no mail of this object is under way. Only after the rpc thread has ended.
  Task<void> wait_for_mail();

 private:
  void tell_waiter();
  void deliver_empty();

  EventLoop& loop_;
  TaskGroup& group_;
  const size_t max_calls_;
  const size_t max_bytes_;
  grpc::ServerCompletionQueue* queue_ = nullptr;
  std::atomic<bool> accepting_{true};
  std::atomic<size_t> acceptors_{0};
  std::atomic<size_t> live_{0};
  std::atomic<size_t> held_bytes_{0};
  std::atomic<uint64_t> arrived_{0};
  std::atomic<uint64_t> refused_{0};
  std::atomic<bool> empty_posted_{false};
  IntrusiveList<Call, Call> calls_;
  std::vector<MethodBase*> methods_;
  bool streams_cancelled_ = false;
  Event empty_;
  CallMail<CallDomain> empty_mail_{this, &CallDomain::deliver_empty};
};

}  // namespace weft
