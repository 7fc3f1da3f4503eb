// AsyncAttachment: reads a job's stream and steers the job, on the loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <weft/base/status.h>
#include <weft/client/attachment.h>
#include <weft/client/chunk_cursor.h>
#include <weft/runtime/async_range.h>
#include <weft/runtime/task.h>
#include <weft/v1/job_service.pb.h>

namespace weft {

class AsyncCore;

// What next() has returned counts as consumed at the following next(): the job may then run
// `credit_ahead` chunks further. When the server goes away it comes back, goes on at the next
// sequence and repeats the sends that the server has not said to be stored.
// Thread: the loop's; one task reads, any may steer. Lifetime: outlives its awaits.
// Cancellation: as AsyncResultStream. Limits: limits::kUnconsumedSends sends on their way.
class AsyncAttachment {
 public:
  class Impl;
  explicit AsyncAttachment(std::unique_ptr<Impl> impl);
  ~AsyncAttachment();
  AsyncAttachment(AsyncAttachment&&) noexcept;
  AsyncAttachment& operator=(AsyncAttachment&&) noexcept;

  // Nothing at the end; then either finished() says how the job ended, or status() why the chunks
  // stopped coming.
  Task<std::optional<Chunk>> next();
  const std::optional<v1::Finished>& finished() const;
  const Status& status() const;
  // As AsyncResultStream::next_event.
  Task<StatusOr<std::optional<v1::Event>>> next_event();

  // Hands a value to the job: bytes, JSON or a protobuf message. OK means that it is on its way.
  // Waits while too many are: another task must then be in next().
  // Errors: INVALID_ARGUMENT over limits::kSendBytes; FAILED_PRECONDITION after the end.
  Task<Status> send(std::string value);
  template <typename T>
    requires requires(const T& value) { Codec<T>::encode(value); }
  Task<Status> send(const T& value) {
    return send(std::string(Codec<T>::encode(value)));
  }
  size_t pending_sends() const;
  // "I am ready up to this sequence." Lower than before: ignored.
  void grant(uint64_t sequence);
  // Asks the job to stop; next() goes on until its end.
  void cancel(const std::string& reason);

 private:
  std::unique_ptr<Impl> impl_;
};

static_assert(AsyncIterator<AsyncAttachment>);

AsyncAttachment open_attachment(std::shared_ptr<AsyncCore> core, Attachment::Options options);

}  // namespace weft
