// StreamStore: the logs of chunks that jobs yield, and of values sent to them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <weft/base/status.h>
#include <weft/runtime/task.h>
#include <weft/store/chunk_block.h>
#include <weft/store/job_store.h>
#include <weft/store/token.h>

namespace weft {

class Append {
 public:
  Append(Token attempt_token, ChunkBlockPtr chunks)
      : token(std::move(attempt_token)), block(std::move(chunks)) {}
  Token token;
  ChunkBlockPtr block;
};

// A piece of a stream, in order, without gaps.
class StreamPage {
 public:
  std::vector<ChunkBlockPtr> blocks;  // empty: nothing is stored at or above `from_sequence`
  uint64_t first_sequence = 1;        // the oldest entry still kept
  uint64_t last_sequence = 0;         // the newest entry stored; 0: none
};

class StoredSend {
 public:
  StoredSend(uint64_t n, std::string v) : number(n), value(std::move(v)) {}
  uint64_t number;
  std::string value;
};

// Thread, Lifetime, Cancellation, Limits: as JobStore.
class StreamStore {
 public:
  virtual ~StreamStore() = default;

  // Adds blocks of any number of streams in one transaction. Per item: OK (also for entries that
  // are stored already), FAILED_PRECONDITION for a gap, ABORTED for a stale token, DATA_LOSS when
  // this stream can take no more.
  virtual Task<std::vector<Status>> append(std::vector<Append> appends) = 0;

  // Entries from `from_sequence` on (0: the oldest kept), at most about `max_bytes` but at least
  // one. Blocks are cut so that the first entry is the one asked for. Errors: NOT_FOUND;
  // OUT_OF_RANGE below the oldest kept one, with its number in the message.
  virtual Task<StatusOr<StreamPage>> read(std::string job_id, uint64_t from_sequence,
                                          size_t max_bytes) = 0;

  // Forgets entries below `first_sequence`.
  virtual Task<Status> trim(std::string job_id, uint64_t first_sequence) = 0;

  // Stores a value for a job that has not ended and gives it its number: 1, 2, 3… per job. With a
  // sender, a `number` at or below that sender's last one is taken once: OK with the number it got.
  // Keeps the newest limits::kKeptSends. Errors: NOT_FOUND; FAILED_PRECONDITION when the job has
  // ended; RESOURCE_EXHAUSTED when `consumed` and the newest are limits::kUnconsumedSends apart.
  virtual Task<StatusOr<uint64_t>> send(std::string job_id, std::string sender, uint64_t number,
                                        std::string value) = 0;

  // The kept values numbered above `after`, oldest first.
  virtual Task<StatusOr<std::vector<StoredSend>>> read_sends(std::string job_id,
                                                             uint64_t after) = 0;

  // A running attempt has looked at the sends up to `number`; makes room for more of them.
  virtual void consumed(const Token& token, uint64_t number) = 0;

  // What readers this process has on a stream now: the store then tells its listener what other
  // processes do to it, and the worker that runs the job who reads it. No readers: it is followed
  // no longer. Cheap: sent at the end of the turn, the last one counts; said again by the store
  // itself after a lost connection. Stores of one process have nobody to tell.
  virtual void follow(const std::string& /*job_id*/, StreamReaders /*readers*/) {}
  // Tells the process `from` that its readers below `first_sequence` are given up.
  virtual void detach_readers(const std::string& /*job_id*/, Incarnation /*from*/,
                              uint64_t /*first_sequence*/) {}
  // The readers in other processes of some streams: for a worker that may have missed on_readers().
  // Limits: limits::kRedisScriptItems jobs. Errors: UNAVAILABLE.
  virtual Task<StatusOr<std::vector<RemoteReaders>>> remote_readers(
      std::vector<std::string> /*job_ids*/) {
    co_return StatusOr<std::vector<RemoteReaders>>(std::vector<RemoteReaders>());
  }
};

}  // namespace weft
