// The Attach call: events down; credit, sends and cancel up.
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include <weft/client/attach_state.h>
#include <weft/client/attachment.h>
#include <weft/client/event_reader.h>

namespace weft {
namespace {

// How long a call that is over may keep a write; then it is cancelled.
constexpr auto kLastWrite = std::chrono::seconds(1);

class AttachCall final : public EventCall {
 public:
  void start(ClientCore& core) { stream_ = core.stub->Attach(&context); }
  bool read(v1::Event* event) override { return stream_->Read(event); }
  grpc::Status finish() override { return stream_->Finish(); }
  // One at a time. A write to a broken call is dropped: the reader notices and opens another.
  void write(const v1::AttachRequest& request) { stream_->Write(request); }
  void half_close() { stream_->WritesDone(); }

 private:
  std::unique_ptr<grpc::ClientReaderWriter<v1::AttachRequest, v1::Event>> stream_;
};

}  // namespace

class Attachment::Impl {
 public:
  Impl(std::shared_ptr<ClientCore> core, const Attachment::Options& options)
      : core_(std::move(core)),
        state_({.job_id = options.job_id,
                .sender = core_->new_sender(),
                .credit_ahead = options.credit_ahead,
                .all_attempts = options.all_attempts}),
        reader_(
            core_, options.job_id, options.from_sequence, options.deadline_ms,
            [this](uint64_t from_sequence, EventReader::Deadline deadline) {
              return open(from_sequence, deadline);
            },
            [this] { close(); }),
        writer_([this] { write_all(); }) {}

  ~Impl() {
    stop();  // also ends a write that waits
    writer_.join();
  }

  StatusOr<std::optional<v1::Event>> next() {
    for (;;) {
      {
        std::lock_guard lock(mutex_);
        state_.consume(reader_.next_sequence());
        changed_.notify_all();
      }
      StatusOr<std::optional<v1::Event>> event = reader_.next();
      if (event.ok() && event->has_value() && (*event)->has_sends_accepted()) {
        accepted((*event)->sends_accepted().number());
        continue;
      }
      if (!event.ok() || !event->has_value() || (*event)->has_finished()) end();
      return event;
    }
  }

  Status send(std::string value) {
    WEFT_RETURN_IF_ERROR(check_send(value));
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return over_ || state_.has_room(); });
    if (over_) {
      return make_status(StatusCode::kFailedPrecondition,
                         "the job has ended or the reader has left: nothing takes this value");
    }
    state_.send(std::move(value));
    changed_.notify_all();
    return absl::OkStatus();
  }

  size_t pending_sends() const {
    std::lock_guard lock(mutex_);
    return state_.pending_sends();
  }

  void grant(uint64_t sequence) {
    std::lock_guard lock(mutex_);
    state_.grant(sequence);
    changed_.notify_all();
  }

  void cancel(const std::string& reason) {
    std::lock_guard lock(mutex_);
    state_.cancel(reason);
    changed_.notify_all();
  }

  void stop() {
    end();
    reader_.stop();
  }

  uint64_t next_sequence() const { return reader_.next_sequence(); }

 private:
  std::shared_ptr<EventCall> open(uint64_t from_sequence, EventReader::Deadline deadline) {
    auto call = std::make_shared<AttachCall>();
    if (deadline) call->context.set_deadline(*deadline);
    call->start(*core_);
    v1::AttachRequest request;
    {
      std::lock_guard lock(mutex_);
      request = state_.open(from_sequence);
    }
    call->write(request);
    std::lock_guard lock(mutex_);
    call_ = call;
    changed_.notify_all();
    return call;
  }

  // The writer may still be at a write, which ends with its call.
  void close() {
    std::unique_lock lock(mutex_);
    const std::shared_ptr<AttachCall> call = std::exchange(call_, nullptr);
    if (!changed_.wait_for(lock, kLastWrite, [this] { return !writing_; })) {
      call->cancel();
      changed_.wait(lock, [this] { return !writing_; });
    }
    lock.unlock();
    call->half_close();
  }

  void end() {
    std::lock_guard lock(mutex_);
    over_ = true;
    changed_.notify_all();
  }

  void accepted(uint64_t number) {
    std::lock_guard lock(mutex_);
    state_.accepted(number);
    changed_.notify_all();
  }

  // The writer's thread: a server that takes no more makes writes wait, and the reader, whose
  // credit may be what the job waits for, must not wait with them.
  void write_all() {
    std::unique_lock lock(mutex_);
    for (;;) {
      std::optional<v1::AttachRequest> request;
      changed_.wait(lock, [&] { return over_ || (call_ && (request = state_.take_unwritten())); });
      if (over_) return;
      const std::shared_ptr<AttachCall> call = call_;
      writing_ = true;
      lock.unlock();
      call->write(*request);
      lock.lock();
      writing_ = false;
      changed_.notify_all();
    }
  }

  const std::shared_ptr<ClientCore> core_;

  mutable std::mutex mutex_;  // guards all down to the reader
  std::condition_variable changed_;
  std::shared_ptr<AttachCall> call_;
  bool writing_ = false;  // the writer is at the call, without the mutex
  AttachState state_;
  bool over_ = false;

  EventReader reader_;  // ends its call, which uses the members above
  std::thread writer_;
};

Attachment open_attachment(std::shared_ptr<ClientCore> core, Attachment::Options options) {
  return Attachment(std::make_unique<Attachment::Impl>(std::move(core), options));
}

Attachment::Attachment(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Attachment::~Attachment() = default;
Attachment::Attachment(Attachment&&) noexcept = default;
Attachment& Attachment::operator=(Attachment&&) noexcept = default;

StatusOr<std::optional<v1::Event>> Attachment::next() { return impl_->next(); }
Status Attachment::send(std::string value) { return impl_->send(std::move(value)); }
size_t Attachment::pending_sends() const { return impl_->pending_sends(); }
void Attachment::grant(uint64_t sequence) { impl_->grant(sequence); }
void Attachment::cancel(const std::string& reason) { impl_->cancel(reason); }
void Attachment::stop() { impl_->stop(); }
uint64_t Attachment::next_sequence() const { return impl_->next_sequence(); }

}  // namespace weft
