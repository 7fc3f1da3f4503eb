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
  while (chunks_.needs_event()) chunks_.take_event(next());
  chunk_ = chunks_.next();
}

}  // namespace weft
