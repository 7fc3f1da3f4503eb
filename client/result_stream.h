// ResultStream: one pass over a job's stream, from any sequence to the job's end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <string>

#include <weft/base/status.h>
#include <weft/client/chunk_cursor.h>
#include <weft/v1/job_service.pb.h>

namespace weft {

class EventReader;

// An iterator over a Watch. When the server goes away it comes back and goes on at the next
// sequence: no chunk is missing and none comes twice.
// Thread: one reads; stop() may be called from any. Cancellation: stop() makes next() return
// CANCELLED. Errors: the server's; UNAVAILABLE after ClientOptions::reconnect_for_ms without it.
class ResultStream {
 public:
  struct Options {
    std::string job_id = {};
    uint64_t from_sequence = 0;  // 0: from the oldest chunk kept
    bool all_attempts = false;   // also chunks that a later attempt superseded
    int64_t deadline_ms = 0;     // of the whole pass; 0: none
  };

  explicit ResultStream(std::unique_ptr<EventReader> reader);
  ~ResultStream();
  ResultStream(ResultStream&&) noexcept;
  ResultStream& operator=(ResultStream&&) noexcept;

  // Blocks for the next events; nothing after the Finished event.
  StatusOr<std::optional<v1::Event>> next();
  void stop();
  // Where a new pass would have to start to go on after what next() has returned; 0: unknown yet.
  uint64_t next_sequence() const;

  // The same as a range of chunks, for `for (const Chunk& chunk : stream)`. When it ends, either
  // finished() says how the job ended, or status() why the chunks stopped coming. A job that is not
  // kept after its end can be gone before a slow reader has all of it: then finished() has a
  // last_sequence of next_sequence() or more.
  class Iterator {
   public:
    using value_type = Chunk;
    using difference_type = std::ptrdiff_t;
    explicit Iterator(ResultStream* stream) : stream_(stream) {}
    const Chunk& operator*() const { return *stream_->chunk_; }
    Iterator& operator++() {
      stream_->advance();
      return *this;
    }
    void operator++(int) { stream_->advance(); }
    friend bool operator==(const Iterator& i, std::default_sentinel_t) {
      return !i.stream_->chunk_;
    }

   private:
    ResultStream* stream_;
  };
  Iterator begin() {
    advance();
    return Iterator(this);
  }
  std::default_sentinel_t end() const { return {}; }
  const std::optional<v1::Finished>& finished() const { return chunks_.finished(); }
  const Status& status() const { return chunks_.status(); }

 private:
  void advance();

  std::unique_ptr<EventReader> reader_;
  ChunkCursor chunks_;
  std::optional<Chunk> chunk_;
};

static_assert(std::ranges::input_range<ResultStream>);

}  // namespace weft
