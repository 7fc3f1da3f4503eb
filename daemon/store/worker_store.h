// WorkerStore: which processes share a store, and what each of them holds.
#pragma once

#include <functional>
#include <vector>

#include <weft/base/status.h>
#include <weft/runtime/task.h>
#include <weft/store/token.h>
#include <weft/v1/worker_service.pb.h>

namespace weft {

// Thread, Cancellation: as JobStore. A store of one process has no other workers and no leases; the
// defaults say so.
class WorkerStore {
 public:
  virtual ~WorkerStore() = default;

  // Other processes use the same jobs.
  virtual bool shared() const { return false; }
  // What this process shows of itself to the others; asked at every renewal. Set before run().
  virtual void set_description(std::function<v1::Worker()> /*describe*/) {}
  // Every live process with when it was last heard of, by name; empty when the store is not shared.
  // Errors: UNAVAILABLE.
  virtual Task<StatusOr<std::vector<v1::Worker>>> workers() {
    co_return StatusOr<std::vector<v1::Worker>>(std::vector<v1::Worker>());
  }
  // The attempts that the store thinks this process runs. Errors: UNAVAILABLE.
  virtual Task<StatusOr<std::vector<Token>>> held() {
    co_return StatusOr<std::vector<Token>>(std::vector<Token>());
  }
  // The jobs that run here and the streams followed here are looked after by this: it keeps the
  // connection and the lease, and takes over from processes that died. Until cancelled.
  virtual Task<void> run() { co_return; }
};

}  // namespace weft
