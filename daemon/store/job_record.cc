// Changes of a job's record, and the errors of a store.
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>

#include <weft/base/check.h>
#include <weft/base/limits.h>
#include <weft/base/utf8.h>
#include <weft/store/job_record.h>

namespace weft {
namespace {

constexpr int64_t kSecond_ns = 1'000'000'000;
constexpr int64_t kMillisecond_ns = 1'000'000;
constexpr int kFullRetryMs = 1000;

static_assert(static_cast<int>(JobState::kScheduled) == v1::JOB_STATE_SCHEDULED);
static_assert(static_cast<int>(JobState::kQueued) == v1::JOB_STATE_QUEUED);
static_assert(static_cast<int>(JobState::kRunning) == v1::JOB_STATE_RUNNING);
static_assert(static_cast<int>(JobState::kSucceeded) == v1::JOB_STATE_SUCCEEDED);
static_assert(static_cast<int>(JobState::kDead) == v1::JOB_STATE_DEAD);
static_assert(static_cast<int>(JobState::kCancelled) == v1::JOB_STATE_CANCELLED);
static_assert(static_cast<int>(JobState::kExpired) == v1::JOB_STATE_EXPIRED);

void set_time(google::protobuf::Timestamp& time, int64_t wall_ns) {
  time.set_seconds(wall_ns / kSecond_ns);
  time.set_nanos(static_cast<int32_t>(wall_ns % kSecond_ns));
}

int64_t to_ms(const google::protobuf::Timestamp& time) {
  return time.seconds() * 1000 + time.nanos() / kMillisecond_ns;
}

void move_to(v1::Job& job, JobEvent event) {
  const std::optional<JobState> next = next_state(state_of(job), event, job.cancel_requested());
  WEFT_CHECK(next.has_value(), "the event is possible in the job's state");
  job.set_state(static_cast<v1::JobState>(*next));
}

int64_t to_ns(const google::protobuf::Duration& duration) {
  return duration.seconds() * kSecond_ns + duration.nanos();
}

// The year 1 and 9999 are too far to be counted in nanoseconds.
bool is_after(const google::protobuf::Timestamp& time, int64_t wall_ns) {
  google::protobuf::Timestamp now;
  set_time(now, wall_ns);
  return time.seconds() != now.seconds() ? time.seconds() > now.seconds()
                                         : time.nanos() > now.nanos();
}

// A time is not over before the millisecond that it is in.
int64_t to_ms_up(const google::protobuf::Timestamp& time) {
  return time.seconds() * 1000 + (time.nanos() + kMillisecond_ns - 1) / kMillisecond_ns;
}

// Of a job with an expire_at. All times up to 1970 are one: they were over before any job.
int64_t start_by_ms(const v1::Job& job) {
  return std::max<int64_t>(1, to_ms_up(job.spec().expire_at()));
}

void start_deadline(v1::Job& job, int64_t wall_ns) {
  if (!job.spec().has_total_timeout()) return;
  set_time(*job.mutable_deadline_time(), wall_ns + to_ns(job.spec().total_timeout()));
}

void add_error(v1::Job& job, const v1::Outcome& outcome, int64_t wall_ns) {
  auto& errors = *job.mutable_errors();
  if (errors.size() >= static_cast<int>(limits::kAttemptErrors)) errors.DeleteSubrange(0, 1);
  *errors.Add() = attempt_error(job, outcome, wall_ns);
}

void set_cancelled_outcome(v1::Job& job, const std::string& reason) {
  job.mutable_outcome()->set_error_code("cancelled");
  job.mutable_outcome()->set_error_message(reason.empty() ? "cancelled on request" : reason);
}

}  // namespace

v1::Job new_job(v1::JobSpec spec, int64_t wall_ns) {
  v1::Job job;
  *job.mutable_spec() = std::move(spec);
  job.set_state(v1::JOB_STATE_QUEUED);
  job.set_first_sequence(1);
  set_time(*job.mutable_submit_time(), wall_ns);
  google::protobuf::Timestamp due = job.spec().run_at();
  if (job.spec().has_delay()) set_time(due, wall_ns + to_ns(job.spec().delay()));
  if ((job.spec().has_run_at() || job.spec().has_delay()) && is_after(due, wall_ns)) {
    job.set_state(v1::JOB_STATE_SCHEDULED);
    *job.mutable_due_time() = due;
  }
  start_deadline(job, wall_ns);
  return job;
}

int64_t due_ms(const v1::Job& job) { return to_ms_up(job.due_time()); }

int64_t over_ms(const v1::Job& job) {
  int64_t over = kNoTime;
  if (job.spec().has_expire_at()) over = start_by_ms(job);
  if (job.has_deadline_time()) over = std::min(over, to_ms_up(job.deadline_time()));
  return over;
}

std::optional<JobState> overdue(const v1::Job& job, int64_t wall_ns) {
  const int64_t now_ms = wall_ns / kMillisecond_ns;
  if (now_ms < over_ms(job)) return std::nullopt;
  const bool expired = job.spec().has_expire_at() && now_ms >= start_by_ms(job);
  return expired ? JobState::kExpired : JobState::kDead;
}

void end_overdue(v1::Job& job, JobState end, int64_t wall_ns) {
  move_to(job, end == JobState::kExpired ? JobEvent::kExpire : JobEvent::kDeadline);
  v1::Outcome& outcome = *job.mutable_outcome();
  outcome.Clear();
  if (end == JobState::kExpired) {
    outcome.set_error_code("expired");
    outcome.set_error_message("its time to start passed before a worker was free");
  } else {
    outcome.set_error_code("deadline");
    outcome.set_error_message("its total timeout was over before it was done");
  }
  set_time(*job.mutable_finish_time(), wall_ns);
  job.clear_due_time();
}

void promote(v1::Job& job) {
  move_to(job, JobEvent::kDue);
  job.clear_due_time();
}

Status check_same(const v1::JobSpec& there, const v1::JobSpec& spec) {
  if (google::protobuf::util::MessageDifferencer::Equals(there, spec)) return absl::OkStatus();
  return same_key(there, spec) ? other_spec_of_key(spec.idempotency_key()) : other_spec(spec.id());
}

bool same_key(const v1::JobSpec& there, const v1::JobSpec& spec) {
  return !spec.idempotency_key().empty() && there.idempotency_key() == spec.idempotency_key() &&
         there.queue() == spec.queue();
}

int64_t retention_ms(const v1::JobSpec& spec, int64_t default_ms) {
  if (!spec.has_retention()) return default_ms;
  const auto& retention = spec.retention();
  const int64_t nanos_up = (retention.nanos() + kMillisecond_ns - 1) / kMillisecond_ns;
  return retention.seconds() * 1000 + nanos_up;
}

int64_t expire_ms(const v1::Job& job, int64_t default_ms) {
  return to_ms(job.finish_time()) + retention_ms(job.spec(), default_ms);
}

int64_t key_expire_ms(const v1::Job& job, int64_t default_ms) {
  return std::max(to_ms(job.submit_time()) + limits::kIdempotencyMs, expire_ms(job, default_ms));
}

ChunkBlockPtr start_attempt(v1::Job& job, const std::string& worker_name, int64_t wall_ns) {
  move_to(job, JobEvent::kTake);
  job.set_attempt(job.attempt() + 1);
  job.set_worker(worker_name);
  set_time(*job.mutable_start_time(), wall_ns);
  if (job.last_sequence() == 0) return nullptr;
  const uint64_t sequence = job.last_sequence() + 1;
  v1::AttemptStarted entry;
  entry.set_attempt(job.attempt());
  entry.set_resumes_after(0);
  entry.set_sequence(sequence);
  auto block = std::make_shared<ChunkBlock>(sequence, ChunkBlock::Kind::kAttemptStarted);
  block->add(entry.SerializeAsString());
  job.set_last_sequence(sequence);
  job.set_attempt_sequence(sequence);
  return block;
}

void settle(v1::Job& job, Settlement& settlement, int64_t wall_ns) {
  const auto end = static_cast<JobState>(settlement.state);
  const std::optional<JobEvent> event = settle_event(end);
  WEFT_CHECK(event.has_value(), "an attempt settles as succeeded, dead, cancelled or scheduled");
  const bool failed =
      end == JobState::kDead || (end == JobState::kScheduled && !settlement.snoozed);
  move_to(job, *event);
  if (failed) {
    job.set_failures(job.failures() + 1);
    add_error(job, settlement.outcome, wall_ns);
  }
  if (state_of(job) == JobState::kScheduled) {
    if (settlement.snoozed) job.set_snoozes(job.snoozes() + 1);
    set_time(*job.mutable_due_time(), wall_ns + settlement.pause.count() * kMillisecond_ns);
    return;
  }
  if (end == JobState::kScheduled) settlement.outcome.Clear();
  *job.mutable_outcome() = std::move(settlement.outcome);
  if (state_of(job) == JobState::kCancelled && end != JobState::kCancelled) {
    set_cancelled_outcome(job, job.cancel_reason());
  }
  set_time(*job.mutable_finish_time(), wall_ns);
}

void give_back(v1::Job& job, JobEvent event, int64_t wall_ns) {
  if (event == JobEvent::kCrash) add_error(job, crash_outcome(), wall_ns);
  move_to(job, event);
  if (state_of(job) != JobState::kCancelled) return;
  set_cancelled_outcome(job, job.cancel_reason());
  set_time(*job.mutable_finish_time(), wall_ns);
}

void retry(v1::Job& job, int64_t wall_ns) {
  move_to(job, JobEvent::kRetry);
  job.clear_outcome();
  job.clear_finish_time();
  job.clear_crashes();
  job.clear_failures();
  job.clear_snoozes();
  start_deadline(job, wall_ns);
}

v1::AttemptError attempt_error(const v1::Job& job, const v1::Outcome& outcome, int64_t wall_ns) {
  v1::AttemptError error;
  error.set_attempt(job.attempt());
  *error.mutable_start_time() = job.start_time();
  set_time(*error.mutable_end_time(), wall_ns);
  error.set_worker(job.worker());
  error.set_error_code(clean_error_code(outcome.error_code()));
  error.set_error_message(clean_utf8(outcome.error_message(), limits::kAttemptErrorBytes));
  return error;
}

std::string clean_error_code(std::string_view code) { return clean_utf8(code, kErrorCodeBytes); }

v1::Outcome crash_outcome() {
  v1::Outcome outcome;
  outcome.set_error_code("crashed");
  outcome.set_error_message("the worker process died while it ran this attempt");
  return outcome;
}

Status check_not_expired(const v1::Job& job, int64_t wall_ns) {
  if (!job.spec().has_expire_at()) return absl::OkStatus();
  if (wall_ns / kMillisecond_ns < start_by_ms(job)) return absl::OkStatus();
  return make_status(StatusCode::kFailedPrecondition,
                     "job " + job.spec().id() +
                         " may not start any more, as its expire_at has passed: submit a new job");
}

void end_crashed(v1::Job& job, int64_t wall_ns) {
  add_error(job, crash_outcome(), wall_ns);
  move_to(job, JobEvent::kFail);
  if (state_of(job) == JobState::kCancelled) {
    set_cancelled_outcome(job, job.cancel_reason());
  } else {
    *job.mutable_outcome() = crashed_outcome(job.crashes());
  }
  set_time(*job.mutable_finish_time(), wall_ns);
}

v1::Outcome crashed_outcome(uint32_t crashes) {
  v1::Outcome outcome;
  outcome.set_error_code("crashed");
  outcome.set_error_message("the worker process died " + std::to_string(crashes) +
                            " times while it ran this job: find out why in the worker's log, then "
                            "retry the job");
  return outcome;
}

void cancel_now(v1::Job& job, const std::string& reason, int64_t wall_ns) {
  move_to(job, JobEvent::kCancel);
  job.set_cancel_requested(true);
  job.set_cancel_reason(reason);
  set_cancelled_outcome(job, reason);
  set_time(*job.mutable_finish_time(), wall_ns);
  job.clear_due_time();
}

ChunkBlockPtr slice_block(const ChunkBlockPtr& block, uint64_t from_sequence, size_t max_bytes) {
  const size_t begin =
      from_sequence <= block->first_sequence ? 0 : from_sequence - block->first_sequence;
  size_t end = begin + 1;
  size_t bytes = block->chunk(begin).size();
  while (end < block->count() && bytes + block->chunk(end).size() <= max_bytes) {
    bytes += block->chunk(end++).size();
  }
  if (begin == 0 && end == block->count()) return block;
  auto slice = std::make_shared<ChunkBlock>(block->first_sequence + begin, block->kind);
  slice->bytes.reserve(bytes);
  slice->ends.reserve(end - begin);
  for (size_t i = begin; i < end; ++i) slice->add(block->chunk(i));
  return slice;
}

StatusOr<ChunkBlockPtr> new_entries(const Append& append, uint64_t last_sequence) {
  const ChunkBlockPtr& block = append.block;
  if (block->count() == 0 || block->last_sequence() <= last_sequence) return ChunkBlockPtr();
  if (block->first_sequence > last_sequence + 1) {
    return make_status(StatusCode::kFailedPrecondition,
                       "job " + append.token.job_id + " has chunks up to " +
                           std::to_string(last_sequence) + ", so chunk " +
                           std::to_string(block->first_sequence) +
                           " would leave a gap: append the ones between first");
  }
  return slice_block(block, last_sequence + 1, SIZE_MAX);
}

Status check_no_gap(const std::string& job_id, uint64_t stored, uint64_t wanted) {
  if (wanted <= stored) return absl::OkStatus();
  return make_status(StatusCode::kFailedPrecondition, "job " + job_id + " has chunks up to " +
                                                          std::to_string(stored) + " but yielded " +
                                                          std::to_string(wanted) +
                                                          ": append the missing ones, then settle");
}

Status unknown_job(const std::string& job_id) {
  return make_status(StatusCode::kNotFound,
                     "there is no job '" + job_id + "': check the id, or submit the job again");
}

Status stale_token(const Token& token) {
  return make_status(StatusCode::kAborted, "attempt " + std::to_string(token.attempt) + " of job " +
                                               token.job_id + " has lost the job: stop running it");
}

Status other_spec(const std::string& job_id) {
  return field_error("id", "id '" + job_id +
                               "' belongs to a job with another spec: use a new id, or repeat the "
                               "submission unchanged");
}

Status other_spec_of_key(const std::string& key) {
  return field_error("idempotency_key",
                     "idempotency_key '" + key +
                         "' was used for another type, payload or option: use a new key, or repeat "
                         "the submission unchanged");
}

Status queue_full(const std::string& queue, size_t limit) {
  return retry_error(StatusCode::kResourceExhausted,
                     "queue '" + queue + "' holds " + std::to_string(limit) +
                         " waiting jobs, its limit: try again when workers have caught up",
                     kFullRetryMs);
}

Status below_first_sequence(uint64_t from_sequence, uint64_t first_sequence) {
  return make_status(StatusCode::kOutOfRange,
                     "sequence " + std::to_string(from_sequence) +
                         " is not kept any more: read from first_sequence " +
                         std::to_string(first_sequence));
}

Status ended_job(const std::string& job_id, JobState state) {
  return make_status(StatusCode::kFailedPrecondition,
                     "job " + job_id + " has ended as " + std::string(to_string(state)) +
                         " and takes no more values: send to a job that has not ended");
}

Status too_many_sends(const std::string& job_id) {
  return retry_error(StatusCode::kResourceExhausted,
                     "job " + job_id + " has not looked at its last " +
                         std::to_string(limits::kUnconsumedSends) + " sends: try again when it has",
                     kFullRetryMs);
}

Status not_dead(const std::string& job_id, JobState state) {
  return make_status(StatusCode::kFailedPrecondition,
                     "job " + job_id + " is " + std::string(to_string(state)) +
                         " and only a dead job can be retried: submit it again under a new id");
}

Status not_ended(const std::string& job_id, JobState state) {
  return make_status(StatusCode::kFailedPrecondition,
                     "job " + job_id + " is " + std::string(to_string(state)) +
                         ": cancel it and wait for its end, then delete it");
}

}  // namespace weft
