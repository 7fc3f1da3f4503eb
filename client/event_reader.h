// EventReader: reads events of one job over calls that are opened again when they break.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include <weft/base/status.h>
#include <weft/client/attachment.h>
#include <weft/client/client_core.h>
#include <weft/client/result_stream.h>
#include <weft/client/stream_progress.h>

namespace weft {

// One gRPC call that delivers events. Thread: one reads; cancel() may be called from any.
class EventCall {
 public:
  virtual ~EventCall() = default;
  virtual bool read(v1::Event* event) = 0;
  virtual grpc::Status finish() = 0;  // after read() returned false
  void cancel() { context.TryCancel(); }

  grpc::ClientContext context;
};

// Thread: one calls next(); stop() may be called from any. Lifetime: the functions it was given
// must outlive it.
class EventReader {
 public:
  using Deadline = StreamProgress::Deadline;
  // Starts a call that begins at a sequence; the reader sets its deadline before.
  using Open = std::function<std::shared_ptr<EventCall>(uint64_t from_sequence, Deadline deadline)>;
  using Closed = std::function<void()>;  // the call that `Open` made last is of no more use

  EventReader(std::shared_ptr<ClientCore> core, const std::string& job_id, uint64_t from_sequence,
              int64_t deadline_ms, Open open, Closed closed);
  ~EventReader();
  EventReader(const EventReader&) = delete;
  EventReader& operator=(const EventReader&) = delete;

  StatusOr<std::optional<v1::Event>> next();
  void stop();
  uint64_t next_sequence() const { return progress_.next_sequence(); }

 private:
  // Ends the current call and says why; nothing is left open after it.
  grpc::Status close_call();
  // Waits before the next try. False: stop() was called.
  bool pause(std::chrono::milliseconds duration);

  std::shared_ptr<ClientCore> core_;
  Open open_;
  Closed closed_;
  StreamProgress progress_;

  std::mutex mutex_;  // guards the two below
  bool stopped_ = false;
  std::shared_ptr<EventCall> call_;
};

std::unique_ptr<EventReader> open_watch(std::shared_ptr<ClientCore> core,
                                        ResultStream::Options options);
Attachment open_attachment(std::shared_ptr<ClientCore> core, Attachment::Options options);

}  // namespace weft
