// RedisStore: the parts of the store in Redis, and what they have in common. Verbs are in
// redis_submit.cc, redis_jobs.cc, redis_settle.cc, redis_streams.cc, redis_admin.cc and
// redis_schedules.cc; the lease and run() in redis_workers.cc; news from other processes in
// redis_news.cc.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <weft/base/clock.h>
#include <weft/runtime/semaphore.h>
#include <weft/store/own_loop.h>
#include <weft/store/redis/own_tasks.h>
#include <weft/store/redis/redis_batch.h>
#include <weft/store/redis/redis_connection.h>
#include <weft/store/redis/redis_layout.h>
#include <weft/store/redis/redis_news.h>
#include <weft/store/redis/redis_record.h>
#include <weft/store/redis/redis_reply.h>
#include <weft/store/redis/redis_sync.h>
#include <weft/store/redis/redis_workers.h>
#include <weft/store/store.h>
#include <weft/store/unreadable_schedules.h>

namespace weft {

class RedisStore final : public Store, private TurnEndHook {
 public:
  RedisStore(RedisServer server, RedisFacts facts, StoreOptions options);
  ~RedisStore() override;

  // Blocks: agrees with what is there on its layout, and reads the counters.
  Status begin(RedisSync& redis);

  void set_listener(StoreListener* listener) override {
    listener_ = listener;
    news_.set_listener(listener);
  }
  StoreStats stats() const override;
  Task<void> close() override;

  Task<std::vector<StatusOr<Submitted>>> submit(std::vector<v1::JobSpec> specs) override;
  Task<StatusOr<Taken>> settle_and_take(std::vector<Settlement> settlements,
                                        TakeRequest take) override;
  Task<StatusOr<Promoted>> promote(size_t max_jobs) override;
  Task<std::vector<Status>> release(std::vector<Token> tokens) override;
  Task<std::vector<Status>> save_progress(
      std::vector<std::pair<Token, v1::Progress>> progress) override;
  Task<StatusOr<v1::CancelResponse>> cancel(std::string job_id, std::string reason) override;
  Task<StatusOr<v1::Job>> get(std::string job_id, bool with_payload) override;

  Task<std::vector<Status>> append(std::vector<Append> appends) override;
  Task<StatusOr<StreamPage>> read(std::string job_id, uint64_t from_sequence,
                                  size_t max_bytes) override;
  Task<Status> trim(std::string job_id, uint64_t first_sequence) override;
  Task<StatusOr<uint64_t>> send(std::string job_id, std::string sender, uint64_t number,
                                std::string value) override;
  Task<StatusOr<std::vector<StoredSend>>> read_sends(std::string job_id, uint64_t after) override;
  void consumed(const Token& token, uint64_t number) override;
  void follow(const std::string& job_id, StreamReaders readers) override;
  void detach_readers(const std::string& job_id, Incarnation from,
                      uint64_t first_sequence) override;
  Task<StatusOr<std::vector<RemoteReaders>>> remote_readers(
      std::vector<std::string> job_ids) override;

  Task<StatusOr<JobPage>> list(JobFilter filter, std::string position, size_t max_jobs) override;
  Task<StatusOr<v1::Job>> retry(std::string job_id) override;
  Task<Status> remove(std::string job_id) override;
  Task<StatusOr<size_t>> sweep(size_t max_items) override;

  Task<StatusOr<uint64_t>> put_schedule(v1::Schedule schedule, uint64_t expected,
                                        std::optional<int64_t> wake_ms) override;
  Task<StatusOr<StoredSchedule>> get_schedule(std::string name) override;
  Task<Status> remove_schedule(std::string name, uint64_t expected) override;
  Task<StatusOr<std::vector<StoredSchedule>>> list_schedules(std::string after,
                                                             size_t max) override;
  Task<StatusOr<DueSchedules>> due_schedules(size_t max) override;

  bool shared() const override { return true; }
  void set_description(std::function<v1::Worker()> describe) override {
    workers_.set_description(std::move(describe));
  }
  Task<StatusOr<std::vector<v1::Worker>>> workers() override { return workers_.list(); }
  Task<StatusOr<std::vector<Token>>> held() override { return workers_.held(); }
  LeaseState look_at_lease(bool renew) override { return workers_.look(renew); }
  void give_up_lease() override { workers_.give_up_lease(); }
  Task<void> run() override;

 private:
  friend class RedisWorkers;

  // A job that was taken here and has not been settled: what on_finished() tells of it, without the
  // payload, so that a settlement brings nothing back.
  struct Running {
    v1::Job job;
    Incarnation worker;
    std::string record;  // from_flags() of what P job has; empty: that is not sure any more
    StoredSpec stored;
    bool placed = false;     // has_place() of that
    bool asked = false;      // by a settlement that was not answered yet
    bool uncertain = false;  // the answer to its settlement was lost
  };
  // A worker that got less than it asked for asks again by itself, should it not have been told.
  class WorkTimer final : public Timer {
   public:
    explicit WorkTimer(RedisStore& store) : store_(store) {}
    ~WorkTimer() { stop(); }
    void start(int64_t pause_ms);
    void stop();

   private:
    void fire() override;
    RedisStore& store_;
    EventLoop* loop_ = nullptr;  // that it is armed on
  };
  using SubmitBatch = RedisBatch<v1::JobSpec, StatusOr<Submitted>>;
  using AppendBatch = RedisBatch<Append, Status>;
  using ProgressBatch = RedisBatch<std::pair<Token, v1::Progress>, Status>;

  // The lease is lost, and the jobs of this process with it: from now on it is `next`.
  void become(Incarnation next);

  RedisLayout layout() const { return {prefix_, options_.prefix, to_text(server_)}; }
  // As RedisConnection::Check; says once why a server is refused.
  StatusOr<std::optional<RedisCommand>> check_server(const RedisReply* answer);
  StatusOr<std::optional<RedisCommand>> next_check(const RedisReply* answer);

  // ---- calls (redis_store.cc)

  // The beginning of a call: its script and P.
  RedisCommand begin_call(const RedisScript& script) const;
  // That of the server is used unless the loop's is one of tests: "0".
  static int64_t clock();
  // A call that changes something, with `operations` for the statistics.
  Task<StatusOr<RedisReply>> call(const RedisScript& script, RedisCommand command,
                                  size_t operations);
  // Waits for room among the operations that change something.
  Task<std::vector<Semaphore::Permit>> make_room(size_t bytes);
  // The answer all_counts() of the scripts.
  void keep_counts(const RedisReply& counts);
  // What a call that must be tried again is answered: whatever the reason, UNAVAILABLE.
  static Status unavailable(const Status& status);
  Status stale(const Token& token);

  void tell_work();
  // Milliseconds until the first time of jobs that wait now; negative: none has one.
  void tell_scheduled(const RedisReply& in);
  // Of jobs that have ended, each a record, spec, outcome and progress.
  void tell_all_finished(const RedisReply& ended);
  void tell_finished(v1::Job job);
  // The same of one that no settlement of this process has ended: should the answer to one have
  // been lost that made it SCHEDULED, it is not told again.
  void tell_finished_elsewhere(v1::Job job);

  // ---- verbs that go on though their caller is gone
  Task<void> send_submits(SubmitBatch::Entries entries);
  void add_job(RedisCommand& command, v1::JobSpec& spec);
  Task<void> send_appends(AppendBatch::Entries entries);
  Task<void> send_progress(ProgressBatch::Entries entries);
  Task<StatusOr<Taken>> do_settle_and_take(std::vector<Settlement> settlements, TakeRequest take,
                                           std::vector<Semaphore::Permit> permits);
  Task<Status> settle_part(std::vector<Settlement>& settlements, size_t begin, size_t end,
                           const TakeRequest& take, size_t want, Taken& taken, bool* more);
  Task<StatusOr<Promoted>> do_promote(size_t max_jobs, std::vector<Semaphore::Permit> permits);
  Task<std::vector<Status>> do_release(std::vector<Token> tokens,
                                       std::vector<Semaphore::Permit> permits);
  Task<StatusOr<v1::CancelResponse>> do_cancel(std::string job_id, std::string reason,
                                               std::vector<Semaphore::Permit> permits);
  Task<StatusOr<uint64_t>> do_send(std::string job_id, std::string sender, uint64_t number,
                                   std::string value, std::vector<Semaphore::Permit> permits);
  Task<StatusOr<v1::Job>> do_retry(std::string job_id, std::vector<Semaphore::Permit> permits);
  Task<Status> do_remove(std::string job_id, std::vector<Semaphore::Permit> permits);
  Task<StatusOr<size_t>> do_sweep(size_t max_items, std::vector<Semaphore::Permit> permits);
  Task<void> do_consumed(std::map<std::string, std::pair<Token, uint64_t>> consumed);

  // ---- settle and take (redis_settle.cc)
  void add_settlements(RedisCommand& command, Incarnation worker,
                       std::vector<Settlement>& settlements, size_t begin, size_t end);
  size_t end_of_part(const std::vector<Settlement>& settlements, size_t begin);
  Running* running(const Token& token);
  void settled(std::vector<Settlement>& settlements, size_t begin, RedisReply& reply, Taken& taken);
  void took(RedisReply& reply, const TakeRequest& take, Taken& taken);

  // The values that were looked at in this turn.
  void on_turn_end() override { send_consumed(); }
  void send_consumed();

  const StoreOptions options_;
  RedisFacts facts_;
  const RedisServer server_;
  const std::string prefix_;  // P of the scripts
  Incarnation self_;
  std::string self_hex_;

  OwnLoop own_loop_;
  Random random_;
  StoreListener* listener_ = nullptr;
  StoreStats stats_;
  uint64_t removed_before_ = 0;
  Status admission_;

  RedisLayout layout_;
  bool asking_limit_ = false;   // of the server that is checked now
  std::string refused_server_;  // what was said of it last
  RedisConnection connection_;
  const bool needs_lease_;  // to take: a take without one gets nothing
  bool leased_ = false;
  RedisWorkers workers_{*this};

  Semaphore room_;
  Semaphore room_bytes_;
  Semaphore answer_bytes_;
  Semaphore take_turn_{1};
  WorkTimer work_timer_{*this};
  // Of the last take that was answered. Rises from one process to the next of the same name.
  uint64_t take_seq_ = static_cast<uint64_t>(RealClock::instance().wall_ns() / 1000);
  absl::flat_hash_map<std::string, std::unique_ptr<Running>> running_;
  std::map<std::string, std::pair<Token, uint64_t>> consumed_;

  OwnTasks tasks_;
  SubmitBatch submits_;
  AppendBatch appends_;
  ProgressBatch progress_;
  RedisNews news_;
  UnreadableSchedules unreadable_schedules_;
};

}  // namespace weft
