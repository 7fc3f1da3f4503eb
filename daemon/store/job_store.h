// JobStore: where jobs live, as the hot path sees them. Every verb takes a batch and is answered
// after its commit.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include <weft/base/status.h>
#include <weft/runtime/task.h>
#include <weft/store/chunk_block.h>
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
  v1::JobState state;      // SUCCEEDED, DEAD or CANCELLED; SCHEDULED: it is to run again
  v1::Outcome outcome;     // of a SCHEDULED one what is wrong, for Job.errors
  uint64_t last_sequence;  // the settle is refused until the store has the stream up to here
  std::optional<v1::Progress> progress;  // the attempt's last one, when that is not saved yet
  // Only of a SCHEDULED one: it is due so much later, and it asked for that itself: a snooze, which
  // is no failure and has no error.
  std::chrono::milliseconds pause{0};
  bool snoozed = false;
};

// What a promotion came to.
struct Promoted {
  size_t jobs = 0;  // as many as allowed: there may be more now
  // Until the next time of a waiting job comes; none: no job waits for a time.
  std::optional<std::chrono::milliseconds> next_in = {};
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
  size_t max_jobs = 0;                   // 0: only settle; nothing to settle: it takes no more
  std::vector<TypeRoom> type_room = {};  // types with a limit of their own; others fill max_jobs
  bool suspect = true;  // one of them may be a suspect (v1::Job.crashes): the worker runs none
  // Only jobs of these types; empty: of any. In a shared store the others wait for another worker.
  std::vector<std::string> types = {};
};

// The readers that one process has on one stream, as others have to know them.
struct StreamReaders {
  uint32_t passive = 0;   // they ask the job for nothing
  uint32_t attached = 0;  // they open its window
  uint64_t credit = 0;    // the largest of the attached ones
  uint64_t cursor = 1;    // what the slowest of all wants next
  bool operator==(const StreamReaders&) const = default;
};

// The readers of a stream in another process. None passive and none attached: it has none any more.
class RemoteReaders {
 public:
  RemoteReaders(std::string id, Incarnation process, StreamReaders all, uint64_t of_attempt = 0)
      : job_id(std::move(id)), from(process), readers(all), attempt(of_attempt) {}
  std::string job_id;
  Incarnation from;
  StreamReaders readers;
  uint64_t attempt;  // that was running when they said so; 0: whichever runs
};

// Answers in the order of the settlements. OK: it is settled by this token (now or before).
// ABORTED: the token is stale. FAILED_PRECONDITION: the stream has a gap before last_sequence.
// NOT_FOUND: no such job.
class Taken {
 public:
  Taken() = default;
  std::vector<Status> settled;
  // RUNNING now, with the attempt number to make their tokens from, and without errors.
  std::vector<v1::Job> jobs;
  std::vector<RemoteReaders> readers;  // of those jobs, in other processes
};

// Told of commits, on the loop thread, in commit order, never from inside a verb's call. One
// listener a store. What another process committed is told too, as far as it concerns jobs that run
// here or streams that are followed here; after a lost connection on_resync() stands for all that
// was missed.
class StoreListener {
 public:
  virtual ~StoreListener() = default;
  // There may be work to take.
  virtual void on_work() = 0;
  // A job of this process's commits waits for a time that comes after `in`.
  virtual void on_scheduled(std::chrono::milliseconds /*in*/) {}
  // A running job is to be cancelled.
  virtual void on_cancel_requested(const std::string& job_id, const std::string& reason) = 0;
  // A job has come to its end, by settle, by cancel or by time. `job` has no payload and no errors.
  virtual void on_finished(const v1::Job& job) = 0;
  // A send was stored for a job.
  virtual void on_send(const std::string& job_id, uint64_t number, const std::string& value) = 0;

  // Only of stores that processes share; what happens in this process is not told again.
  // Entries were stored for a followed stream. A gap before them is closed from the log.
  virtual void on_entries(const std::string& /*job_id*/, const ChunkBlockPtr& /*block*/) {}
  // The same without the entries, which are too large to push: they are in the log.
  virtual void on_stored(const std::string& /*job_id*/, uint64_t /*last_sequence*/) {}
  virtual void on_progress(const std::string& /*job_id*/, const v1::Progress& /*progress*/) {}
  // A dead job was queued again, or a finished one removed.
  virtual void on_retried(const v1::Job& /*job*/) {}
  virtual void on_removed(const std::string& /*job_id*/) {}
  // Readers elsewhere of a stream whose job runs here came, moved or left.
  virtual void on_readers(const RemoteReaders& /*readers*/) {}
  // The worker has given up this process's readers of a full stream that want entries below
  // `first_sequence` still; UINT64_MAX: the stream has no room for the readers of this process.
  virtual void on_readers_detached(const std::string& /*job_id*/, uint64_t /*first_sequence*/) {}
  // News may have been missed: look again at what runs here and what is followed here.
  virtual void on_resync() {}
  // The lease ran out and the jobs of this process are others' now: cancel them (kLeaseLost), tell
  // the store nothing of them. From now on this process is `next`.
  virtual void on_lease_lost(Incarnation /*next*/) {}
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

  // Stores new jobs as QUEUED, or as SCHEDULED when their time is still to come; an empty spec.id
  // gets one. The same idempotency key in the same
  // queue is the same job, also after that is gone, and also when the id differs: the answer names
  // the first one's. Per item: INVALID_ARGUMENT when the id or the
  // key is taken by another spec; RESOURCE_EXHAUSTED with a retry time when the queue or the disk
  // is full. Specs are checked by the caller (check_spec).
  virtual Task<std::vector<StatusOr<Submitted>>> submit(std::vector<v1::JobSpec> specs) = 0;

  // Settles attempts, then takes up to `take.max_jobs` queued jobs, oldest first, queues in turn,
  // in one transaction; with large payloads fewer (limits::kTakeBytes), and then on_work() says
  // that there are more. A job taken a second time gets an AttemptStarted entry in its stream if
  // that has chunks. A job whose time is over (overdue() in job_record.h) is ended, not taken.
  // Fails as a whole only with UNAVAILABLE: asked again, each is done once.
  virtual Task<StatusOr<Taken>> settle_and_take(std::vector<Settlement> settlements,
                                                TakeRequest take) = 0;

  // Queues SCHEDULED jobs that are due, behind the others of their queue, and ends waiting ones
  // whose time is over: EXPIRED or DEAD ("deadline"). At most `max_jobs` of both, those whose time
  // came first; of one millisecond, the oldest. Any daemon may ask at any time: each job is moved
  // once.
  virtual Task<StatusOr<Promoted>> promote(size_t max_jobs) = 0;

  // Hands jobs back as QUEUED, at the front of their queue; counts as nothing. A job whose cancel
  // was asked for is CANCELLED instead. Per item: OK or ABORTED.
  virtual Task<std::vector<Status>> release(std::vector<Token> tokens) = 0;

  // Keeps the last progress of running jobs. Per item: OK or ABORTED.
  virtual Task<std::vector<Status>> save_progress(
      std::vector<std::pair<Token, v1::Progress>> progress) = 0;

  // Not running: ended now. Running: flagged, and the listener told. First commit wins.
  // Errors: NOT_FOUND; DATA_LOSS when the job cannot be read.
  virtual Task<StatusOr<v1::CancelResponse>> cancel(std::string job_id, std::string reason) = 0;

  // The record as of the last commit; payload included only on request. Errors: NOT_FOUND.
  virtual Task<StatusOr<v1::Job>> get(std::string job_id, bool with_payload) = 0;
};

}  // namespace weft
