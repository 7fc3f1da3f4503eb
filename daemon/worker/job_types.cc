// Limits and counters by job type.
#include <weft/base/limits.h>
#include <weft/worker/job_types.h>

namespace weft {
namespace {

size_t limit_of(const RegisteredHandler* handler) {
  const size_t limit = handler == nullptr ? 0 : handler->concurrency();
  return limit == 0 ? SIZE_MAX : limit;
}

void add(TypeMetrics& sum, const JobType& type) {
  sum.started += type.counts.started;
  sum.succeeded += type.counts.succeeded;
  sum.dead += type.counts.dead;
  sum.cancelled += type.counts.cancelled;
  sum.retried += type.counts.retried;
  sum.snoozed += type.counts.snoozed;
  sum.released += type.counts.released;
  sum.lease_lost += type.counts.lease_lost;
  sum.running += type.kind.gate.inside();
  sum.held += type.kind.gate.held();
}

}  // namespace

JobType::JobType(const RegisteredHandler* registered)
    : handler(registered), kind(limit_of(registered)), limited(limit_of(registered) != SIZE_MAX) {}

JobTypes::JobTypes(const Registry& registry) {
  for (const std::string& name : registry.types()) {
    const RegisteredHandler* handler = registry.find(name);
    JobType& type = *types_.emplace_back(std::make_unique<JobType>(handler));
    by_name_.emplace(handler->type, &type);
    if (type.limited) limited_.push_back(&type);
  }
}

JobType& JobTypes::of(std::string_view type) {
  const auto found = by_name_.find(type);
  return found == by_name_.end() ? unknown_ : *found->second;
}

void JobTypes::on_start(JobType& type, std::optional<int64_t> waited_ns) {
  ++type.counts.started;
  if (waited_ns) wait_.add_ns(*waited_ns);
}

void JobTypes::on_end(JobType& type, const AttemptEnd& end, std::optional<int64_t> ran_ns) {
  if (ran_ns) run_.add_ns(*ran_ns);
  switch (end.verb) {
    case AttemptEnd::Verb::kRelease:
      ++type.counts.released;
      return;
    case AttemptEnd::Verb::kDrop:
      ++type.counts.lease_lost;
      return;
    case AttemptEnd::Verb::kSettle:
      if (end.state == v1::JOB_STATE_SUCCEEDED) ++type.counts.succeeded;
      if (end.state == v1::JOB_STATE_DEAD) ++type.counts.dead;
      if (end.state == v1::JOB_STATE_CANCELLED) ++type.counts.cancelled;
      if (end.state == v1::JOB_STATE_SCHEDULED) {
        ++(end.snoozed ? type.counts.snoozed : type.counts.retried);
      }
      return;
  }
}

WorkerMetrics JobTypes::read() const {
  WorkerMetrics metrics;
  metrics.wait = wait_;
  metrics.run = run_;
  TypeMetrics other;
  other.type = "other";
  add(other, unknown_);
  for (const std::unique_ptr<JobType>& type : types_) {
    if (metrics.types.size() == limits::kMetricTypes) {
      add(other, *type);
      continue;
    }
    TypeMetrics& own = metrics.types.emplace_back();
    own.type = type->handler->type;
    add(own, *type);
  }
  metrics.types.push_back(std::move(other));
  return metrics;
}

}  // namespace weft
