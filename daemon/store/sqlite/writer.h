// Writer: what each verb does inside a transaction, and what the commit thread knows of live jobs.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <weft/base/random.h>
#include <weft/jobs/job_state.h>
#include <weft/store/finished_jobs.h>
#include <weft/store/job_store.h>
#include <weft/store/send_log.h>
#include <weft/store/sqlite/database.h>
#include <weft/store/sqlite/job_rows.h>
#include <weft/store/sqlite/segment_log.h>
#include <weft/store/store.h>
#include <weft/store/stream_store.h>
#include <weft/store/timed_jobs.h>
#include <weft/store/waiting_jobs.h>

namespace weft {

// What the listener is told once the transaction stands.
class StoreEvent {
 public:
  enum class Kind : uint8_t { kWork, kScheduled, kCancelRequested, kFinished, kSend };
  StoreEvent(Kind event_kind, std::string id, std::string message, uint64_t n)
      : kind(event_kind), job_id(std::move(id)), text(std::move(message)), number(n) {}
  explicit StoreEvent(v1::Job finished) : kind(Kind::kFinished), job(std::move(finished)) {}

  Kind kind;
  std::string job_id;
  std::string text;
  uint64_t number = 0;  // of kScheduled: when, as milliseconds of wall time
  v1::Job job;
};

// Scheduled, queued and running jobs live in memory too, so that a take or a token check asks
// nothing of the file. After a transaction that failed, load() makes memory equal to the file
// again. Thread: the commit thread's (and the opening one's, before that starts).
class Writer {
 public:
  Writer(Database& database, SegmentLog& segments, const StoreOptions& options);
  ~Writer();

  // Forgets the transaction and reads live jobs. Running jobs stay running. Check database.ok()
  // after it. The segments' index needs no reading: only a commit changes it.
  void load();
  // Reads what is known of finished jobs. Once, after load().
  void load_finished();
  // Gives back every running job, oldest first: their process is gone, and that counts against
  // them. In a transaction.
  void recover(int64_t wall_ns);

  // Not OK: new jobs are refused with it. What is there already goes on.
  void set_admission(Status admission) { admission_ = std::move(admission); }

  // The verbs. Each is called inside a transaction; what it answers counts only once that stands.
  StatusOr<Submitted> submit(v1::JobSpec spec, int64_t wall_ns);
  Status settle(Settlement& settlement, int64_t wall_ns);
  void take(const TakeRequest& request, int64_t wall_ns, std::vector<v1::Job>& jobs);
  Promoted promote(size_t max_jobs, int64_t wall_ns);
  std::vector<Status> release(const std::vector<Token>& tokens, int64_t wall_ns);
  Status save_progress(const Token& token, v1::Progress progress);
  // Nothing, and nothing done, for a waiting job that is only on disk: the caller first finds out
  // whether its payload is `readable`, for a transaction that meets damage cannot commit any more.
  StatusOr<std::optional<v1::CancelResponse>> cancel(const std::string& job_id,
                                                     const std::string& reason, bool readable,
                                                     int64_t wall_ns);
  StatusOr<v1::Job> retry(const std::string& job_id, int64_t wall_ns);
  Status remove(const std::string& job_id, int64_t wall_ns);
  struct Swept {
    size_t items = 0;
    bool more = false;  // it has stopped early
  };
  Swept sweep(size_t max_items, int64_t wall_ns);
  Status append(const Append& append);
  Status trim(const std::string& job_id, uint64_t first_sequence);
  StatusOr<uint64_t> send(const std::string& job_id, const std::string& sender, uint64_t number,
                          const std::string& value);
  void consumed(const Token& token, uint64_t number);
  StatusOr<uint64_t> put_schedule(const v1::Schedule& schedule, uint64_t expected,
                                  std::optional<int64_t> wake_ms);
  Status remove_schedule(const std::string& name, uint64_t expected);

  // Before COMMIT: trims what is too much and writes what was collected. After it: lets readers
  // see it.
  void finish_transaction(int64_t wall_ns);
  void publish();

  std::vector<StoreEvent> take_events() {
    std::vector<StoreEvent> next;
    next.reserve(events_.size());  // the next transaction is likely to be alike
    return std::exchange(events_, std::move(next));
  }
  size_t queued() const { return waiting_.size(); }
  size_t scheduled() const { return timed_.scheduled(); }
  size_t running() const { return running_; }
  const FinishedJobs& finished() const { return finished_; }
  uint64_t submitted() const { return submitted_; }
  uint64_t removed() const { return removed_; }
  size_t suspects() const { return waiting_.suspects() + running_suspects_; }
  uint64_t stale_tokens() const { return stale_tokens_; }

 private:
  // A million of them wait in memory, so it is small: its age is its row, its queue and type are
  // known where it stands, and its times, if it has any, beside it.
  struct LiveJob : Queued<LiveJob> {
    int64_t age = 0;
    int64_t row() const { return age; }
    std::string id;
    // Running: the record without its payload. Queued since it came: the whole record, while there
    // is room for it.
    std::unique_ptr<v1::Job> job;
    std::unique_ptr<SendLog> sends;  // made by the first send since the start
    Incarnation worker;              // that runs it, or has put it off
    uint64_t consumed = 0;
    uint32_t hot_bytes = 0;
    JobState state = JobState::kQueued;
    bool suspect = false;
    bool timed = false;  // its time can be over
    bool running() const { return state == JobState::kRunning; }
  };

  class LineUp;
  LiveJob* find(const std::string& job_id);
  LiveJob* running(const Token& token);
  Status refuse(const Token& token);
  LiveJob& add_live(std::string id, int64_t row);
  // QUEUED or SCHEDULED from now on, as the record says.
  void wait(LiveJob& live, const v1::Job& job);
  // Before that changes.
  void leave(LiveJob& live, const v1::Job& job);
  bool is_full(const std::string& queue) const;
  void keep_hot(LiveJob& live, v1::Job job);
  // The record of a waiting job, null when the file could not be read: the whole, which memory
  // gives away when it has it; and without its payload, from the file.
  std::unique_ptr<v1::Job> whole_job(LiveJob& live);
  std::unique_ptr<v1::Job> brief_job(LiveJob& live);
  void start_running(LiveJob& live);
  void stop_running(LiveJob& live);
  bool select_job(const std::string& job_id, bool with_payload, JobRow& out);
  void update(LiveJob& live, v1::Job& job);
  // Ends a waiting job, which has left already; `job` has no payload.
  void finish_overdue(LiveJob& live, std::unique_ptr<v1::Job> job, JobState end, int64_t wall_ns);
  // The answer to a submission whose key is known; else nothing.
  std::optional<StatusOr<Submitted>> find_key(v1::JobSpec& spec, int64_t wall_ns);
  void delete_rows(int64_t row);
  // Of its payload and result.
  size_t stored_bytes(int64_t row);
  // Deletes all that is stored of a job that has ended, but its key.
  void forget(int64_t row, int64_t wall_ns);
  // The same for several, but stops after about as many bytes as a take has: to delete bytes,
  // SQLite reads where they stand. Returns how many it forgot.
  size_t forget_some(const std::vector<int64_t>& rows, int64_t wall_ns);
  // Keeps the key of a job that is forgotten now.
  void keep_key(const v1::Job& job, int64_t row, int64_t wall_ns);
  // Writes the end of a job, or deletes it when nothing is to be kept; tells it, and forgets the
  // live one.
  void finish(LiveJob& live, std::unique_ptr<v1::Job> job, int64_t wall_ns);
  void give_back_all(std::vector<LiveJob*> jobs, JobEvent event, int64_t wall_ns);
  std::unique_ptr<SendLog> load_sends(int64_t row);
  void tell_work();
  std::optional<uint64_t> schedule_version(const std::string& name);

  Database& database_;
  SegmentLog& segments_;
  const size_t queued_per_queue_;
  const size_t take_bytes_;
  const int64_t retention_ms_;
  Status admission_;
  Random random_;

  Statement insert_job_;
  Statement insert_payload_;
  Statement insert_result_;
  Statement update_job_;
  Statement update_place_;
  Statement update_first_sequence_;
  Statement select_job_;
  Statement select_job_with_payload_;
  Statement insert_segment_;
  Statement delete_segment_;
  Statement select_sends_;
  Statement select_last_send_;
  Statement insert_send_;
  Statement delete_sends_;
  Statement select_by_row_;
  Statement select_place_;
  Statement select_payload_;
  Statement select_bytes_;
  Statement select_key_;
  Statement insert_key_;
  Statement expire_key_;
  Statement delete_key_;
  Statement sweep_keys_;
  Statement delete_job_;
  Statement delete_payload_;
  Statement delete_result_;
  Statement select_schedule_version_;
  Statement count_schedules_;
  Statement put_schedule_;
  Statement delete_schedule_;

  absl::flat_hash_map<absl::string_view, std::unique_ptr<LiveJob>> live_;  // keys: their ids
  WaitingJobs<LiveJob> waiting_;
  TimedJobs<LiveJob> timed_;
  FinishedJobs finished_;
  uint64_t removed_ = 0;   // by retention
  uint64_t removing_ = 0;  // the same, in the open transaction
  uint64_t submitted_ = 0;
  uint64_t submitting_ = 0;  // in the open transaction
  bool any_keys_ = false;    // in their table; most are not
  size_t running_ = 0;
  size_t running_suspects_ = 0;
  size_t hot_bytes_ = 0;
  int64_t next_row_ = 1;  // places are of the same numbers
  // No older row has a live job: what has ended since stands there, and load() need not look at it.
  int64_t oldest_live_row_ = 1;
  int64_t oldest_ended_row_ = INT64_MAX;  // of the jobs that end in the open transaction
  bool loaded_ = false;
  uint64_t stale_tokens_ = 0;
  uint64_t last_schedule_version_ = 0;
  bool work_told_ = false;
  int64_t earliest_ms_ = kNoTime;  // of the jobs that wait since the transaction began
  std::vector<StoreEvent> events_;
};

}  // namespace weft
