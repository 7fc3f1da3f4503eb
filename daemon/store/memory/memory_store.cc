// All of a store in maps; the loop is the only thread, so a commit is an assignment.
#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include <weft/base/id.h>
#include <weft/base/lazy_deque.h>
#include <weft/base/limits.h>
#include <weft/jobs/crash_policy.h>
#include <weft/runtime/sleep.h>
#include <weft/store/fingerprint.h>
#include <weft/store/finished_jobs.h>
#include <weft/store/job_list.h>
#include <weft/store/job_record.h>
#include <weft/store/memory/memory_schedules.h>
#include <weft/store/memory/memory_store.h>
#include <weft/store/own_loop.h>
#include <weft/store/send_log.h>
#include <weft/store/timed_jobs.h>
#include <weft/store/waiting_jobs.h>

namespace weft {
namespace {

struct Record : Queued<Record> {
  int64_t age = 0;  // smaller is older
  v1::Job job;
  Incarnation worker;  // of the attempt that runs, or that settled
  LazyDeque<ChunkBlockPtr> blocks;
  SendLog sends;
  LazyDeque<StoredSend> values;  // beside the entries of `sends`
  uint64_t consumed = 0;         // by the running attempt
};

constexpr int64_t kMillisecond_ns = 1'000'000;
constexpr int64_t kNever = INT64_MAX;

// An idempotency key that was used.
struct Key {
  std::string job_id;
  std::string fingerprint;
  int64_t expire_ms;  // kNever while the job is there
};

class MemoryStore final : public Store {
 public:
  explicit MemoryStore(StoreOptions options)
      : options_(options),
        random_(make_id_source(options)),
        finished_(options.finished_per_queue) {}
  ~MemoryStore() override {
    waiting_.clear();
    timed_.clear();
  }

  void set_listener(StoreListener* listener) override { listener_ = listener; }
  StoreStats stats() const override {
    StoreStats stats = stats_;
    stats.queued_jobs = waiting_.size();
    stats.scheduled_jobs = timed_.scheduled();
    stats.running_jobs = running_;
    stats.finished_jobs = finished_.size();
    stats.succeeded_jobs = finished_.count(JobState::kSucceeded);
    stats.dead_jobs = finished_.count(JobState::kDead);
    stats.cancelled_jobs = finished_.count(JobState::kCancelled);
    stats.expired_jobs = finished_.count(JobState::kExpired);
    stats.suspect_jobs = waiting_.suspects();
    return stats;
  }
  Task<void> close() override {
    own_loop_.enter();
    co_await yield_now();
  }

  Task<std::vector<StatusOr<Submitted>>> submit(std::vector<v1::JobSpec> specs) override {
    own_loop_.enter();
    co_await yield_now();
    count_commit(specs.size());
    std::vector<StatusOr<Submitted>> answers;
    answers.reserve(specs.size());
    for (v1::JobSpec& spec : specs) answers.push_back(submit_one(std::move(spec)));
    tell_waiting();
    co_return answers;
  }

  Task<StatusOr<Taken>> settle_and_take(std::vector<Settlement> settlements,
                                        TakeRequest take) override {
    own_loop_.enter();
    co_await yield_now();
    count_commit(settlements.size() + 1);
    Taken taken;
    for (Settlement& settlement : settlements) taken.settled.push_back(settle_one(settlement));
    size_t bytes = 0;
    size_t ended_here = 0;
    WaitingJobs<Record>::Take waiting(waiting_, take);
    while (taken.jobs.size() < take.max_jobs) {
      if (bytes >= options_.take_bytes || ended_here == limits::kPromoteBatch) {
        has_work_ = has_work_ || waiting_.size() > 0;
        break;
      }
      Record* record = waiting.next();
      if (record == nullptr) break;
      timed_.remove(*record, record->job);
      if (const auto end = overdue(record->job, wall_ns())) {
        waiting.give_back_room(record->job.spec().type(), is_suspect(record->job.crashes()));
        end_overdue(record->job, *end, wall_ns());
        ended(*record);
        ++ended_here;
        continue;
      }
      if (const ChunkBlockPtr entry = start_attempt(record->job, take.worker_name, wall_ns())) {
        record->blocks.push_back(entry);
      }
      record->worker = take.worker;
      record->consumed = 0;
      ++running_;
      bytes += record->job.spec().payload().size();
      taken.jobs.push_back(record->job);
      taken.jobs.back().clear_errors();
    }
    tell_waiting();
    co_return StatusOr<Taken>(std::move(taken));
  }

  Task<StatusOr<Promoted>> promote(size_t max_jobs) override {
    own_loop_.enter();
    co_await yield_now();
    count_commit(1);
    Promoted promoted;
    for (; promoted.jobs < max_jobs; ++promoted.jobs) {
      Record* record = timed_.first(wall_ns() / kMillisecond_ns);
      if (record == nullptr) break;
      v1::Job& job = record->job;
      const auto end = overdue(job, wall_ns());
      leave(*record);
      if (end) {
        end_overdue(job, *end, wall_ns());
        ended(*record);
      } else {
        weft::promote(job);
        record->place = ++last_age_;
        wait(*record);
      }
    }
    earliest_ms_ = kNoTime;  // the answer says it
    tell_waiting();
    if (const int64_t next = timed_.next_ms(); next != kNoTime) {
      promoted.next_in = time_until(next, wall_ns());
    }
    co_return promoted;
  }

  Task<std::vector<Status>> release(std::vector<Token> tokens) override {
    own_loop_.enter();
    co_await yield_now();
    count_commit(tokens.size());
    std::vector<Status> answers;
    std::vector<Record*> released;
    for (const Token& token : tokens) {
      Record* record = running(token);
      answers.push_back(record != nullptr ? absl::OkStatus() : refuse(token));
      if (record == nullptr) continue;
      record->worker = Incarnation();
      released.push_back(record);
    }
    // Newest first to the front, so that the oldest stands first.
    std::sort(released.begin(), released.end(),
              [](const Record* a, const Record* b) { return a->place > b->place; });
    for (Record* record : released) {
      give_back(record->job, JobEvent::kRelease, wall_ns());
      --running_;
      if (is_finished(state_of(record->job))) {
        ended(*record);
      } else {
        wait(*record);
      }
    }
    tell_waiting();
    co_return answers;
  }

  Task<std::vector<Status>> save_progress(
      std::vector<std::pair<Token, v1::Progress>> progress) override {
    own_loop_.enter();
    co_await yield_now();
    count_commit(progress.size());
    std::vector<Status> answers;
    for (auto& [token, value] : progress) {
      Record* record = running(token);
      answers.push_back(record != nullptr ? absl::OkStatus() : refuse(token));
      if (record != nullptr) *record->job.mutable_progress() = std::move(value);
    }
    co_return answers;
  }

  Task<StatusOr<v1::CancelResponse>> cancel(std::string job_id, std::string reason) override {
    own_loop_.enter();
    co_await yield_now();
    count_commit(1);
    Record* record = find(job_id);
    if (record == nullptr) co_return unknown_job(job_id);
    v1::CancelResponse response;
    switch (decide_cancel(state_of(record->job))) {
      case CancelDecision::kEndNow:
        leave(*record);
        cancel_now(record->job, reason, wall_ns());
        response.set_result(v1::CancelResponse::CANCELLED);
        response.set_state(record->job.state());
        ended(*record);
        co_return response;
      case CancelDecision::kRequest:
        response.set_result(v1::CancelResponse::REQUESTED);
        if (record->job.cancel_requested()) break;
        record->job.set_cancel_requested(true);
        record->job.set_cancel_reason(reason);
        if (listener_ != nullptr) listener_->on_cancel_requested(job_id, reason);
        break;
      case CancelDecision::kTooLate:
        response.set_result(v1::CancelResponse::ALREADY_FINISHED);
        break;
    }
    response.set_state(record->job.state());
    co_return response;
  }

  Task<StatusOr<v1::Job>> get(std::string job_id, bool with_payload) override {
    own_loop_.enter();
    co_await yield_now();
    const Record* record = find(job_id);
    if (record == nullptr) co_return unknown_job(job_id);
    co_return with_payload ? record->job : without_payload(record->job);
  }

  Task<std::vector<Status>> append(std::vector<Append> appends) override {
    own_loop_.enter();
    co_await yield_now();
    count_commit(appends.size());
    std::vector<Status> answers;
    answers.reserve(appends.size());
    for (const Append& append : appends) {
      Record* record = running(append.token);
      if (record == nullptr) {
        answers.push_back(refuse(append.token));
        continue;
      }
      StatusOr<ChunkBlockPtr> entries = new_entries(append, record->job.last_sequence());
      answers.push_back(entries.status());
      if (!entries.ok() || *entries == nullptr) continue;
      record->job.set_last_sequence((*entries)->last_sequence());
      record->blocks.push_back(*std::move(entries));
    }
    co_return answers;
  }

  Task<StatusOr<StreamPage>> read(std::string job_id, uint64_t from_sequence,
                                  size_t max_bytes) override {
    own_loop_.enter();
    co_await yield_now();
    const Record* record = find(job_id);
    if (record == nullptr) co_return unknown_job(job_id);
    StreamPage page;
    page.first_sequence = record->job.first_sequence();
    page.last_sequence = record->job.last_sequence();
    if (from_sequence == 0) from_sequence = page.first_sequence;
    if (from_sequence < page.first_sequence) {
      co_return below_first_sequence(from_sequence, page.first_sequence);
    }
    auto block = std::partition_point(
        record->blocks.begin(), record->blocks.end(),
        [&](const ChunkBlockPtr& b) { return b->last_sequence() < from_sequence; });
    size_t bytes = 0;
    for (; block != record->blocks.end() && (bytes < max_bytes || page.blocks.empty()); ++block) {
      page.blocks.push_back(slice_block(*block, from_sequence, max_bytes - bytes));
      bytes += page.blocks.back()->bytes.size();
      if (page.blocks.back()->last_sequence() != (*block)->last_sequence()) break;
    }
    co_return StatusOr<StreamPage>(std::move(page));
  }

  Task<Status> trim(std::string job_id, uint64_t first_sequence) override {
    own_loop_.enter();
    co_await yield_now();
    count_commit(1);
    Record* record = find(job_id);
    if (record == nullptr) co_return unknown_job(job_id);
    v1::Job& job = record->job;
    first_sequence = std::min(first_sequence, job.last_sequence() + 1);
    if (first_sequence <= job.first_sequence()) co_return absl::OkStatus();
    job.set_first_sequence(first_sequence);
    auto& blocks = record->blocks;
    while (!blocks.empty() && blocks.front()->last_sequence() < first_sequence) blocks.pop_front();
    co_return absl::OkStatus();
  }

  Task<StatusOr<uint64_t>> send(std::string job_id, std::string sender, uint64_t number,
                                std::string value) override {
    own_loop_.enter();
    co_await yield_now();
    count_commit(1);
    Record* record = find(job_id);
    if (record == nullptr) co_return unknown_job(job_id);
    if (const auto before = record->sends.find(sender, number)) co_return *before;
    if (is_finished(state_of(record->job))) co_return ended_job(job_id, state_of(record->job));
    if (record->sends.full(record->consumed)) co_return too_many_sends(job_id);
    const uint64_t given = record->sends.next();
    record->sends.add(SendLog::Entry(given, std::move(sender), number));
    record->values.emplace_back(given, value);
    if (record->values.size() > limits::kKeptSends) record->values.pop_front();
    record->job.set_last_send(given);
    if (listener_ != nullptr) listener_->on_send(job_id, given, value);
    co_return given;
  }

  Task<StatusOr<std::vector<StoredSend>>> read_sends(std::string job_id, uint64_t after) override {
    own_loop_.enter();
    co_await yield_now();
    const Record* record = find(job_id);
    if (record == nullptr) co_return unknown_job(job_id);
    std::vector<StoredSend> sends;
    for (const StoredSend& send : record->values) {
      if (send.number > after) sends.push_back(send);
    }
    co_return StatusOr<std::vector<StoredSend>>(std::move(sends));
  }

  void consumed(const Token& token, uint64_t number) override {
    own_loop_.enter();
    if (Record* record = running(token)) {
      record->consumed = std::max(record->consumed, std::min(number, record->job.last_send()));
    }
  }

  Task<StatusOr<JobPage>> list(JobFilter filter, std::string position, size_t max_jobs) override {
    own_loop_.enter();
    co_await yield_now();
    const StatusOr<int64_t> before = parse_position(position);
    if (!before.ok()) co_return before.status();
    JobPage page;
    size_t looked_at = 0;
    for (auto next = by_age_.lower_bound(*before); next != by_age_.begin();) {
      if (page.jobs.size() == max_jobs || looked_at == limits::kListScan) {
        page.next = to_position(next->first);
        break;
      }
      --next;
      ++looked_at;
      const v1::Job& job = next->second->job;
      if (!matches_state_and_queue(filter, job.state(), job.spec().queue())) continue;
      if (!matches_type(filter, job.spec().type())) continue;
      page.jobs.push_back(in_brief(job));
      if (job.has_outcome()) page.jobs.back().mutable_outcome()->clear_result();
    }
    co_return StatusOr<JobPage>(std::move(page));
  }

  Task<StatusOr<v1::Job>> retry(std::string job_id) override {
    own_loop_.enter();
    co_await yield_now();
    count_commit(1);
    Record* record = find(job_id);
    if (record == nullptr) co_return unknown_job(job_id);
    v1::Job& job = record->job;
    if (!next_state(state_of(job), JobEvent::kRetry, false)) {
      co_return not_dead(job_id, state_of(job));
    }
    if (const Status expired = check_not_expired(job, wall_ns()); !expired.ok()) co_return expired;
    const std::string& queue = job.spec().queue();
    if (is_full(queue)) co_return queue_full(queue, options_.queued_per_queue);
    weft::retry(job, wall_ns());
    finished_.remove(record->age);
    finished_.publish();
    record->worker = Incarnation();
    record->consumed = 0;
    wait(*record);
    tell_waiting();
    co_return in_brief(job);
  }

  Task<Status> remove(std::string job_id) override {
    own_loop_.enter();
    co_await yield_now();
    count_commit(1);
    Record* record = find(job_id);
    if (record == nullptr) co_return unknown_job(job_id);
    if (!is_finished(state_of(record->job))) co_return not_ended(job_id, state_of(record->job));
    forget(*record);
    co_return absl::OkStatus();
  }

  Task<StatusOr<size_t>> sweep(size_t max_items) override {
    own_loop_.enter();
    co_await yield_now();
    count_commit(1);
    const int64_t now_ms = wall_ns() / kMillisecond_ns;
    const std::vector<int64_t> ages = finished_.expired(now_ms, max_items);
    forget_by_retention(ages);
    size_t done = ages.size();
    while (done < max_items && !expiring_keys_.empty()) {
      const auto& [expire, name] = *expiring_keys_.begin();
      if (expire > now_ms) break;
      keys_.erase(to_absl(name));
      expiring_keys_.erase(expiring_keys_.begin());
      ++done;
    }
    co_return done;
  }

  Task<StatusOr<uint64_t>> put_schedule(v1::Schedule schedule, uint64_t expected,
                                        std::optional<int64_t> wake_ms) override {
    own_loop_.enter();
    co_await yield_now();
    count_commit(1);
    co_return schedules_.put(std::move(schedule), expected, wake_ms);
  }

  Task<StatusOr<StoredSchedule>> get_schedule(std::string name) override {
    own_loop_.enter();
    co_await yield_now();
    co_return schedules_.get(name);
  }

  Task<Status> remove_schedule(std::string name, uint64_t expected) override {
    own_loop_.enter();
    co_await yield_now();
    count_commit(1);
    co_return schedules_.remove(name, expected);
  }

  Task<StatusOr<std::vector<StoredSchedule>>> list_schedules(std::string after,
                                                             size_t max) override {
    own_loop_.enter();
    co_await yield_now();
    co_return schedules_.list(after, max);
  }

  Task<StatusOr<DueSchedules>> due_schedules(size_t max) override {
    own_loop_.enter();
    co_await yield_now();
    co_return schedules_.due(max, wall_ns() / kMillisecond_ns);
  }

 private:
  static int64_t wall_ns() { return EventLoop::current()->wall_ns(); }

  Record* find(const std::string& job_id) {
    const auto found = records_.find(to_absl(job_id));
    return found == records_.end() ? nullptr : found->second.get();
  }
  // The record that `token` runs, or null.
  Record* running(const Token& token) {
    Record* record = find(token.job_id);
    const bool fresh = record != nullptr && state_of(record->job) == JobState::kRunning &&
                       record->job.attempt() == token.attempt && record->worker == token.worker;
    return fresh ? record : nullptr;
  }
  Status refuse(const Token& token) {
    ++stats_.stale_tokens;
    return stale_token(token);
  }

  StatusOr<Submitted> submit_one(v1::JobSpec spec) {
    const std::string& key = spec.idempotency_key();
    const std::string print = key.empty() ? std::string() : fingerprint(spec);
    if (const auto known = keys_.find(to_absl(key_name(spec))); known != keys_.end()) {
      const bool over = known->second.expire_ms != kNever &&
                        known->second.expire_ms <= wall_ns() / kMillisecond_ns;
      if (!over && known->second.fingerprint != print) return other_spec_of_key(key);
      if (!over) return Submitted(known->second.job_id, true);
      expiring_keys_.erase({known->second.expire_ms, key_name(spec)});
      keys_.erase(known);
    }
    if (spec.id().empty()) {
      do {
        spec.set_id(make_job_id(wall_ns() / 1'000'000, random_));
      } while (find(spec.id()) != nullptr);
    } else if (const Record* there = find(spec.id())) {
      WEFT_RETURN_IF_ERROR(check_same(there->job.spec(), spec));
      return Submitted(spec.id(), true);
    }
    if (is_full(spec.queue())) return queue_full(spec.queue(), options_.queued_per_queue);
    auto record = std::make_unique<Record>();
    record->job = new_job(std::move(spec), wall_ns());
    record->age = ++last_age_;
    record->place = record->age;
    by_age_.emplace(record->age, record.get());
    const v1::JobSpec& stored = record->job.spec();
    wait(*record);
    if (!stored.idempotency_key().empty()) {
      keys_.emplace(key_name(stored), Key{stored.id(), print, kNever});
    }
    ++stats_.submitted_jobs;
    Submitted answer(stored.id(), false);
    records_.emplace(stored.id(), std::move(record));
    return answer;
  }

  bool is_full(const std::string& queue) const {
    return waiting_.size(queue) + timed_.scheduled(queue) >= options_.queued_per_queue;
  }
  // QUEUED or SCHEDULED from now on.
  void wait(Record& record) {
    const v1::Job& job = record.job;
    timed_.add(record, job);
    earliest_ms_ = std::min(earliest_ms_, next_time_ms(job));
    if (state_of(job) == JobState::kScheduled) return;
    waiting_.add(job.spec().queue(), job.spec().type(), record, is_suspect(job.crashes()));
    has_work_ = true;
  }
  // Before its state changes.
  void leave(Record& record) {
    const v1::Job& job = record.job;
    timed_.remove(record, job);
    if (state_of(job) == JobState::kQueued) waiting_.remove(record, is_suspect(job.crashes()));
  }
  // Keys of all queues in one map; a queue's name has no line end.
  static std::string key_name(const v1::JobSpec& spec) {
    return spec.idempotency_key().empty() ? std::string()
                                          : spec.queue() + "\n" + spec.idempotency_key();
  }
  void forget(Record& record) {
    const v1::Job& job = record.job;
    const auto key = keys_.find(to_absl(key_name(job.spec())));
    if (key != keys_.end() && key->second.job_id == job.spec().id()) {
      key->second.expire_ms = key_expire_ms(job, options_.retention_ms);
      expiring_keys_.emplace(key->second.expire_ms, key->first);
    }
    finished_.remove(record.age);
    finished_.publish();
    by_age_.erase(record.age);
    records_.erase(to_absl(std::string(job.spec().id())));
  }
  void forget_by_retention(const std::vector<int64_t>& ages) {
    for (const int64_t age : ages) forget(*by_age_.at(age));
    stats_.removed_jobs += ages.size();
  }

  // What follows when a job has come to its end; `record` may be gone then.
  void ended(Record& record) {
    tell_finished(record);
    const v1::JobSpec& spec = record.job.spec();
    if (retention_ms(spec, options_.retention_ms) == 0) {
      forget(record);
      ++stats_.removed_jobs;
      return;
    }
    finished_.add(spec.queue(), record.age, expire_ms(record.job, options_.retention_ms),
                  state_of(record.job));
    const std::vector<int64_t> surplus = finished_.surplus();
    finished_.publish();
    forget_by_retention(surplus);
  }

  Status settle_one(Settlement& settlement) {
    const Token& token = settlement.token;
    Record* record = find(token.job_id);
    if (record == nullptr) return unknown_job(token.job_id);
    if (running(token) == nullptr) {
      // A job that was handed back has no worker.
      const bool by_this_token = state_of(record->job) != JobState::kRunning && token.attempt > 0 &&
                                 record->job.attempt() == token.attempt &&
                                 record->worker == token.worker;
      return by_this_token ? absl::OkStatus() : refuse(token);
    }
    WEFT_RETURN_IF_ERROR(
        check_no_gap(token.job_id, record->job.last_sequence(), settlement.last_sequence));
    if (settlement.progress) *record->job.mutable_progress() = *std::move(settlement.progress);
    settle(record->job, settlement, wall_ns());
    --running_;
    if (is_finished(state_of(record->job))) {
      ended(*record);
    } else {
      wait(*record);
    }
    return absl::OkStatus();
  }

  static v1::Job without_payload(const v1::Job& job) {
    v1::Job copy = job;
    copy.mutable_spec()->clear_payload();
    return copy;
  }
  // As lists and listeners see it.
  static v1::Job in_brief(const v1::Job& job) {
    v1::Job copy = without_payload(job);
    copy.clear_errors();
    return copy;
  }
  void tell_finished(const Record& record) {
    if (listener_ != nullptr) listener_->on_finished(in_brief(record.job));
  }
  // Of the jobs that wait since the verb began.
  void tell_waiting() {
    const bool work = std::exchange(has_work_, false);
    const int64_t earliest_ms = std::exchange(earliest_ms_, kNoTime);
    if (listener_ == nullptr) return;
    if (work) listener_->on_work();
    if (earliest_ms != kNoTime) listener_->on_scheduled(time_until(earliest_ms, wall_ns()));
  }
  void count_commit(size_t operations) {
    ++stats_.commits;
    stats_.operations += operations;
  }

  const StoreOptions options_;
  OwnLoop own_loop_;
  Random random_;
  StoreListener* listener_ = nullptr;
  absl::flat_hash_map<std::string, std::unique_ptr<Record>> records_;
  std::map<int64_t, Record*> by_age_;
  int64_t last_age_ = 0;
  WaitingJobs<Record> waiting_;
  TimedJobs<Record> timed_;
  bool has_work_ = false;          // to be told
  int64_t earliest_ms_ = kNoTime;  // the same
  FinishedJobs finished_;
  absl::flat_hash_map<std::string, Key> keys_;
  std::set<std::pair<int64_t, std::string>> expiring_keys_;  // of jobs that are gone
  MemorySchedules schedules_;
  size_t running_ = 0;
  StoreStats stats_;
};

}  // namespace

std::unique_ptr<Store> make_memory_store(StoreOptions options) {
  return std::make_unique<MemoryStore>(options);
}

}  // namespace weft
