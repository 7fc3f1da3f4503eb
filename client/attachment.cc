// The Attach call: events down; credit, sends and cancel up.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include <weft/base/id.h>
#include <weft/base/limits.h>
#include <weft/client/attachment.h>
#include <weft/client/event_reader.h>
#include <weft/client/text.h>

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
  Impl(std::shared_ptr<ClientCore> core, Attachment::Options options)
      : core_(std::move(core)),
        options_(std::move(options)),
        sender_([this] {
          Random random(core_->random());
          return make_incarnation(random);
        }()),
        reader_(
            core_, options_.job_id, options_.from_sequence, options_.deadline_ms,
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
      if (options_.credit_ahead > 0) {
        // Half of the credit at a time: a message for every chunk would cost more than the chunk.
        const uint64_t next = std::max<uint64_t>(reader_.next_sequence(), 1);
        std::lock_guard lock(mutex_);
        if (credit_ < next - 1 + options_.credit_ahead / 2 + 1) {
          set_credit(next - 1 + options_.credit_ahead);
        }
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
    if (value.size() > limits::kSendBytes) {
      return field_error("value", "the value has " + std::to_string(value.size()) +
                                      " bytes and the limit of a send is " +
                                      std::to_string(limits::kSendBytes) + ": send less");
    }
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return over_ || sends_.size() < limits::kUnconsumedSends; });
    if (over_) {
      return make_status(StatusCode::kFailedPrecondition,
                         "the job has ended or the reader has left: nothing takes this value");
    }
    v1::AttachRequest& request = sends_.emplace_back();
    request.mutable_send()->set_number(++last_number_);
    request.mutable_send()->set_value(std::move(value));
    changed_.notify_all();
    return absl::OkStatus();
  }

  size_t pending_sends() const {
    std::lock_guard lock(mutex_);
    return sends_.size();
  }

  void grant(uint64_t sequence) {
    std::lock_guard lock(mutex_);
    set_credit(sequence);
  }

  void cancel(const std::string& reason) {
    std::lock_guard lock(mutex_);
    cancel_ = v1::AttachRequest();
    cancel_->mutable_cancel()->set_reason(is_utf8(reason) ? reason : "");
    cancel_written_ = false;
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
    v1::AttachRequest::Open& open = *request.mutable_open();
    open.set_id(options_.job_id);
    open.set_from_sequence(from_sequence);
    open.set_sender(sender_);
    open.set_all_attempts(options_.all_attempts);
    {
      std::lock_guard lock(mutex_);
      credit_written_ = credit_;
    }
    open.set_credit(credit_written_);
    call->write(request);
    std::lock_guard lock(mutex_);
    call_ = call;
    sends_written_ = 0;
    cancel_written_ = false;
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
    while (!sends_.empty() && sends_.front().send().number() <= number) {
      sends_.pop_front();
      if (sends_written_ > 0) --sends_written_;
    }
    changed_.notify_all();
  }

  void set_credit(uint64_t sequence) {
    if (sequence <= credit_) return;
    credit_ = sequence;
    changed_.notify_all();
  }

  // What the call has not been told yet; credit first, for the job may wait for it.
  std::optional<v1::AttachRequest> take_unwritten() {
    if (call_ == nullptr) return std::nullopt;
    if (credit_ > credit_written_) {
      v1::AttachRequest request;
      request.set_credit(credit_);
      credit_written_ = credit_;
      return request;
    }
    if (sends_written_ < sends_.size()) return sends_[sends_written_++];
    if (cancel_ && !std::exchange(cancel_written_, true)) return cancel_;
    return std::nullopt;
  }

  // The writer's thread: a server that takes no more makes writes wait, and the reader, whose
  // credit may be what the job waits for, must not wait with them.
  void write_all() {
    std::unique_lock lock(mutex_);
    for (;;) {
      std::optional<v1::AttachRequest> request;
      changed_.wait(lock, [&] { return over_ || (request = take_unwritten()); });
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
  const Attachment::Options options_;
  const std::string sender_;

  mutable std::mutex mutex_;  // guards all down to the reader
  std::condition_variable changed_;
  std::shared_ptr<AttachCall> call_;
  bool writing_ = false;  // the writer is at the call, without the mutex
  uint64_t credit_ = 0;
  uint64_t credit_written_ = 0;  // this and the next two: to the present call
  size_t sends_written_ = 0;
  bool cancel_written_ = false;
  uint64_t last_number_ = 0;
  std::deque<v1::AttachRequest> sends_;  // those that are not known to be stored
  std::optional<v1::AttachRequest> cancel_;
  bool over_ = false;

  EventReader reader_;  // ends its call, which uses the members above
  std::thread writer_;
};

Attachment open_attachment(std::shared_ptr<ClientCore> core, Attachment::Options options) {
  return Attachment(std::make_unique<Attachment::Impl>(std::move(core), std::move(options)));
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
