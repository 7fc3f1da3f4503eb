// JobTypes: what a worker keeps of each job type: how many may run, and what became of them.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include <weft/store/job_store.h>
#include <weft/worker/job_run.h>
#include <weft/worker/registry.h>
#include <weft/worker/start_gate.h>
#include <weft/worker/worker_metrics.h>

namespace weft {

// A gate, and what was asked of the store for it.
class LimitedKind {
 public:
  explicit LimitedKind(size_t limit) : gate(limit) {}

  size_t offer() { return offered_ = gate.room(); }
  void on_taken() { ++taken_; }
  // The take is over: whether the store may have more of this kind than was asked for.
  void after_take() {
    more_ = taken_ >= offered_;
    taken_ = 0;
  }
  // The store is worth asking again.
  bool wants_more() const { return more_ && gate.room() > 0; }

  StartGate gate;

 private:
  size_t offered_ = 0;
  size_t taken_ = 0;
  bool more_ = false;
};

class JobType {
 public:
  explicit JobType(const RegisteredHandler* registered);

  const RegisteredHandler* handler;  // null: of types nobody registered
  LimitedKind kind;
  bool limited;
  TypeMetrics counts;  // running and held are kept by the gate
};

// Thread: the loop's. Lifetime: outlives the attempts of its types.
class JobTypes {
 public:
  // The registry is complete by now.
  explicit JobTypes(const Registry& registry);

  JobType& of(std::string_view type);
  // Only those with a limit of their own.
  const std::vector<JobType*>& limited() const { return limited_; }

  // `waited_ns` empty: it is not its first attempt.
  void on_start(JobType& type, std::optional<int64_t> waited_ns);
  // `ran_ns` empty: it never started.
  void on_end(JobType& type, const AttemptEnd& end, std::optional<int64_t> ran_ns);
  WorkerMetrics read() const;

 private:
  std::vector<std::unique_ptr<JobType>> types_;  // sorted by name
  absl::flat_hash_map<std::string_view, JobType*> by_name_;
  std::vector<JobType*> limited_;
  JobType unknown_{nullptr};
  Histogram wait_;
  Histogram run_;
};

}  // namespace weft
