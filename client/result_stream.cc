// The Watch call, and the range of chunks over it.
#include <utility>

#include <weft/client/event_reader.h>
#include <weft/client/result_stream.h>

namespace weft {
namespace {

class WatchCall final : public EventCall {
 public:
  void start(ClientCore& core, const v1::WatchRequest& request) {
    reader_ = core.stub->Watch(&context, request);
  }
  bool read(v1::Event* event) override { return reader_->Read(event); }
  grpc::Status finish() override { return reader_->Finish(); }

 private:
  std::unique_ptr<grpc::ClientReader<v1::Event>> reader_;
};

}  // namespace

std::unique_ptr<EventReader> open_watch(std::shared_ptr<ClientCore> core,
                                        ResultStream::Options options) {
  auto open = [core, options](uint64_t from_sequence, EventReader::Deadline deadline) {
    auto call = std::make_shared<WatchCall>();
    if (deadline) call->context.set_deadline(*deadline);
    v1::WatchRequest request;
    request.set_id(options.job_id);
    request.set_from_sequence(from_sequence);
    request.set_all_attempts(options.all_attempts);
    call->start(*core, request);
    return call;
  };
  return std::make_unique<EventReader>(core, options.job_id, options.from_sequence,
                                       options.deadline_ms, open, [] {});
}

ResultStream::ResultStream(std::unique_ptr<EventReader> reader) : reader_(std::move(reader)) {}
ResultStream::~ResultStream() = default;
ResultStream::ResultStream(ResultStream&&) noexcept = default;
ResultStream& ResultStream::operator=(ResultStream&&) noexcept = default;

StatusOr<std::optional<v1::Event>> ResultStream::next() { return reader_->next(); }
void ResultStream::stop() { reader_->stop(); }
uint64_t ResultStream::next_sequence() const { return reader_->next_sequence(); }

void ResultStream::advance() {
  while (!ended_ && at_ == batch_.data_size()) {
    StatusOr<std::optional<v1::Event>> event = next();
    if (!event.ok()) {
      status_ = event.status();
      ended_ = true;
    } else if (!event->has_value()) {
      ended_ = true;
    } else if ((*event)->has_finished()) {
      finished_ = std::move(*(*event)->mutable_finished());
      ended_ = true;
    } else if ((*event)->has_chunks()) {
      batch_ = std::move(*(*event)->mutable_chunks());
      at_ = 0;
    }
  }
  if (ended_) return;
  chunk_.sequence = batch_.first_sequence() + static_cast<uint64_t>(at_);
  chunk_.bytes = std::move(*batch_.mutable_data(at_));
  ++at_;
}

}  // namespace weft
