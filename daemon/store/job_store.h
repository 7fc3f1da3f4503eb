// JobStore: where jobs live, as the hot path sees them. Every verb takes a batch and is answered
// after its commit.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <weft/base/status.h>
#include <weft/runtime/task.h>
#include <weft/store/token.h>
#include <weft/v1/job.pb.h>
#include <weft/v1/job_service.pb.h>

namespace weft {

// The answer to one submission.
class Submitted {
 public:
  Submitted(std::string job_id, bool was_there) : id(std::move(job_id)), existing(was_there) {}
  std::string id;
  bool existing;  // the same id and spec were submitted before
};

// How an attempt ended.
class Settlement {
 public:
  Settlement(Token attempt_token, v1::JobState end_state, v1::Outcome end_outcome,
             uint64_t last_chunk)
      : token(std::move(attempt_token)),
        state(end_state),
        outcome(std::move(end_outcome)),
        last_sequence(last_chunk) {}
  Token token;
  v1::JobState state;  // SUCCEEDED, DEAD or CANCELLED
  v1::Outcome outcome;
  uint64_t last_sequence;  // the settle is refused until the store has the stream up to here
  std::optional<v1::Progress> progress;  // the attempt's last one, when that is not saved yet
};

// How many more jobs of one type a worker can start.
struct TypeRoom {
  std::string type;
  size_t jobs;
};

// What a worker can start now.
struct TakeRequest {
  Incarnation worker;
  std::string worker_name;               // shown to people
  size_t max_jobs = 0;                   // 0: only settle
  std::vector<TypeRoom> type_room = {};  // types with a limit of their own; others fill max_jobs
  bool suspect = true;  // one of them may be a suspect (v1::Job.crashes): the worker runs none
};

// Answers in the order of the settlements. OK: it is settled by this token (now or before).
// ABORTED: the token is stale. FAILED_PRECONDITION: the stream has a gap before last_sequence.
// NOT_FOUND: no such job.
class Taken {
 public:
  Taken() = default;
  std::vector<Status> settled;
  std::vector<v1::Job> jobs;  // RUNNING now, with the attempt number to make their tokens from
};

// Told of commits, on the loop thread, in commit order, never from inside a verb's call. One
// listener a store.
class StoreListener {
 public:
  virtual ~StoreListener() = default;
  // There may be work to take.
  virtual void on_work() = 0;
  // A running job is to be cancelled.
  virtual void on_cancel_requested(const std::string& job_id, const std::string& reason) = 0;
  // A job has come to its end, by settle or by cancel. `job` has no payload.
  virtual void on_finished(const v1::Job& job) = 0;
  // A send was stored for a job.
  virtual void on_send(const std::string& job_id, uint64_t number, const std::string& value) = 0;
};

// Thread: the loop's. Lifetime: outlives its verbs; close() ends it.
// Cancellation: a cancelled caller stops waiting, but what it asked for may still be committed.
// Errors, of every verb: UNAVAILABLE with a retry time when the store cannot commit now.
// Limits: limits::kStoreQueueOps operations with kStoreQueueBytes may wait; more wait in their
// callers. What reads has room of its own, StoreOptions::read_bytes, so that neither waits for the
// other.
class JobStore {
 public:
  virtual ~JobStore() = default;

  // Stores new jobs as QUEUED; an empty spec.id gets one. The same idempotency key in the same
  // queue is the same job, also after that is gone, and also when the id differs: the answer names
  // the first one's. Per item: INVALID_ARGUMENT when the id or the
  // key is taken by another spec; RESOURCE_EXHAUSTED with a retry time when the queue or the disk
  // is full. Specs are checked by the caller (check_spec).
  virtual Task<std::vector<StatusOr<Submitted>>> submit(std::vector<v1::JobSpec> specs) = 0;

  // Settles attempts, then takes up to `take.max_jobs` queued jobs, oldest first, queues in turn,
  // in one transaction; with large payloads fewer (limits::kTakeBytes), and then on_work() says
  // that there are more. A job taken a second time gets an AttemptStarted entry in its stream if
  // that has chunks. Fails as a whole only with UNAVAILABLE, and then nothing was changed.
  virtual Task<StatusOr<Taken>> settle_and_take(std::vector<Settlement> settlements,
                                                TakeRequest take) = 0;

  // Hands jobs back as QUEUED, at the front of their queue; counts as nothing. A job whose cancel
  // was asked for is CANCELLED instead. Per item: OK or ABORTED.
  virtual Task<std::vector<Status>> release(std::vector<Token> tokens) = 0;

  // Keeps the last progress of running jobs. Per item: OK or ABORTED.
  virtual Task<std::vector<Status>> save_progress(
      std::vector<std::pair<Token, v1::Progress>> progress) = 0;

  // Not running: ended now. Running: flagged, and the listener told. First commit wins.
  // Errors: NOT_FOUND.
  virtual Task<StatusOr<v1::CancelResponse>> cancel(std::string job_id, std::string reason) = 0;

  // The record as of the last commit; payload included only on request. Errors: NOT_FOUND.
  virtual Task<StatusOr<v1::Job>> get(std::string job_id, bool with_payload) = 0;
};

}  // namespace weft
