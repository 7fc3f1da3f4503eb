// Awaitable server calls: each gRPC call that arrives becomes a coroutine on the loop.
//
// Two threads touch a call. The rpc thread takes every completion from gRPC's queue; the loop runs
// the handler. What both change is under the call's mutex, and both issue the next operation with
// pump(): the next answer if none is on its way, else the final status once that was asked for.
//
//   acceptor posted ─arrive─▶ handler runs ─▶ finish asked ─▶ Finish sent ─▶ last reference:
//   deleted
//
// Every operation given to gRPC holds a reference until its completion; so do mail to the loop and
// the handler. The done completion comes exactly once for each call that arrived, never for
// another.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <mutex>
#include <utility>

#include <weft/base/limits.h>
#include <weft/base/ring.h>
#include <weft/base/status.h>
#include <weft/runtime/channel.h>
#include <weft/runtime/event.h>
#include <weft/runtime/task_group.h>

#include "daemon/rpc/call_domain.h"
#include "daemon/rpc/status_map.h"

namespace weft {

// What every call has. Thread: the loop's, where nothing else is said.
class Call : public ListNode<Call> {
 public:
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // A stream has no natural end of its own: shutdown cancels it, while unary calls are answered.
  virtual bool is_stream() const = 0;
  grpc::ServerContext& context() { return context_; }
  // Cancelled with kDeadline or kConsumerGone when the client has no use for the answer any more.
  CancelScope& scope() { return *scope_; }
  // The client is gone: nothing that is sent will arrive.
  bool gone() const { return gone_; }

  // Counts bytes that this call holds besides what came with it, until let_go() or its end. Not OK:
  // the server holds too much; they are counted all the same. Thread: any.
  Status hold(size_t bytes);
  void let_go(size_t bytes);
  // The server holds much: wait until this call holds less before it takes more. Thread: any.
  bool crowded() const { return domain_.crowded(); }

 protected:
  Call(MethodBase& method, CallDomain& domain) : method_(method), domain_(domain) {}
  virtual ~Call();

  void add_reference() { references_.fetch_add(1, std::memory_order_relaxed); }
  void drop_reference() {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  EventLoop& loop() { return domain_.loop(); }
  void* finish_tag() { return finish_tag_.get(); }

  // What came with the call. On the rpc thread, once.
  virtual size_t request_bytes() const { return 0; }
  // Under mutex_, on either thread. issue_write(): gives the next answer to gRPC, if there is one.
  virtual bool issue_write() { return false; }
  virtual void issue_finish(const grpc::Status& status) = 0;
  virtual void drop_output() {}
  void pump();
  void ask_finish(grpc::Status status);  // takes mutex_; only the first one counts

  // On the loop, once, when the client is gone while the handler still runs.
  virtual void on_gone() {}

  std::mutex mutex_;  // guards the rest of this group
  bool writing_ = false;
  bool dead_ = false;  // a write failed or the call was cancelled: only Finish is left
  bool finish_asked_ = false;
  bool finish_sent_ = false;
  grpc::Status final_status_;

 private:
  template <typename C>
  friend class Method;
  template <typename C>
  friend class CallHandle;
  friend class CallDomain;
  friend class ScopeOfCall;

  // Before the call is offered to gRPC, as gRPC demands.
  void prepare() { context_.AsyncNotifyWhenDone(done_tag_.get()); }
  // On the rpc thread.
  void on_arrive(bool ok);
  void on_done(bool ok);
  void on_finish(bool ok);
  // On the loop.
  void deliver_arrival();
  void deliver_gone();

  MethodBase& method_;
  CallDomain& domain_;
  grpc::ServerContext context_;
  std::atomic<int> references_{2};  // arrive and done
  bool arrived_ = false;
  std::atomic<size_t> held_bytes_{0};
  bool gone_ = false;
  CancelScope* scope_ = nullptr;
  CallTag<Call> arrive_tag_{this, &Call::on_arrive};
  CallTag<Call> done_tag_{this, &Call::on_done};
  CallTag<Call> finish_tag_{this, &Call::on_finish};
  CallMail<Call> arrive_mail_{this, &Call::deliver_arrival};
  CallMail<Call> gone_mail_{this, &Call::deliver_gone};
};

// Ties a scope to a call while its handler runs in it.
class ScopeOfCall {
 public:
  ScopeOfCall(Call& call, CancelScope& scope);
  ~ScopeOfCall();
  ScopeOfCall(const ScopeOfCall&) = delete;
  ScopeOfCall& operator=(const ScopeOfCall&) = delete;

 private:
  Call& call_;
};

// One request, one answer. The request arrives with the call.
template <typename RequestType, typename ResponseType>
class UnaryCall final : public Call {
 public:
  using Request = RequestType;
  using Response = ResponseType;
  UnaryCall(MethodBase& method, CallDomain& domain)
      : Call(method, domain), responder_(&context()) {}

  bool is_stream() const override { return false; }
  Request& request() { return request_; }
  // Answers; only the first answer counts.
  void finish(StatusOr<Response> answer) {
    if (!answer.ok()) return finish(answer.status());
    response_ = *std::move(answer);
    ask_finish(grpc::Status::OK);
  }
  void finish(const Status& error) { ask_finish(to_grpc(error)); }

  auto* responder() { return &responder_; }

 private:
  size_t request_bytes() const override { return request_.ByteSizeLong(); }
  void issue_finish(const grpc::Status& status) override {
    if (status.ok()) {
      responder_.Finish(response_, status, finish_tag());
      Response().Swap(&response_);  // gRPC has it as bytes now: not twice while they are sent
    } else {
      responder_.FinishWithError(status, finish_tag());
    }
  }
  Request request_;
  Response response_;
  grpc::ServerAsyncResponseWriter<Response> responder_;
};

// The answering half of a streaming call.
template <typename ResponseType>
class AnswerStream : public Call {
 public:
  using Response = ResponseType;

  bool is_stream() const override { return true; }
  // Gives one answer to the client; waits while limits::kCallQueueMessages or kCallQueueBytes are
  // queued, which bounds what a slow client costs; while the server holds much, kCrowdedQueueBytes
  // are enough. What is queued counts as held. False: the client is gone.
  Task<bool> write(Response message);
  // Ends the call once what was written is on its way; only the first status counts.
  void finish(const Status& status) { ask_finish(to_grpc(status)); }

 protected:
  AnswerStream(MethodBase& method, CallDomain& domain) : Call(method, domain) {}
  // Gives one message to gRPC, which serializes it before this returns.
  virtual void send(const Response& message, grpc::WriteOptions options, void* tag) = 0;
  void on_gone() override { room_.set(); }

 private:
  bool issue_write() override;
  void drop_output() override;
  void on_write(bool ok);
  void deliver_room();
  bool full() const {
    return queue_.size() >= limits::kCallQueueMessages || queue_bytes_ >= queue_bytes_max();
  }
  size_t queue_bytes_max() const {
    return crowded() ? limits::kCrowdedQueueBytes : limits::kCallQueueBytes;
  }

  struct Queued {
    Response message;
    size_t bytes;
  };
  Ring<Queued> queue_;  // this group: under mutex_
  size_t queue_bytes_ = 0;
  bool wants_room_ = false;
  Event room_;
  CallTag<AnswerStream> write_tag_{this, &AnswerStream::on_write};
  CallMail<AnswerStream> room_mail_{this, &AnswerStream::deliver_room};
};

// One request, many answers.
template <typename RequestType, typename ResponseType>
class ServerStreamCall final : public AnswerStream<ResponseType> {
 public:
  using Request = RequestType;
  ServerStreamCall(MethodBase& method, CallDomain& domain)
      : AnswerStream<ResponseType>(method, domain), responder_(&this->context()) {}

  Request& request() { return request_; }
  auto* responder() { return &responder_; }

 private:
  size_t request_bytes() const override { return request_.ByteSizeLong(); }
  void send(const ResponseType& message, grpc::WriteOptions options, void* tag) override {
    responder_.Write(message, options, tag);
  }
  void issue_finish(const grpc::Status& status) override {
    responder_.Finish(status, this->finish_tag());
  }
  Request request_;
  grpc::ServerAsyncWriter<ResponseType> responder_;
};

// Many requests, many answers.
template <typename RequestType, typename ResponseType>
class BidiCall final : public AnswerStream<ResponseType> {
 public:
  using Request = RequestType;
  BidiCall(MethodBase& method, CallDomain& domain)
      : AnswerStream<ResponseType>(method, domain), responder_(&this->context()) {}

  // co_await call.read(): the next request; nothing once the client has half-closed or is gone, or
  // read_refused(). The next one is asked of gRPC only when this is called again: that is the flow
  // control. What was read counts as held until then.
  typename Channel<Request>::Receive read() {
    start_read();
    return inbox_.receive();
  }
  // Hands the count of the last request over to the caller, who lets it go.
  size_t take_read_bytes() { return std::exchange(read_bytes_, 0); }
  // Not OK, after read() has returned nothing: the server has no room for the request that came.
  // The handler ends the call so once it has written what it owes.
  const Status& read_refused() const { return read_refused_; }
  auto* responder() { return &responder_; }

 private:
  void start_read();
  void on_read(bool ok);
  void deliver_read();
  void on_gone() override {
    AnswerStream<ResponseType>::on_gone();
    inbox_.close();
  }
  void send(const ResponseType& message, grpc::WriteOptions options, void* tag) override {
    responder_.Write(message, options, tag);
  }
  void issue_finish(const grpc::Status& status) override {
    responder_.Finish(status, this->finish_tag());
  }

  Channel<Request> inbox_{1};
  bool reading_ = false;   // asked of gRPC and not delivered
  bool read_ok_ = false;   // written by the rpc thread before it posts read_mail_, like…
  size_t read_bytes_ = 0;  // …this: of the last request, counted as held…
  Status read_refused_;    // …and this
  Request incoming_;       // gRPC's until then
  grpc::ServerAsyncReaderWriter<ResponseType, Request> responder_;
  CallTag<BidiCall> read_tag_{this, &BidiCall::on_read};
  CallMail<BidiCall> read_mail_{this, &BidiCall::deliver_read};
};

// ---- implementation details only below

template <typename ResponseType>
Task<bool> AnswerStream<ResponseType>::write(Response message) {
  for (;;) {
    {
      std::lock_guard lock(mutex_);
      if (dead_ || finish_asked_) co_return false;
      if (!full()) {
        const size_t bytes = message.ByteSizeLong();
        queue_.push_back({std::move(message), bytes});
        queue_bytes_ += bytes;
        // Counted, not refused: what its job has computed is worth more than a new call.
        (void)hold(bytes);
        pump();
        co_return true;
      }
      wants_room_ = true;
      room_.reset();
    }
    co_await room_.wait();
  }
}

template <typename ResponseType>
bool AnswerStream<ResponseType>::issue_write() {
  if (queue_.empty()) return false;
  Queued next = queue_.pop_front();
  queue_bytes_ -= next.bytes;
  grpc::WriteOptions options;
  if (!queue_.empty()) options.set_buffer_hint();  // more follows at once: one packet for both
  writing_ = true;
  add_reference();
  send(next.message, options, write_tag_.get());
  let_go(next.bytes);
  return true;
}

template <typename ResponseType>
void AnswerStream<ResponseType>::drop_output() {
  while (!queue_.empty()) queue_.pop_front();
  let_go(std::exchange(queue_bytes_, 0));
}

template <typename ResponseType>
void AnswerStream<ResponseType>::on_write(bool ok) {
  bool tell = false;
  {
    std::lock_guard lock(mutex_);
    writing_ = false;
    if (!ok) {
      dead_ = true;
      drop_output();
    }
    pump();
    // Half empty, not one short of full: the handler wakes once for many messages.
    if (wants_room_ && (dead_ || (queue_.size() <= limits::kCallQueueMessages / 2 &&
                                  queue_bytes_ <= queue_bytes_max() / 2))) {
      wants_room_ = false;
      tell = true;
    }
  }
  if (tell) {
    loop().post(room_mail_);  // the write's reference goes with the mail
  } else {
    drop_reference();
  }
}

template <typename ResponseType>
void AnswerStream<ResponseType>::deliver_room() {
  room_.set();
  drop_reference();
}

template <typename RequestType, typename ResponseType>
void BidiCall<RequestType, ResponseType>::start_read() {
  if (reading_ || inbox_.closed() || inbox_.size() > 0) return;
  this->let_go(take_read_bytes());
  std::lock_guard lock(this->mutex_);
  if (this->finish_asked_) return inbox_.close();
  reading_ = true;
  this->add_reference();
  responder_.Read(&incoming_, read_tag_.get());
}

template <typename RequestType, typename ResponseType>
void BidiCall<RequestType, ResponseType>::on_read(bool ok) {
  size_t bytes = 0;
  if (ok) {
    std::lock_guard lock(this->mutex_);  // after start_read(), which gRPC alone orders
    bytes = incoming_.ByteSizeLong();
  }
  Status room = ok ? this->hold(bytes) : absl::OkStatus();
  {
    std::lock_guard lock(this->mutex_);
    read_ok_ = ok && room.ok();
    read_bytes_ = bytes;
    read_refused_ = std::move(room);
  }
  this->loop().post(read_mail_);  // the read's reference goes with the mail
}

template <typename RequestType, typename ResponseType>
void BidiCall<RequestType, ResponseType>::deliver_read() {
  reading_ = false;
  // Not ok is a half-close, a death or our own Finish, which cannot be told apart.
  if (read_ok_) {
    inbox_.try_send(std::move(incoming_));
  } else {
    inbox_.close();
  }
  this->drop_reference();
}

}  // namespace weft
