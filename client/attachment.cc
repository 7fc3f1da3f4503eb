// The Attach call: events down; credit, sends and cancel up.
#include <algorithm>
#include <deque>
#include <mutex>
#include <utility>

#include <weft/base/id.h>
#include <weft/base/limits.h>
#include <weft/client/attachment.h>
#include <weft/client/event_reader.h>

namespace weft {
namespace {

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
            core_, options_.from_sequence, options_.deadline_ms,
            [this](uint64_t from_sequence, EventReader::Deadline deadline) {
              return open(from_sequence, deadline);
            },
            [this] {
              std::lock_guard lock(mutex_);
              call_->half_close();
              call_ = nullptr;
            }) {}

  StatusOr<std::optional<v1::Event>> next() {
    if (options_.credit_ahead > 0) {
      // Half of the credit at a time: a message for every chunk would cost more than the chunk.
      const uint64_t next = std::max<uint64_t>(reader_.next_sequence(), 1);
      std::lock_guard lock(mutex_);
      if (credit_ < next - 1 + options_.credit_ahead / 2 + 1) {
        set_credit(next - 1 + options_.credit_ahead);
      }
    }
    StatusOr<std::optional<v1::Event>> event = reader_.next();
    if (!event.ok() || !event->has_value() || (*event)->has_finished()) {
      std::lock_guard lock(mutex_);
      over_ = true;
    }
    return event;
  }

  Status send(std::string value) {
    if (value.size() > limits::kSendBytes) {
      return field_error("value", "the value has " + std::to_string(value.size()) +
                                      " bytes and the limit of a send is " +
                                      std::to_string(limits::kSendBytes) + ": send less");
    }
    std::lock_guard lock(mutex_);
    if (over_) {
      return make_status(StatusCode::kFailedPrecondition,
                         "the job has ended or the reader has left: nothing takes this value");
    }
    v1::AttachRequest request;
    request.mutable_send()->set_number(++sends_);
    request.mutable_send()->set_value(std::move(value));
    if (call_ != nullptr) call_->write(request);
    latest_sends_.push_back(std::move(request));
    if (latest_sends_.size() > limits::kUnconsumedSends) latest_sends_.pop_front();
    return absl::OkStatus();
  }

  void grant(uint64_t sequence) {
    std::lock_guard lock(mutex_);
    set_credit(sequence);
  }

  void cancel(const std::string& reason) {
    std::lock_guard lock(mutex_);
    cancel_ = v1::AttachRequest();
    cancel_->mutable_cancel()->set_reason(reason);
    if (call_ != nullptr) call_->write(*cancel_);
  }

  void stop() { reader_.stop(); }
  uint64_t next_sequence() const { return reader_.next_sequence(); }

 private:
  std::shared_ptr<EventCall> open(uint64_t from_sequence, EventReader::Deadline deadline) {
    auto call = std::make_shared<AttachCall>();
    if (deadline) call->context.set_deadline(*deadline);
    call->start(*core_);
    std::lock_guard lock(mutex_);
    v1::AttachRequest request;
    v1::AttachRequest::Open& open = *request.mutable_open();
    open.set_id(options_.job_id);
    open.set_from_sequence(from_sequence);
    open.set_credit(credit_);
    open.set_sender(sender_);
    open.set_all_attempts(options_.all_attempts);
    call->write(request);
    for (const v1::AttachRequest& send : latest_sends_) call->write(send);
    if (cancel_) call->write(*cancel_);
    call_ = call;
    return call;
  }

  void set_credit(uint64_t sequence) {
    if (sequence <= credit_) return;
    credit_ = sequence;
    if (call_ == nullptr) return;
    v1::AttachRequest request;
    request.set_credit(sequence);
    call_->write(request);
  }

  const std::shared_ptr<ClientCore> core_;
  const Attachment::Options options_;
  const std::string sender_;

  std::mutex mutex_;  // guards all below, and that only one thread writes to the call
  std::shared_ptr<AttachCall> call_;
  uint64_t credit_ = 0;
  uint64_t sends_ = 0;
  std::deque<v1::AttachRequest> latest_sends_;
  std::optional<v1::AttachRequest> cancel_;
  bool over_ = false;

  EventReader reader_;  // last: it ends its call, which uses the members above
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
void Attachment::grant(uint64_t sequence) { impl_->grant(sequence); }
void Attachment::cancel(const std::string& reason) { impl_->cancel(reason); }
void Attachment::stop() { impl_->stop(); }
uint64_t Attachment::next_sequence() const { return impl_->next_sequence(); }

}  // namespace weft
