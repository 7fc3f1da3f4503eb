// RedisWorkers: this process's lease, and what becomes of the jobs of processes that lost theirs.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <weft/base/status.h>
#include <weft/runtime/event.h>
#include <weft/runtime/task.h>
#include <weft/store/redis/redis_reply.h>
#include <weft/store/redis/redis_sync.h>
#include <weft/store/worker_store.h>

namespace weft {

class RedisStore;

// A lease is renewed three times in its length; one that is not is over by the server's clock, and
// then any daemon may give its process up: at once, if that daemon has been connected without a
// break for a lease of its own (else it may have been the server that nobody reached), and has seen
// the same last renewal for the time between two of them (else it may have been the server's
// clock). Thread: the loop's, but look(). Lifetime: a part of its store.
class RedisWorkers {
 public:
  explicit RedisWorkers(RedisStore& store) : store_(store) {}

  void set_description(std::function<v1::Worker()> describe) { describe_ = std::move(describe); }
  // Keeps the lease and takes over from others, until leave(). Cancellation: as that of a process
  // that dies.
  Task<void> run();
  // A connection has begun.
  void on_connected();
  // Something says that the lease may be gone: asks at once.
  void look_soon() { wake_.set(); }
  // Ends the lease; what is still held is queued again and counts as nothing.
  Task<void> leave();

  Task<StatusOr<std::vector<v1::Worker>>> list();
  Task<StatusOr<std::vector<Token>>> held();

  // As WorkerStore::look_at_lease and give_up_lease.
  LeaseState look(bool renew);
  void give_up_lease();

  uint64_t lease_losses() const { return losses_; }
  uint64_t leases_expired() const { return expired_; }

 private:
  // Another process's lease that ends soon, or has ended.
  struct Late {
    int64_t end_us = 0;  // on the server's clock
    int64_t end_ns = 0;  // about the same on the loop's
    int64_t seen_ns = 0;
  };
  enum class GiveUp : uint8_t { kDead, kLeft };

  Task<void> keep_lease();
  Task<bool> renew();
  void note_late(const RedisReply& answer, int64_t asked_ns);
  void lose();
  Task<void> take_over();
  int64_t due_ns(const Late& late) const;
  Task<bool> give_up(std::string inc, GiveUp why);
  Task<bool> forgive(std::string inc);
  Task<void> expire_foreign();
  static Task<void> wait(Event& event, int64_t until_ns);

  RedisStore& store_;
  std::function<v1::Worker()> describe_;
  Event wake_;
  Event late_came_;
  int64_t connected_ns_ = 0;
  bool begun_ = false;  // the lease, at least once
  bool left_ = false;
  int64_t foreign_ns_ = 0;            // when job types are to be looked at
  std::set<std::string> foreign_;     // types that nobody has, and that this was logged of
  bool refused_ = false;              // and that was logged
  std::map<std::string, Late> late_;  // by INC
  std::vector<std::string> lost_;     // our own, of before, that have to be cleaned up after
  uint64_t losses_ = 0;
  uint64_t expired_ = 0;

  std::mutex mutex_;                  // guards what follows: look() is on a thread of its own
  std::string looked_at_;             // INC with a lease; empty: none
  std::string found_gone_;            // by look()
  std::unique_ptr<RedisSync> aside_;  // used by look() only
};

}  // namespace weft
