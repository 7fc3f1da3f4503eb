// Verbs of people and of the janitor.
#include <algorithm>

#include <weft/store/job_record.h>
#include <weft/store/sqlite/writer.h>

namespace weft {

StatusOr<v1::Job> Writer::retry(const std::string& job_id) {
  if (const LiveJob* live = find(job_id)) return not_dead(job_id, live_state(*live));
  JobRow there;
  if (!select_job(job_id, false, there)) return unknown_job(job_id);
  v1::Job& job = there.job;
  if (!next_state(state_of(job), JobEvent::kRetry, false)) return not_dead(job_id, state_of(job));
  const std::string& queue = job.spec().queue();
  if (queues_.size(queue) >= queued_per_queue_) return queue_full(queue, queued_per_queue_);
  weft::retry(job);
  const StreamExtent extent = segments_.extent(there.row);
  job.set_first_sequence(segments_.first_sequence(there.row));
  job.set_last_sequence(std::max(job.last_sequence(), extent.last_sequence));
  delete_result_.bind(1, there.row).run();
  LiveJob& live = add_live(job_id, queue, there.row);
  update(live, job);
  queues_.push_back(live.queue, live);
  tell_work();
  return std::move(job);
}

Status Writer::remove(const std::string& job_id) {
  if (const LiveJob* live = find(job_id)) return not_ended(job_id, live_state(*live));
  JobRow there;
  if (!select_job(job_id, false, there)) return unknown_job(job_id);
  forget(there.row);
  return absl::OkStatus();
}

void Writer::forget(int64_t row) {
  delete_job_.bind(1, row).run();
  delete_payload_.bind(1, row).run();
  delete_result_.bind(1, row).run();
  delete_sends_.bind(1, row).bind(2, INT64_MAX).run();
  segments_.remove(row);
}

}  // namespace weft
