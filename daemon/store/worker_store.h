// WorkerStore: which processes share a store, and what each of them holds.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <weft/base/status.h>
#include <weft/runtime/task.h>
#include <weft/store/token.h>
#include <weft/v1/worker_service.pb.h>

namespace weft {

// What is known of this process's right to run what it took.
enum class LeaseState : uint8_t {
  kHeld,
  kGone,     // the jobs are others' now
  kUnknown,  // the server gave no answer
};

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
  // Looks whether the lease is there, and with `renew` makes it last, over a connection of its own.
  // Thread: any one beside the loop's; the store outlives the call. Limits: blocks for about
  // limits::kKeeperCallMs.
  virtual LeaseState look_at_lease(bool /*renew*/) { return LeaseState::kHeld; }
  // What look_at_lease() found gone is given up, as StoreListener::on_lease_lost() says. Thread:
  // the loop's.
  virtual void give_up_lease() {}
  // The jobs that run here and the streams followed here are looked after by this: it keeps the
  // connection and the lease, and takes over from processes that died. Until cancelled.
  virtual Task<void> run() { co_return; }
};

}  // namespace weft
