// AsyncResultStream: one pass over a job's stream, from any sequence to the job's end, on the loop.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include <weft/base/status.h>
#include <weft/client/chunk_cursor.h>
#include <weft/runtime/async_range.h>
#include <weft/runtime/task.h>
#include <weft/v1/job_service.pb.h>

namespace weft {

class AsyncEventReader;

// while (auto chunk = co_await stream.next()) … When the server goes away it comes back and goes
// on at the next sequence: no chunk is missing and none comes twice.
// Thread: the loop's; one task reads. Lifetime: outlives its next(); may outlive its client.
// Cancellation: a next() that was cancelled has taken nothing; another one goes on. The destructor
// ends the call. Limits: two messages of the server are read ahead, no more.
class AsyncResultStream {
 public:
  explicit AsyncResultStream(std::unique_ptr<AsyncEventReader> reader);
  ~AsyncResultStream();
  AsyncResultStream(AsyncResultStream&&) noexcept;
  AsyncResultStream& operator=(AsyncResultStream&&) noexcept;

  // Nothing at the end; then either finished() says how the job ended, or status() why the chunks
  // stopped coming.
  Task<std::optional<Chunk>> next();
  const std::optional<v1::Finished>& finished() const { return chunks_.finished(); }
  const Status& status() const { return chunks_.status(); }
  // The same pass as the server tells it, with progress and attempts; nothing after the Finished
  // event. Not to be mixed with next().
  Task<StatusOr<std::optional<v1::Event>>> next_event();
  // Where a new pass would have to start to go on after this one; 0: unknown yet.
  uint64_t next_sequence() const;

 private:
  std::unique_ptr<AsyncEventReader> reader_;
  ChunkCursor chunks_;
};

static_assert(AsyncIterator<AsyncResultStream>);

}  // namespace weft
