// The chunks of an async watch.
#include <utility>

#include <weft/client/async_event_reader.h>
#include <weft/client/async_result_stream.h>

namespace weft {

AsyncResultStream::AsyncResultStream(std::unique_ptr<AsyncEventReader> reader)
    : reader_(std::move(reader)) {}
AsyncResultStream::~AsyncResultStream() = default;
AsyncResultStream::AsyncResultStream(AsyncResultStream&&) noexcept = default;
AsyncResultStream& AsyncResultStream::operator=(AsyncResultStream&&) noexcept = default;

Task<std::optional<Chunk>> AsyncResultStream::next() {
  while (chunks_.needs_event()) {
    StatusOr<std::optional<v1::Event>> event = co_await reader_->next();
    chunks_.take_event(std::move(event));
  }
  if (chunks_.finished()) {  // the job has ended, and now the call does
    StatusOr<std::optional<v1::Event>> end = co_await reader_->next();
  }
  co_return chunks_.next();
}

Task<StatusOr<std::optional<v1::Event>>> AsyncResultStream::next_event() { return reader_->next(); }
uint64_t AsyncResultStream::next_sequence() const { return reader_->next_sequence(); }

}  // namespace weft
