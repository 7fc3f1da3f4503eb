// AsyncCore: the connection and the completion queue that an async client and its streams share.
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <weft/base/intrusive_list.h>
#include <weft/client/client_core.h>
#include <weft/client/client_options.h>
#include <weft/runtime/mailbox.h>
#include <weft/runtime/semaphore.h>

namespace weft {

class AsyncCore;

// One gRPC call. Every operation is started on the loop, and its end comes back to the loop, so
// nothing in it is shared. Made with new; frees itself once it was abandoned and gRPC is done.
// Thread: the loop's. Cancellation: abandon().
class AsyncCall : public ListNode<AsyncCall> {
 public:
  // co_await call.change(): returns after the end of some operation.
  class [[nodiscard]] ChangeWaiter final : public Waiter {
   public:
    explicit ChangeWaiter(AsyncCall& call) : call_(call) {}
    bool await_ready() noexcept { return refused(); }
    void await_suspend(std::coroutine_handle<> handle) noexcept;
    void await_resume() const { check(); }
    bool cancel() noexcept override;
    std::string_view what() const override { return "the server"; }

   private:
    friend class AsyncCall;
    AsyncCall& call_;
  };

  // The permit is given back when the call is freed.
  AsyncCall(AsyncCore& core, Semaphore::Permit permit);
  virtual ~AsyncCall() = default;

  // One task at a time.
  ChangeWaiter change() { return ChangeWaiter(*this); }
  // gRPC has said how the call ended.
  virtual bool finished() const = 0;
  // Its owner needs it no more: cancels it, and frees it now or later.
  void abandon();

  grpc::ClientContext context;

 protected:
  // What gRPC gives back at the end of an operation.
  struct Tag {
    virtual void on_end(bool ok) = 0;

   protected:
    ~Tag() = default;
  };
  // An operation of gRPC that is told to a member function of the call when it ends.
  template <typename C>
  class Operation final {
   public:
    using Function = void (C::*)(bool ok);
    Operation(C* call, Function function) : tag_(call, function) {}
    // What gRPC is given; the operation is under way from here on.
    void* start() {
      ++tag_.call->operations_;
      return static_cast<Tag*>(&tag_);
    }

   private:
    struct MemberTag final : Tag {
      MemberTag(C* c, Function f) : call(c), function(f) {}
      void on_end(bool ok) override {
        C& ended = *call;
        --ended.operations_;
        (ended.*function)(ok);
        ended.after_operation();
      }
      C* call;
      Function function;
    };
    MemberTag tag_;
  };

  bool abandoned() const { return abandoned_; }
  // Asks gRPC how the call ended; only with no operation under way.
  virtual void finish() = 0;

 private:
  friend class AsyncCore;
  template <typename C>
  friend class Operation;
  void after_operation();

  AsyncCore& core_;
  const Semaphore::Permit permit_;
  ChangeWaiter* waiter_ = nullptr;
  int operations_ = 0;
  bool abandoned_ = false;
};

struct AbandonCall {
  void operator()(AsyncCall* call) const { call->abandon(); }
};
// Owns a call until it is abandoned.
template <typename C>
using CallPtr = std::unique_ptr<C, AbandonCall>;

// Thread: the loop's, except the queue's own thread. Lifetime: shared by the client, its handles
// and streams and their tasks; the last of them goes before the loop. The destructor waits for the
// ends of cancelled calls.
class AsyncCore {
 public:
  AsyncCore(ClientOptions options, size_t calls_max, size_t streams_max);
  ~AsyncCore();
  AsyncCore(const AsyncCore&) = delete;
  AsyncCore& operator=(const AsyncCore&) = delete;

  ClientCore& client() { return client_; }
  EventLoop& loop() { return loop_; }
  grpc::CompletionQueue* queue() { return &queue_; }

  Semaphore calls;         // single calls under way
  Semaphore streams;       // open streams
  Semaphore send_turn{1};  // held for a whole send: a lower number must not arrive later

 private:
  friend class AsyncCall;
  // What the queue's thread posts: it may come after the core.
  struct Arrival final : Mail {
    explicit Arrival(AsyncCore* owner) : core(owner) {}
    void deliver() override;
    AsyncCore* core;
  };
  struct Ended {
    AsyncCall::Tag* tag;
    bool ok;
  };
  void run_queue();
  void take_ended();

  EventLoop& loop_;
  ClientCore client_;
  grpc::CompletionQueue queue_;
  IntrusiveList<AsyncCall, AsyncCall> live_;

  std::mutex mutex_;  // guards the three below
  std::condition_variable came_;
  std::vector<Ended> ended_;  // operations of live calls, at most three of each
  Arrival* arrival_ = nullptr;

  std::thread thread_;
};

}  // namespace weft
