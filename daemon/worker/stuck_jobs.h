// StuckJobs: finds attempts that go on though they were cancelled long ago.
#pragma once

#include <cstddef>

#include <weft/base/intrusive_list.h>
#include <weft/runtime/task.h>
#include <weft/worker/job_context.h>

namespace weft {

// A handler that catches its cancellation, or work on the executor that does not ask its token,
// keeps its slot: nothing can take it away, so it is counted, named in the log and shown.
// Thread: the loop's. Lifetime: outlives its contexts' stay.
// Limits: looks at limits::kStuckLook contexts every limits::kStuckLookMs, in turn.
class StuckJobs {
 public:
  void add(internal::JobContext& context) { all_.push_back(context); }
  void remove(internal::JobContext& context);
  // Cancellation: how it ends.
  Task<void> watch();
  size_t count() const { return count_; }

 private:
  void look_at(internal::JobContext& context, int64_t now_ns);

  IntrusiveList<internal::JobContext, StuckJobs> all_;
  size_t count_ = 0;
};

}  // namespace weft
