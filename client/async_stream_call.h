// The two streaming calls on the loop: Watch reads events; Attach reads and writes.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include <weft/client/async_core.h>
#include <weft/client/attach_state.h>
#include <weft/v1/job_service.pb.h>

namespace weft {

// One event is read ahead, no more: gRPC's flow control holds the server.
class AsyncStreamCall : public AsyncCall {
 public:
  using AsyncCall::AsyncCall;

  bool has_event() const { return has_event_; }
  // The event that was read; the next one is asked for.
  v1::Event take();
  bool finished() const override { return finished_; }
  const grpc::Status& status() const { return status_; }
  // Nothing more goes up.
  virtual void half_close() {}

 protected:
  void start();
  virtual void start_call(void* tag) = 0;
  virtual void read_event(v1::Event* event, void* tag) = 0;
  virtual void finish_call(grpc::Status* status, void* tag) = 0;
  virtual void on_open() {}

 private:
  void on_start(bool ok);
  void on_read(bool ok);
  void on_finish(bool ok);
  void finish() override;

  Operation<AsyncStreamCall> start_{this, &AsyncStreamCall::on_start};
  Operation<AsyncStreamCall> read_{this, &AsyncStreamCall::on_read};
  Operation<AsyncStreamCall> finish_{this, &AsyncStreamCall::on_finish};
  v1::Event event_;
  grpc::Status status_;
  bool has_event_ = false;
  bool finishing_ = false;
  bool finished_ = false;
};

class AsyncWatchCall final : public AsyncStreamCall {
 public:
  AsyncWatchCall(AsyncCore& core, Semaphore::Permit permit, const v1::WatchRequest& request,
                 std::optional<std::chrono::system_clock::time_point> deadline);

 private:
  void start_call(void* tag) override { stream_->StartCall(tag); }
  void read_event(v1::Event* event, void* tag) override { stream_->Read(event, tag); }
  void finish_call(grpc::Status* status, void* tag) override { stream_->Finish(status, tag); }

  std::unique_ptr<grpc::ClientAsyncReader<v1::Event>> stream_;
};

class AsyncAttachCall final : public AsyncStreamCall {
 public:
  AsyncAttachCall(AsyncCore& core, Semaphore::Permit permit, std::shared_ptr<AttachState> state,
                  uint64_t from_sequence,
                  std::optional<std::chrono::system_clock::time_point> deadline);

  // Writes what the state has to tell and the server was not told, one message at a time.
  void pump();
  void half_close() override;

 private:
  void start_call(void* tag) override { stream_->StartCall(tag); }
  void read_event(v1::Event* event, void* tag) override { stream_->Read(event, tag); }
  void finish_call(grpc::Status* status, void* tag) override { stream_->Finish(status, tag); }
  void on_open() override;
  void on_write(bool ok);

  const std::shared_ptr<AttachState> state_;
  const uint64_t from_sequence_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<v1::AttachRequest, v1::Event>> stream_;
  Operation<AsyncAttachCall> write_{this, &AsyncAttachCall::on_write};
  v1::AttachRequest request_;
  bool open_ = false;  // may be written to
  bool writing_ = false;
  bool closing_ = false;
};

}  // namespace weft
