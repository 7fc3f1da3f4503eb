// All of a store in maps; the loop is the only thread, so a commit is an assignment.
#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <map>
#include <utility>

#include <weft/base/id.h>
#include <weft/base/limits.h>
#include <weft/jobs/crash_policy.h>
#include <weft/runtime/sleep.h>
#include <weft/store/fingerprint.h>
#include <weft/store/finished_jobs.h>
#include <weft/store/job_list.h>
#include <weft/store/job_record.h>
#include <weft/store/memory/memory_job.h>
#include <weft/store/memory/memory_keys.h>
#include <weft/store/memory/memory_schedules.h>
#include <weft/store/memory/memory_store.h>
#include <weft/store/own_loop.h>
#include <weft/store/timed_jobs.h>
#include <weft/store/waiting_jobs.h>

namespace weft {
namespace {

constexpr int64_t kMillisecond_ns = 1'000'000;

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
    const int64_t now_ns = wall_ns();
    std::vector<StatusOr<Submitted>> answers;
    answers.reserve(specs.size());
    for (v1::JobSpec& spec : specs) answers.push_back(submit_one(std::move(spec), now_ns));
    tell_waiting();
    co_return answers;
  }

  Task<StatusOr<Taken>> settle_and_take(std::vector<Settlement> settlements,
                                        TakeRequest take) override {
    own_loop_.enter();
    co_await yield_now();
    count_commit(settlements.size() + 1);
    const int64_t now_ns = wall_ns();
    Taken taken;
    for (Settlement& settlement : settlements)
      taken.settled.push_back(settle_one(settlement, now_ns));
    size_t bytes = 0;
    size_t ended_here = 0;
    WaitingJobs<MemoryJob>::Take waiting(waiting_, take);
    while (taken.jobs.size() < take.max_jobs) {
      if (bytes >= options_.take_bytes || ended_here == limits::kPromoteBatch) {
        has_work_ = has_work_ || waiting_.size() > 0;
        break;
      }
      MemoryJob* record = waiting.next();
      if (record == nullptr) break;
      timed_.remove(*record, record->job);
      if (const auto end = overdue(record->job, now_ns)) {
        waiting.give_back_room(record->job.spec().type(), is_suspect(record->job.crashes()));
        end_overdue(record->job, *end, now_ns);
        ended(*record);
        ++ended_here;
        continue;
      }
      if (const ChunkBlockPtr entry = start_attempt(record->job, take.worker_name, now_ns)) {
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
    const int64_t now_ns = wall_ns();
    Promoted promoted;
    for (; promoted.jobs < max_jobs; ++promoted.jobs) {
      MemoryJob* record = timed_.first(now_ns / kMillisecond_ns);
      if (record == nullptr) break;
      v1::Job& job = record->job;
      const auto end = overdue(job, now_ns);
      leave(*record);
      if (end) {
        end_overdue(job, *end, now_ns);
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
      promoted.next_in = time_until(next, now_ns);
    }
    co_return promoted;
  }

  Task<std::vector<Status>> release(std::vector<Token> tokens) override {
    own_loop_.enter();
    co_await yield_now();
    count_commit(tokens.size());
    const int64_t now_ns = wall_ns();
    std::vector<Status> answers;
    std::vector<MemoryJob*> released;
    for (const Token& token : tokens) {
      MemoryJob* record = running(token);
      answers.push_back(record != nullptr ? absl::OkStatus() : refuse(token));
      if (record == nullptr) continue;
      record->worker = Incarnation();
      released.push_back(record);
    }
    // Newest first to the front, so that the oldest stands first.
    std::sort(released.begin(), released.end(),
              [](const MemoryJob* a, const MemoryJob* b) { return a->place > b->place; });
    for (MemoryJob* record : released) {
      give_back(record->job, JobEvent::kRelease, now_ns);
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
      MemoryJob* record = running(token);
      answers.push_back(record != nullptr ? absl::OkStatus() : refuse(token));
      if (record != nullptr) *record->job.mutable_progress() = std::move(value);
    }
    co_return answers;
  }

  Task<StatusOr<v1::CancelResponse>> cancel(std::string job_id, std::string reason) override {
    own_loop_.enter();
    co_await yield_now();
    count_commit(1);
    MemoryJob* record = find(job_id);
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
    const MemoryJob* record = find(job_id);
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
      MemoryJob* record = running(append.token);
      answers.push_back(record != nullptr ? record->append(append) : refuse(append.token));
    }
    co_return answers;
  }

  Task<StatusOr<StreamPage>> read(std::string job_id, uint64_t from_sequence,
                                  size_t max_bytes) override {
    own_loop_.enter();
    co_await yield_now();
    const MemoryJob* record = find(job_id);
    if (record == nullptr) co_return unknown_job(job_id);
    co_return record->read(from_sequence, max_bytes);
  }

  Task<Status> trim(std::string job_id, uint64_t first_sequence) override {
    own_loop_.enter();
    co_await yield_now();
    count_commit(1);
    MemoryJob* record = find(job_id);
    if (record == nullptr) co_return unknown_job(job_id);
    record->trim(first_sequence);
    co_return absl::OkStatus();
  }

  Task<StatusOr<uint64_t>> send(std::string job_id, std::string sender, uint64_t number,
                                std::string value) override {
    own_loop_.enter();
    co_await yield_now();
    count_commit(1);
    MemoryJob* record = find(job_id);
    if (record == nullptr) co_return unknown_job(job_id);
    if (const auto before = record->sends.find(sender, number)) co_return *before;
    const StatusOr<uint64_t> given = record->send(std::move(sender), number, value);
    if (given.ok() && listener_ != nullptr) listener_->on_send(job_id, *given, value);
    co_return given;
  }

  Task<StatusOr<std::vector<StoredSend>>> read_sends(std::string job_id, uint64_t after) override {
    own_loop_.enter();
    co_await yield_now();
    const MemoryJob* record = find(job_id);
    if (record == nullptr) co_return unknown_job(job_id);
    co_return record->read_sends(after);
  }

  void consumed(const Token& token, uint64_t number) override {
    own_loop_.enter();
    if (MemoryJob* record = running(token)) {
      record->consumed = std::max(record->consumed, std::min(number, record->job.last_send()));
    }
  }

  Task<StatusOr<JobPage>> list(JobFilter filter, std::string position, size_t max_jobs) override {
    own_loop_.enter();
    co_await yield_now();
    const StatusOr<int64_t> before = parse_position(position);
    if (!before.ok()) co_return before.status();
    JobPage page;
    const int64_t newest = by_age_.empty() ? 0 : by_age_.rbegin()->first;
    page.from = to_position(std::min(*before, newest + 1));
    size_t looked_at = 0;
    for (auto next = by_age_.lower_bound(*before); next != by_age_.begin();) {
      if (page.jobs.size() == max_jobs || looked_at == list_scan(filter)) {
        page.next = to_position(next->first);
        break;
      }
      --next;
      ++looked_at;
      const v1::Job& job = next->second->job;
      if (!matches_state_and_queue(filter, job.state(), job.spec().queue())) continue;
      if (!matches_record(filter, job)) continue;
      page.jobs.push_back(in_brief(job));
      if (job.has_outcome()) page.jobs.back().mutable_outcome()->clear_result();
    }
    co_return StatusOr<JobPage>(std::move(page));
  }

  Task<StatusOr<v1::Job>> retry(std::string job_id) override {
    own_loop_.enter();
    co_await yield_now();
    count_commit(1);
    MemoryJob* record = find(job_id);
    if (record == nullptr) co_return unknown_job(job_id);
    v1::Job& job = record->job;
    const int64_t now_ns = wall_ns();
    if (!next_state(state_of(job), JobEvent::kRetry, false)) {
      co_return not_dead(job_id, state_of(job));
    }
    if (const Status expired = check_not_expired(job, now_ns); !expired.ok()) co_return expired;
    const std::string& queue = job.spec().queue();
    if (is_full(queue)) co_return queue_full(queue, options_.queued_per_queue);
    weft::retry(job, now_ns);
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
    MemoryJob* record = find(job_id);
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
    co_return ages.size() + keys_.sweep(now_ms, max_items - ages.size());
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
  // Once a verb: two looks can find a clock that was set back in between.
  static int64_t wall_ns() { return EventLoop::current()->wall_ns(); }

  MemoryJob* find(const std::string& job_id) {
    const auto found = records_.find(to_absl(job_id));
    return found == records_.end() ? nullptr : found->second.get();
  }
  // The record that `token` runs, or null.
  MemoryJob* running(const Token& token) {
    MemoryJob* record = find(token.job_id);
    const bool fresh = record != nullptr && state_of(record->job) == JobState::kRunning &&
                       record->job.attempt() == token.attempt && record->worker == token.worker;
    return fresh ? record : nullptr;
  }
  Status refuse(const Token& token) {
    ++stats_.stale_tokens;
    return stale_token(token);
  }

  StatusOr<Submitted> submit_one(v1::JobSpec spec, int64_t now_ns) {
    const std::string& key = spec.idempotency_key();
    const std::string print = key.empty() ? std::string() : fingerprint(spec);
    if (const MemoryKeys::Key* known = keys_.find(spec, now_ns / kMillisecond_ns)) {
      if (known->fingerprint != print) return other_spec_of_key(key);
      return Submitted(known->job_id, true);
    }
    if (spec.id().empty()) {
      do {
        spec.set_id(make_job_id(now_ns / kMillisecond_ns, random_));
      } while (find(spec.id()) != nullptr);
    } else if (const MemoryJob* there = find(spec.id())) {
      WEFT_RETURN_IF_ERROR(check_same(there->job.spec(), spec));
      return Submitted(spec.id(), true);
    }
    if (is_full(spec.queue())) return queue_full(spec.queue(), options_.queued_per_queue);
    auto record = std::make_unique<MemoryJob>();
    record->job = new_job(std::move(spec), now_ns);
    record->age = ++last_age_;
    record->place = record->age;
    by_age_.emplace(record->age, record.get());
    const v1::JobSpec& stored = record->job.spec();
    wait(*record);
    keys_.add(stored, print);
    ++stats_.submitted_jobs;
    Submitted answer(stored.id(), false);
    records_.emplace(stored.id(), std::move(record));
    return answer;
  }

  bool is_full(const std::string& queue) const {
    return waiting_.size(queue) + timed_.scheduled(queue) >= options_.queued_per_queue;
  }
  // QUEUED or SCHEDULED from now on.
  void wait(MemoryJob& record) {
    const v1::Job& job = record.job;
    timed_.add(record, job);
    earliest_ms_ = std::min(earliest_ms_, next_time_ms(job));
    if (state_of(job) == JobState::kScheduled) return;
    waiting_.add(job.spec().queue(), job.spec().type(), record, is_suspect(job.crashes()));
    has_work_ = true;
  }
  // Before its state changes.
  void leave(MemoryJob& record) {
    const v1::Job& job = record.job;
    timed_.remove(record, job);
    if (state_of(job) == JobState::kQueued) waiting_.remove(record, is_suspect(job.crashes()));
  }
  void forget(MemoryJob& record) {
    const v1::Job& job = record.job;
    keys_.expire(job.spec(), key_expire_ms(job, options_.retention_ms));
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
  void ended(MemoryJob& record) {
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

  Status settle_one(Settlement& settlement, int64_t now_ns) {
    const Token& token = settlement.token;
    MemoryJob* record = find(token.job_id);
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
    settle(record->job, settlement, now_ns);
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
  void tell_finished(const MemoryJob& record) {
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
  absl::flat_hash_map<std::string, std::unique_ptr<MemoryJob>> records_;
  std::map<int64_t, MemoryJob*> by_age_;
  int64_t last_age_ = 0;
  WaitingJobs<MemoryJob> waiting_;
  TimedJobs<MemoryJob> timed_;
  bool has_work_ = false;          // to be told
  int64_t earliest_ms_ = kNoTime;  // the same
  FinishedJobs finished_;
  MemoryKeys keys_;
  MemorySchedules schedules_;
  size_t running_ = 0;
  StoreStats stats_;
};

}  // namespace

std::unique_ptr<Store> make_memory_store(StoreOptions options) {
  return std::make_unique<MemoryStore>(options);
}

}  // namespace weft
