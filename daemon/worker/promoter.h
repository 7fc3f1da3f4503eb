// Promoter: has the store queue the jobs whose time has come, when it comes.
#pragma once

#include <chrono>
#include <cstdint>

#include <weft/runtime/event.h>
#include <weft/runtime/event_loop.h>
#include <weft/store/job_store.h>

namespace weft {

// Thread: the loop's. Lifetime: the store outlives run().
// Limits: limits::kPromoteBatch jobs a transaction. Between two of them the loop has asked the
// kernel: many jobs that are due at once hold up nothing else.
class Promoter final : private Timer {
 public:
  // `shared`: others put jobs into the store too, and may die before they are due; then it looks
  // every limits::kPromotePollMs. Else it sleeps until something is due, a minute at most while
  // anything will be.
  Promoter(JobStore& store, bool shared) : store_(store), shared_(shared) {}
  ~Promoter();
  Promoter(const Promoter&) = delete;
  Promoter& operator=(const Promoter&) = delete;

  // While the store is UNAVAILABLE it tries ever less often. Cancellation: how it ends.
  Task<void> run();
  // A job is due after `in`.
  void on_scheduled(std::chrono::milliseconds in);

 private:
  // The next look is not later than this, nor than in a minute.
  void look_after(std::chrono::milliseconds in);
  void fire() override;

  JobStore& store_;
  const bool shared_;
  int64_t look_ns_ = INT64_MAX;  // when it looks next, of what is known
  Event due_;
};

}  // namespace weft
