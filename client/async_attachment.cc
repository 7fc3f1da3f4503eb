// The Attach call on the loop: events down; credit, sends and cancel up.
#include <utility>

#include <weft/client/async_attachment.h>
#include <weft/client/async_event_reader.h>
#include <weft/client/attach_state.h>
#include <weft/runtime/event.h>

namespace weft {

class AsyncAttachment::Impl {
 public:
  Impl(std::shared_ptr<AsyncCore> core, const Attachment::Options& options)
      : state_(std::make_shared<AttachState>(
            AttachState::Options{.job_id = options.job_id,
                                 .sender = ClientCore::new_sender(),
                                 .credit_ahead = options.credit_ahead,
                                 .all_attempts = options.all_attempts})),
        reader_(core, options.job_id, options.from_sequence, options.deadline_ms,
                [core = core.get(), state = state_](Semaphore::Permit permit, uint64_t from,
                                                    StreamProgress::Deadline deadline) {
                  return new AsyncAttachCall(*core, std::move(permit), state, from, deadline);
                }) {}

  Task<std::optional<Chunk>> next() {
    while (chunks_.needs_event()) {
      StatusOr<std::optional<v1::Event>> event = co_await next_event();
      chunks_.take_event(std::move(event));
    }
    if (chunks_.finished()) {  // the job has ended, and now the call does
      StatusOr<std::optional<v1::Event>> end = co_await reader_.next();
    }
    co_return chunks_.next();
  }

  Task<StatusOr<std::optional<v1::Event>>> next_event() {
    for (;;) {
      state_->consume(reader_.next_sequence());
      pump();
      StatusOr<std::optional<v1::Event>> event = co_await reader_.next();
      if (event.ok() && event->has_value() && (*event)->has_sends_accepted()) {
        state_->accepted((*event)->sends_accepted().number());
        room_.notify_all();
        continue;
      }
      if (!event.ok() || !event->has_value() || (*event)->has_finished()) {
        over_ = true;
        room_.notify_all();
      }
      co_return event;
    }
  }

  Task<Status> send(std::string value) {
    Status status = check_send(value);
    if (!status.ok()) co_return status;
    while (!over_ && !state_->has_room()) co_await room_.wait();
    if (over_) {
      co_return make_status(StatusCode::kFailedPrecondition,
                            "the job has ended or the reader has left: nothing takes this value");
    }
    state_->send(std::move(value));
    pump();
    co_return absl::OkStatus();
  }

  void grant(uint64_t sequence) {
    state_->grant(sequence);
    pump();
  }
  void cancel(const std::string& reason) {
    state_->cancel(reason);
    pump();
  }
  size_t pending_sends() const { return state_->pending_sends(); }
  const ChunkCursor& chunks() const { return chunks_; }

 private:
  void pump() {
    if (reader_.call() != nullptr) static_cast<AsyncAttachCall*>(reader_.call())->pump();
  }

  const std::shared_ptr<AttachState> state_;  // calls that end late read it too
  AsyncEventReader reader_;
  ChunkCursor chunks_;
  Event room_;
  bool over_ = false;
};

AsyncAttachment open_attachment(std::shared_ptr<AsyncCore> core, Attachment::Options options) {
  return AsyncAttachment(std::make_unique<AsyncAttachment::Impl>(std::move(core), options));
}

AsyncAttachment::AsyncAttachment(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AsyncAttachment::~AsyncAttachment() = default;
AsyncAttachment::AsyncAttachment(AsyncAttachment&&) noexcept = default;
AsyncAttachment& AsyncAttachment::operator=(AsyncAttachment&&) noexcept = default;

Task<std::optional<Chunk>> AsyncAttachment::next() { return impl_->next(); }
const std::optional<v1::Finished>& AsyncAttachment::finished() const {
  return impl_->chunks().finished();
}
const Status& AsyncAttachment::status() const { return impl_->chunks().status(); }
Task<StatusOr<std::optional<v1::Event>>> AsyncAttachment::next_event() {
  return impl_->next_event();
}
Task<Status> AsyncAttachment::send(std::string value) { return impl_->send(std::move(value)); }
size_t AsyncAttachment::pending_sends() const { return impl_->pending_sends(); }
void AsyncAttachment::grant(uint64_t sequence) { impl_->grant(sequence); }
void AsyncAttachment::cancel(const std::string& reason) { impl_->cancel(reason); }

}  // namespace weft
