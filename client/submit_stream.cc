// The SubmitStream call: one thread writes messages, one reads answers.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include <weft/base/limits.h>
#include <weft/client/client_core.h>
#include <weft/client/job_spec.h>
#include <weft/client/rpc_status.h>
#include <weft/client/submit_stream.h>

namespace weft {
namespace {

// A message this long costs the server little per job; a longer one would only wait longer.
constexpr int kMessageJobs = 256;
constexpr size_t kMessageBytes = 1 << 20;

}  // namespace

class SubmitStream::Impl {
 public:
  Impl(std::shared_ptr<ClientCore> core, OnAnswer on_answer)
      : core_(std::move(core)),
        on_answer_(std::move(on_answer)),
        call_(core_->stub->SubmitStream(&context_)),
        reader_([this] { read_all(); }),
        writer_([this] { write_all(); }) {}

  ~Impl() {
    stop();
    writer_.join();
    reader_.join();
  }

  StatusOr<std::string> write(v1::JobSpec spec) {
    WEFT_RETURN_IF_ERROR(complete_spec(*core_, "spec", &spec));
    std::string id = spec.id();
    v1::SubmitStreamRequest alone;
    *alone.add_specs() = std::move(spec);
    const size_t bytes = alone.ByteSizeLong();
    if (bytes > limits::kBatchBytes) {
      return field_error("spec.payload", "the job has " + std::to_string(bytes) +
                                             " bytes and the limit of a submit stream is " +
                                             std::to_string(limits::kBatchBytes) +
                                             ": use submit for this one");
    }
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] {
      return over_ || (unanswered_ + pending_count_ < limits::kSubmitStreamJobs &&
                       (pending_count_ == 0 || pending_bytes_ + bytes <= limits::kBatchBytes));
    });
    if (over_) return ended_with();
    if (finishing_) {
      return make_status(StatusCode::kFailedPrecondition,
                         "this submit stream is finished: open another one to go on");
    }
    // A message that is full waits for the writer, which takes whole messages only.
    if (pending_.empty() || pending_.back().is_full(bytes)) pending_.emplace_back();
    *pending_.back().request.add_specs() = std::move(*alone.mutable_specs(0));
    pending_.back().bytes += bytes;
    pending_bytes_ += bytes;
    ++pending_count_;
    if (may_send()) work_.notify_one();
    return id;
  }

  Status finish() {
    std::unique_lock lock(mutex_);
    finishing_ = true;
    work_.notify_one();
    room_.wait(lock, [this] { return over_; });
    return status_;
  }

  void stop() {
    std::lock_guard lock(mutex_);
    if (over_) return;
    stopped_ = true;
    context_.TryCancel();
  }

  size_t unanswered() const {
    std::lock_guard lock(mutex_);
    return unanswered_ + pending_count_;
  }

 private:
  struct Message {
    v1::SubmitStreamRequest request;
    size_t bytes = 0;
    bool is_full(size_t more_bytes) const {
      return request.specs_size() == kMessageJobs ||
             (request.specs_size() > 0 && bytes + more_bytes > kMessageBytes);
    }
  };

  bool may_send() const {
    return !pending_.empty() &&
           (unanswered_ == 0 || finishing_ || pending_.size() > 1 || pending_.front().is_full(0));
  }
  Status ended_with() const {
    if (!status_.ok()) return status_;
    return make_status(StatusCode::kUnavailable,
                       "the server ended the submit stream: open another one to go on");
  }

  void write_all() {
    std::unique_lock lock(mutex_);
    for (;;) {
      work_.wait(lock, [this] { return over_ || may_send() || (finishing_ && pending_.empty()); });
      if (over_) return;
      if (pending_.empty()) break;
      const Message message = std::move(pending_.front());
      pending_.pop_front();
      const auto jobs = static_cast<size_t>(message.request.specs_size());
      pending_count_ -= jobs;
      pending_bytes_ -= message.bytes;
      unanswered_ += jobs;
      room_.notify_all();
      lock.unlock();
      const bool written = call_->Write(message.request);
      lock.lock();
      if (!written) return;  // the reader learns why
    }
    lock.unlock();
    call_->WritesDone();
  }

  void read_all() {
    v1::SubmitStreamResponse response;
    while (call_->Read(&response)) {
      for (const v1::SubmitAnswer& answer : response.answers()) on_answer_(answer);
      std::lock_guard lock(mutex_);
      unanswered_ -= std::min(unanswered_, static_cast<size_t>(response.answers_size()));
      room_.notify_all();
      if (may_send()) work_.notify_one();
    }
    const grpc::Status ended = call_->Finish();
    std::lock_guard lock(mutex_);
    status_ = status_from_grpc(ended, core_->options.server);
    if (stopped_ && !ended.ok()) {
      status_ = make_status(StatusCode::kCancelled,
                            "the submit stream was stopped: open another one to go on");
    } else if (ended.ok() && unanswered_ + pending_count_ > 0) {
      status_ = make_status(StatusCode::kUnavailable,
                            "the server ended the submit stream before it had answered: write the "
                            "rest again, with the same ids, on another one");
    }
    over_ = true;
    room_.notify_all();
    work_.notify_all();
  }

  const std::shared_ptr<ClientCore> core_;
  const OnAnswer on_answer_;
  grpc::ClientContext context_;
  const std::unique_ptr<grpc::ClientReaderWriter<v1::SubmitStreamRequest, v1::SubmitStreamResponse>>
      call_;

  mutable std::mutex mutex_;      // guards all down to the threads
  std::condition_variable work_;  // for the writer
  std::condition_variable room_;  // for write() and finish()
  std::deque<Message> pending_;   // the last one may grow
  size_t pending_count_ = 0;
  size_t pending_bytes_ = 0;
  size_t unanswered_ = 0;
  bool finishing_ = false;
  bool stopped_ = false;
  bool over_ = false;
  Status status_;

  std::thread reader_;
  std::thread writer_;
};

SubmitStream open_submit_stream(std::shared_ptr<ClientCore> core,
                                SubmitStream::OnAnswer on_answer) {
  return SubmitStream(std::make_unique<SubmitStream::Impl>(std::move(core), std::move(on_answer)));
}

SubmitStream::SubmitStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SubmitStream::~SubmitStream() = default;
SubmitStream::SubmitStream(SubmitStream&&) noexcept = default;
SubmitStream& SubmitStream::operator=(SubmitStream&&) noexcept = default;

StatusOr<std::string> SubmitStream::write(v1::JobSpec spec) {
  return impl_->write(std::move(spec));
}
Status SubmitStream::finish() { return impl_->finish(); }
void SubmitStream::stop() { impl_->stop(); }
size_t SubmitStream::unanswered() const { return impl_->unanswered(); }

}  // namespace weft
