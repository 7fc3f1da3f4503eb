// What every store does to a job's record, so that all of them do the same.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <weft/base/status.h>
#include <weft/jobs/job_state.h>
#include <weft/store/job_store.h>
#include <weft/store/stream_store.h>
#include <weft/v1/job.pb.h>

namespace weft {

inline JobState state_of(const v1::Job& job) { return static_cast<JobState>(job.state()); }

// A new record: QUEUED, or SCHEDULED when it is due later.
v1::Job new_job(v1::JobSpec spec, int64_t wall_ns);
// When a SCHEDULED job is due, as milliseconds of wall time, rounded up.
int64_t due_ms(const v1::Job& job);
// When the time of a waiting job is over: the earlier of expire_at and the total timeout, as
// milliseconds of wall time, rounded up; kNoTime: never.
inline constexpr int64_t kNoTime = INT64_MAX;
int64_t over_ms(const v1::Job& job);
// EXPIRED or DEAD, as the waiting job has to end now; nothing: its time is not over.
std::optional<JobState> overdue(const v1::Job& job, int64_t wall_ns);
// Ends it so.
void end_overdue(v1::Job& job, JobState end, int64_t wall_ns);
// A SCHEDULED job is QUEUED.
void promote(v1::Job& job);
// OK when two submissions with one id ask for the same thing; else what to say to the second.
Status check_same(const v1::JobSpec& there, const v1::JobSpec& spec);
// `there` has the idempotency key of `spec`.
bool same_key(const v1::JobSpec& there, const v1::JobSpec& spec);

// How long a job is kept once it has ended; 0: not at all.
int64_t retention_ms(const v1::JobSpec& spec, int64_t default_ms);
// When a job that has ended is forgotten, and when its key is, as milliseconds of wall time.
int64_t expire_ms(const v1::Job& job, int64_t default_ms);
int64_t key_expire_ms(const v1::Job& job, int64_t default_ms);

// RUNNING, one attempt further. Returns the entry to write into the job's stream when that has
// chunks; its sequence is last_sequence, which counts it already.
ChunkBlockPtr start_attempt(v1::Job& job, const std::string& worker_name, int64_t wall_ns);
// Ends the job as the attempt says, or makes it SCHEDULED; CANCELLED when that was asked for and it
// did not succeed. Takes the settlement's outcome.
void settle(v1::Job& job, Settlement& settlement, int64_t wall_ns);
// Back to QUEUED after a release or a crash, or CANCELLED when that was asked for.
void give_back(v1::Job& job, JobEvent event, int64_t wall_ns);
// A dead job is QUEUED again, as if it had never failed, crashed or ended, but for its errors.
void retry(v1::Job& job, int64_t wall_ns);
// What Job.errors gets of an attempt that failed or whose worker died.
v1::AttemptError attempt_error(const v1::Job& job, const v1::Outcome& outcome, int64_t wall_ns);
// The code of an error is a word; what is longer, or no text, is cut and mended.
inline constexpr size_t kErrorCodeBytes = 64;
std::string clean_error_code(std::string_view code);
v1::Outcome crash_outcome();  // of that attempt alone
// OK, or FAILED_PRECONDITION: the job would expire at once.
Status check_not_expired(const v1::Job& job, int64_t wall_ns);
// Ends a running job that has killed too many workers.
void end_crashed(v1::Job& job, int64_t wall_ns);
// How it ends then.
v1::Outcome crashed_outcome(uint32_t crashes);
// Ends a job that nobody runs.
void cancel_now(v1::Job& job, const std::string& reason, int64_t wall_ns);

// Entries of `block` from `from_sequence` on, about `max_bytes` of them and at least one; the block
// itself when that is all of it. REQUIRES: from_sequence <= block->last_sequence().
ChunkBlockPtr slice_block(const ChunkBlockPtr& block, uint64_t from_sequence, size_t max_bytes);

// What an append does to a stream that ends at `last_sequence`: the entries to store (null: all of
// them are there already), or FAILED_PRECONDITION for a gap.
StatusOr<ChunkBlockPtr> new_entries(const Append& append, uint64_t last_sequence);
// OK, or FAILED_PRECONDITION when an attempt that yielded up to `wanted` settles too early.
Status check_no_gap(const std::string& job_id, uint64_t stored, uint64_t wanted);

// Errors, with what to do.
Status unknown_job(const std::string& job_id);
Status stale_token(const Token& token);
Status other_spec(const std::string& job_id);
Status other_spec_of_key(const std::string& key);
Status queue_full(const std::string& queue, size_t limit);
Status below_first_sequence(uint64_t from_sequence, uint64_t first_sequence);
Status ended_job(const std::string& job_id, JobState state);
Status too_many_sends(const std::string& job_id);
Status not_dead(const std::string& job_id, JobState state);
Status not_ended(const std::string& job_id, JobState state);

}  // namespace weft
