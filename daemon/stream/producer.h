// Producer: the writing end of one job's stream, with the window that holds the job back.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include <weft/base/status.h>
#include <weft/runtime/cancellation.h>
#include <weft/runtime/task.h>
#include <weft/store/token.h>
#include <weft/v1/job.pb.h>

namespace weft {

class StreamHub;
namespace internal {
class ProducerImpl;
}  // namespace internal

// Thread: the loop's. Lifetime: one for each attempt, destroyed before the hub.
class Producer {
 public:
  // `job` as taken. `scope` is cancelled with kLeaseLost when the store refuses the token, and with
  // kConsumerGone when the stream policy says so, and with kSiblingFailed when failed().
  Producer(StreamHub& hub, const v1::Job& job, Token token, CancelScope& scope);
  ~Producer();
  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;

  // Whether the job may compute one more chunk in this turn; then wait_for_room() would not wait.
  bool has_room() const;
  // Whether more than the loop's next turn is waited for.
  bool must_wait() const;
  // Returns when the job may compute one more chunk: credit + window not reached, the stream not
  // full, and somebody attached or the policy not PAUSE. A job that always has room still lets the
  // loop turn every limits::kChunksPerTurn chunks.
  Task<void> wait_for_room();
  // Adds a chunk; sent at the end of the turn. Errors: INVALID_ARGUMENT over limits::kChunkBytes.
  Status push(std::string_view chunk);
  // Returns when everything pushed is stored. Errors: ABORTED, the token is stale; NOT_FOUND, the
  // job was removed; DATA_LOSS, no attempt's chunks can be stored; else this attempt's chunks
  // cannot be stored, those of another one may be.
  Task<Status> flush();
  // The job is another's: nothing more of it is sent to the store, and flush() says ABORTED.
  void abandon();
  // Not OK: the stream can hold no more and no room can be made, so the job cannot end well.
  const Status& failed() const;
  // Of the newest chunk pushed; 0: none.
  uint64_t last_sequence() const;
  // The same of those that are stored, when no more of them can be.
  uint64_t settled_sequence() const;

 private:
  std::unique_ptr<internal::ProducerImpl> impl_;
};

}  // namespace weft
