// MemoryJob: one job of the memory store, with its stream and its sends.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <weft/base/lazy_deque.h>
#include <weft/base/status.h>
#include <weft/store/queue_set.h>
#include <weft/store/send_log.h>
#include <weft/store/stream_store.h>
#include <weft/store/token.h>
#include <weft/v1/job.pb.h>

namespace weft {

// What is done to it is checked by the store: that the token is fresh, and that a send is new.
// Thread: one at a time.
struct MemoryJob : Queued<MemoryJob> {
  // As the verbs of StreamStore.
  Status append(const Append& append);
  StatusOr<StreamPage> read(uint64_t from_sequence, size_t max_bytes) const;
  void trim(uint64_t first_sequence);
  StatusOr<uint64_t> send(std::string sender, uint64_t number, const std::string& value);
  std::vector<StoredSend> read_sends(uint64_t after) const;

  int64_t age = 0;  // smaller is older
  v1::Job job;
  Incarnation worker;  // of the attempt that runs, or that settled
  LazyDeque<ChunkBlockPtr> blocks;
  SendLog sends;
  LazyDeque<StoredSend> values;  // beside the entries of `sends`
  uint64_t consumed = 0;         // by the running attempt
};

}  // namespace weft
