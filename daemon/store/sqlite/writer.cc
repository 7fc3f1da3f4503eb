// Verbs that change the state of a job.
#include <absl/container/flat_hash_set.h>

#include <algorithm>

#include <weft/base/check.h>
#include <weft/base/id.h>
#include <weft/base/limits.h>
#include <weft/jobs/crash_policy.h>
#include <weft/store/fingerprint.h>
#include <weft/store/job_record.h>
#include <weft/store/sqlite/writer.h>

namespace weft {
namespace {

constexpr int64_t kMillisecond_ns = 1'000'000;
constexpr size_t kRecordBytes = 700;  // about what a parsed record takes beside its payload

}  // namespace

Writer::Writer(Database& database, SegmentLog& segments, const StoreOptions& options)
    : database_(database),
      segments_(segments),
      queued_per_queue_(options.queued_per_queue),
      take_bytes_(options.take_bytes),
      retention_ms_(options.retention_ms),
      random_(make_id_source(options)),
      insert_job_(database,
                  "INSERT INTO job(row, id, queue, state, first_sequence, worker_high, worker_low,"
                  " spec, record) VALUES(?1, ?2, ?3, ?6, 1, 0, 0, ?4, ?5) ON CONFLICT DO NOTHING"),
      insert_payload_(database, "INSERT INTO payload(job, data) VALUES(?1, ?2)"),
      insert_result_(database, "INSERT INTO result(job, data) VALUES(?1, ?2)"),
      update_job_(database,
                  "UPDATE job SET state = ?2, worker_high = ?3, worker_low = ?4, record = ?5"
                  " WHERE row = ?1"),
      update_place_(database, "UPDATE job SET place = ?2 WHERE row = ?1"),
      update_first_sequence_(database, "UPDATE job SET first_sequence = ?2 WHERE row = ?1"),
      select_job_(database, kSelectJob),
      select_job_with_payload_(database, kSelectJobWithPayload),
      insert_segment_(database, "INSERT INTO segment(id, spans, data) VALUES(?1, ?2, ?3)"),
      delete_segment_(database, "DELETE FROM segment WHERE id = ?1"),
      select_sends_(
          database,
          "SELECT number, sender, sender_number FROM send WHERE job = ?1 ORDER BY number"),
      select_last_send_(database, "SELECT coalesce(max(number), 0) FROM send WHERE job = ?1"),
      insert_send_(database,
                   "INSERT INTO send(job, number, sender, sender_number, value)"
                   " VALUES(?1, ?2, ?3, ?4, ?5)"),
      delete_sends_(database, "DELETE FROM send WHERE job = ?1 AND number <= ?2"),
      select_by_row_(database, kSelectRow),
      select_place_(database, "SELECT coalesce(place, row) FROM job WHERE row = ?1"),
      select_payload_(database, "SELECT data FROM payload WHERE job = ?1"),
      // Only lengths are asked for, so SQLite reads none of the bytes.
      select_bytes_(database,
                    "SELECT coalesce((SELECT length(data) FROM payload WHERE job = ?1), 0)"
                    " + coalesce((SELECT length(data) FROM result WHERE job = ?1), 0)"),
      select_key_(database,
                  "SELECT job, fingerprint, expire_ms FROM idempotency"
                  " WHERE queue = ?1 AND name = ?2"),
      insert_key_(database,
                  "INSERT OR REPLACE INTO idempotency(queue, name, job, fingerprint, expire_ms)"
                  " VALUES(?1, ?2, ?3, ?4, ?5)"),
      expire_key_(database, "UPDATE idempotency SET expire_ms = ?3 WHERE queue = ?1 AND name = ?2"),
      delete_key_(database, "DELETE FROM idempotency WHERE queue = ?1 AND name = ?2"),
      sweep_keys_(database,
                  "DELETE FROM idempotency WHERE (queue, name) IN"
                  " (SELECT queue, name FROM idempotency WHERE expire_ms <= ?1 LIMIT ?2)"),
      delete_job_(database, "DELETE FROM job WHERE row = ?1"),
      delete_payload_(database, "DELETE FROM payload WHERE job = ?1"),
      delete_result_(database, "DELETE FROM result WHERE job = ?1"),
      select_schedule_version_(database, "SELECT version FROM schedule WHERE name = ?1"),
      count_schedules_(database, "SELECT count(*) FROM schedule"),
      put_schedule_(database,
                    "INSERT INTO schedule(name, version, wake_ms, record) VALUES(?1, ?2, ?3, ?4)"
                    " ON CONFLICT(name) DO UPDATE SET version = excluded.version,"
                    " wake_ms = excluded.wake_ms, record = excluded.record"),
      delete_schedule_(database, "DELETE FROM schedule WHERE name = ?1"),
      finished_(options.finished_per_queue) {}

Writer::~Writer() {
  waiting_.clear();
  timed_.clear();
}

StatusOr<Submitted> Writer::submit(v1::JobSpec spec, int64_t wall_ns) {
  if (!spec.idempotency_key().empty()) {
    if (const auto answer = find_key(spec, wall_ns)) return *answer;
  }
  const bool own_id = spec.id().empty();
  if (own_id) {
    spec.set_id(make_job_id(wall_ns / 1'000'000, random_));
  } else if (LiveJob* there = find(spec.id())) {
    // Known without the file when it is hot; only then is the spec whole.
    if (!there->running() && there->job != nullptr) {
      WEFT_RETURN_IF_ERROR(check_same(there->job->spec(), spec));
      return Submitted(spec.id(), true);
    }
  }
  const bool full = is_full(spec.queue());
  if (full || !admission_.ok()) {
    // Said only to new jobs: a repeated submission is answered as before.
    JobRow there;
    if (own_id || !select_job(spec.id(), false, there)) {
      return full ? queue_full(spec.queue(), queued_per_queue_) : admission_;
    }
  }
  v1::Job job = new_job(std::move(spec), wall_ns);
  v1::JobSpec& stored = *job.mutable_spec();
  const std::string spec_bytes = encode_spec(stored);
  const std::string record_bytes = encode_record(job);
  const int64_t row = next_row_;
  insert_job_.bind(1, row).bind_text(2, stored.id()).bind_text(3, stored.queue());
  insert_job_.bind_blob(4, spec_bytes).bind_blob(5, record_bytes).bind(6, job.state()).run();
  if (database_.ok() && sqlite3_changes(database_.handle()) == 0) {
    JobRow there;
    if (own_id || !select_job(stored.id(), true, there)) return unknown_job(stored.id());
    WEFT_RETURN_IF_ERROR(check_same(there.job.spec(), stored));
    return Submitted(stored.id(), true);
  }
  ++next_row_;
  ++submitting_;
  if (!stored.payload().empty()) insert_payload_.bind(1, row).bind_blob(2, stored.payload()).run();
  const std::string& key = stored.idempotency_key();
  if (!key.empty() && key != stored.id()) {
    const std::string print = fingerprint(stored);
    insert_key_.bind_text(1, stored.queue()).bind_text(2, key).bind_text(3, stored.id());
    insert_key_.bind_blob(4, print).bind_null(5).run();
    any_keys_ = true;
  }
  LiveJob& live = add_live(stored.id(), row);
  wait(live, job);
  if (live.state == JobState::kQueued) keep_hot(live, std::move(job));
  return Submitted(live.id, false);
}

Status Writer::settle(Settlement& settlement, int64_t wall_ns) {
  const Token& token = settlement.token;
  LiveJob* live = running(token);
  if (live == nullptr) {
    // Of a waiting job the file has to say which attempt has put it off. One that was handed back
    // has no worker.
    const LiveJob* other = find(token.job_id);
    if (other != nullptr && (other->running() || other->worker != token.worker)) {
      return refuse(token);
    }
    JobRow there;
    if (!select_job(token.job_id, false, there)) return unknown_job(token.job_id);
    const bool by_this_token =
        token.attempt > 0 && there.job.attempt() == token.attempt && there.worker == token.worker;
    return by_this_token ? absl::OkStatus() : refuse(token);
  }
  WEFT_RETURN_IF_ERROR(
      check_no_gap(token.job_id, live->job->last_sequence(), settlement.last_sequence));
  if (settlement.progress) *live->job->mutable_progress() = *std::move(settlement.progress);
  weft::settle(*live->job, settlement, wall_ns);
  if (is_finished(state_of(*live->job))) {
    finish(*live, std::move(live->job), wall_ns);
    return absl::OkStatus();
  }
  update(*live, *live->job);
  stop_running(*live);
  wait(*live, *live->job);
  live->job.reset();
  return absl::OkStatus();
}

void Writer::take(const TakeRequest& request, int64_t wall_ns, std::vector<v1::Job>& jobs) {
  size_t bytes = 0;
  size_t ended = 0;
  WaitingJobs<LiveJob>::Take waiting(waiting_, request);
  while (jobs.size() < request.max_jobs) {
    if (bytes >= take_bytes_ || ended == limits::kPromoteBatch) {
      if (waiting_.size() > 0) tell_work();
      return;
    }
    LiveJob* live = waiting.next();
    if (live == nullptr) return;
    // Looked at first where there are any: what is not started needs no payload. Of jobs that are
    // hot memory knows.
    const bool hot = live->job != nullptr;
    if (live->timed && timed_.is_any_over(wall_ns / kMillisecond_ns) &&
        (!hot || overdue(*live->job, wall_ns))) {
      std::unique_ptr<v1::Job> brief = hot ? whole_job(*live) : brief_job(*live);
      if (brief == nullptr) return;
      if (const auto end = overdue(*brief, wall_ns)) {
        brief->mutable_spec()->clear_payload();
        waiting.give_back_room(brief->spec().type(), live->suspect);
        timed_.remove(*live, *brief);
        finish_overdue(*live, std::move(brief), *end, wall_ns);
        ++ended;
        continue;
      }
    }
    std::unique_ptr<v1::Job> job = whole_job(*live);
    if (job == nullptr) return;
    timed_.remove(*live, *job);
    job->set_last_sequence(
        std::max(job->last_sequence(), segments_.extent(live->row()).last_sequence));
    if (const ChunkBlockPtr entry = start_attempt(*job, request.worker_name, wall_ns)) {
      segments_.stage(live->row(), *entry);
    }
    std::string payload;
    payload.swap(*job->mutable_spec()->mutable_payload());
    live->worker = request.worker;
    live->consumed = 0;
    start_running(*live);
    update(*live, *job);
    jobs.push_back(*job);
    jobs.back().clear_errors();
    bytes += payload.size();
    jobs.back().mutable_spec()->mutable_payload()->swap(payload);
    live->job = std::move(job);
  }
}

Promoted Writer::promote(size_t max_jobs, int64_t wall_ns) {
  Promoted promoted;
  for (; promoted.jobs < max_jobs; ++promoted.jobs) {
    LiveJob* live = timed_.first(wall_ns / kMillisecond_ns);
    if (live == nullptr) break;
    std::unique_ptr<v1::Job> job = brief_job(*live);
    if (job == nullptr) break;
    leave(*live, *job);
    if (const auto end = overdue(*job, wall_ns)) {
      finish_overdue(*live, std::move(job), *end, wall_ns);
      continue;
    }
    weft::promote(*job);
    update(*live, *job);
    live->place = next_row_++;
    update_place_.bind(1, live->row()).bind(2, live->place).run();
    wait(*live, *job);
  }
  if (const int64_t next = timed_.next_ms(); next != kNoTime) {
    promoted.next_in = time_until(next, wall_ns);
  }
  return promoted;
}

void Writer::finish_overdue(LiveJob& live, std::unique_ptr<v1::Job> job, JobState end,
                            int64_t wall_ns) {
  job->set_last_sequence(
      std::max(job->last_sequence(), segments_.extent(live.row()).last_sequence));
  if (live.sends == nullptr) {
    select_last_send_.bind(1, live.row());
    if (select_last_send_.next()) {
      job->set_last_send(static_cast<uint64_t>(select_last_send_.integer(0)));
    }
    select_last_send_.reset();
  }
  end_overdue(*job, end, wall_ns);
  finish(live, std::move(job), wall_ns);
}

std::vector<Status> Writer::release(const std::vector<Token>& tokens, int64_t wall_ns) {
  std::vector<Status> answers;
  std::vector<LiveJob*> jobs;
  absl::flat_hash_set<LiveJob*> seen;
  for (const Token& token : tokens) {
    LiveJob* live = running(token);
    const bool first = live != nullptr && seen.insert(live).second;
    answers.push_back(first ? absl::OkStatus() : refuse(token));
    if (first) jobs.push_back(live);
  }
  give_back_all(std::move(jobs), JobEvent::kRelease, wall_ns);
  return answers;
}

void Writer::recover(int64_t wall_ns) {
  std::vector<LiveJob*> jobs;
  for (const auto& [id, live] : live_) {
    if (live->running()) jobs.push_back(live.get());
  }
  const bool suspect_ran =
      std::any_of(jobs.begin(), jobs.end(), [](const LiveJob* live) { return live->suspect; });
  std::erase_if(jobs, [&](LiveJob* live) {
    v1::Job& job = *live->job;
    job.set_crashes(count_crash(job.crashes(), suspect_ran));
    if (!is_crash_dead(job.crashes())) return false;
    end_crashed(job, wall_ns);
    finish(*live, std::move(live->job), wall_ns);
    return true;
  });
  give_back_all(std::move(jobs), JobEvent::kCrash, wall_ns);
}

void Writer::give_back_all(std::vector<LiveJob*> jobs, JobEvent event, int64_t wall_ns) {
  // Newest first to the front, so that the oldest stands first.
  std::sort(jobs.begin(), jobs.end(),
            [](const LiveJob* a, const LiveJob* b) { return a->place > b->place; });
  for (LiveJob* live : jobs) {
    give_back(*live->job, event, wall_ns);
    live->worker = Incarnation();
    if (is_finished(state_of(*live->job))) {
      finish(*live, std::move(live->job), wall_ns);
      continue;
    }
    update(*live, *live->job);
    stop_running(*live);
    wait(*live, *live->job);
    live->job.reset();  // without its payload it is not whole
  }
}

Status Writer::save_progress(const Token& token, v1::Progress progress) {
  LiveJob* live = running(token);
  if (live == nullptr) return refuse(token);
  *live->job->mutable_progress() = std::move(progress);
  update(*live, *live->job);
  return absl::OkStatus();
}

StatusOr<std::optional<v1::CancelResponse>> Writer::cancel(const std::string& job_id,
                                                           const std::string& reason, bool readable,
                                                           int64_t wall_ns) {
  v1::CancelResponse response;
  LiveJob* live = find(job_id);
  if (live == nullptr) {
    JobRow there;
    if (!select_job(job_id, false, there)) return unknown_job(job_id);
    response.set_result(v1::CancelResponse::ALREADY_FINISHED);
    response.set_state(there.job.state());
    return std::optional(response);
  }
  if (live->running()) {
    response.set_result(v1::CancelResponse::REQUESTED);
    response.set_state(live->job->state());
    if (live->job->cancel_requested()) return std::optional(response);
    live->job->set_cancel_requested(true);
    live->job->set_cancel_reason(reason);
    update(*live, *live->job);
    events_.emplace_back(StoreEvent::Kind::kCancelRequested, job_id, reason, 0);
    return std::optional(response);
  }
  if (live->job == nullptr && !readable) return std::optional<v1::CancelResponse>();
  std::unique_ptr<v1::Job> job = whole_job(*live);
  if (job == nullptr) return unknown_job(job_id);
  job->mutable_spec()->clear_payload();
  job->set_last_sequence(
      std::max(job->last_sequence(), segments_.extent(live->row()).last_sequence));
  leave(*live, *job);
  cancel_now(*job, reason, wall_ns);
  response.set_result(v1::CancelResponse::CANCELLED);
  response.set_state(job->state());
  finish(*live, std::move(job), wall_ns);
  return std::optional(response);
}

void Writer::finish(LiveJob& live, std::unique_ptr<v1::Job> job, int64_t wall_ns) {
  const int64_t row = live.row();
  job->set_first_sequence(segments_.first_sequence(row));
  if (retention_ms(job->spec(), retention_ms_) == 0) {
    keep_key(*job, row, wall_ns);
    delete_rows(row);
    ++removing_;
  } else {
    const std::string& result = job->outcome().result();
    if (!result.empty()) insert_result_.bind(1, row).bind_blob(2, result).run();
    update(live, *job);
    finished_.add(job->spec().queue(), row, expire_ms(*job, retention_ms_), state_of(*job));
  }
  if (live.running()) stop_running(live);
  hot_bytes_ -= live.hot_bytes;
  oldest_ended_row_ = std::min(oldest_ended_row_, row);
  if (live.sends != nullptr) job->set_last_send(live.sends->last());
  job->clear_errors();
  events_.emplace_back(std::move(*job));
  live_.erase(to_absl(events_.back().job.spec().id()));
}

void Writer::update(LiveJob& live, v1::Job& job) {
  const std::string record = encode_record(job);
  update_job_.bind(1, live.row()).bind(2, job.state());
  update_job_.bind(3, static_cast<int64_t>(live.worker.high));
  update_job_.bind(4, static_cast<int64_t>(live.worker.low)).bind_blob(5, record).run();
}

Writer::LiveJob* Writer::find(const std::string& job_id) {
  const auto found = live_.find(to_absl(job_id));
  return found == live_.end() ? nullptr : found->second.get();
}

Writer::LiveJob* Writer::running(const Token& token) {
  LiveJob* live = find(token.job_id);
  const bool fresh = live != nullptr && live->running() && live->job->attempt() == token.attempt &&
                     live->worker == token.worker;
  return fresh ? live : nullptr;
}

Status Writer::refuse(const Token& token) {
  ++stale_tokens_;
  return stale_token(token);
}

Writer::LiveJob& Writer::add_live(std::string id, int64_t row) {
  auto live = std::make_unique<LiveJob>();
  live->id = std::move(id);
  live->age = row;
  live->place = row;
  LiveJob& added = *live;
  live_.emplace(to_absl(added.id), std::move(live));
  return added;
}

void Writer::wait(LiveJob& live, const v1::Job& job) {
  live.state = state_of(job);
  live.suspect = is_suspect(job.crashes());
  live.timed = over_ms(job) != kNoTime;
  timed_.add(live, job);
  earliest_ms_ = std::min(earliest_ms_, next_time_ms(job));
  if (live.state == JobState::kScheduled) return;
  waiting_.add(job.spec().queue(), job.spec().type(), live, live.suspect);
  tell_work();
}

void Writer::leave(LiveJob& live, const v1::Job& job) {
  timed_.remove(live, job);
  if (live.state == JobState::kQueued) waiting_.remove(live, live.suspect);
}

bool Writer::is_full(const std::string& queue) const {
  return waiting_.size(queue) + timed_.scheduled(queue) >= queued_per_queue_;
}

void Writer::start_running(LiveJob& live) {
  live.state = JobState::kRunning;
  ++running_;
  if (live.suspect) ++running_suspects_;
}

void Writer::stop_running(LiveJob& live) {
  live.state = JobState::kQueued;
  --running_;
  if (live.suspect) --running_suspects_;
}

void Writer::keep_hot(LiveJob& live, v1::Job job) {
  const size_t bytes = kRecordBytes + job.spec().payload().size();
  if (hot_bytes_ + bytes > limits::kHotJobBytes) return;
  live.hot_bytes = static_cast<uint32_t>(bytes);
  hot_bytes_ += bytes;
  live.job = std::make_unique<v1::Job>(std::move(job));
}

std::unique_ptr<v1::Job> Writer::brief_job(LiveJob& live) {
  JobRow found;
  select_by_row_.bind(1, live.row());
  const bool parsed = select_by_row_.next() && read_job_row(select_by_row_, false, found);
  select_by_row_.reset();
  if (!parsed) {
    database_.note_damage(kBadRecord);  // it was there when it began to wait
    return nullptr;
  }
  return std::make_unique<v1::Job>(std::move(found.job));
}

std::unique_ptr<v1::Job> Writer::whole_job(LiveJob& live) {
  if (live.job != nullptr) {
    hot_bytes_ -= live.hot_bytes;
    live.hot_bytes = 0;
    if (live.sends != nullptr) live.job->set_last_send(live.sends->last());
    live.job->set_first_sequence(segments_.first_sequence(live.row()));
    return std::move(live.job);
  }
  JobRow found;
  if (!select_job(live.id, true, found)) {
    database_.note_damage(kBadRecord);  // it was there when it was queued
    return nullptr;
  }
  return std::make_unique<v1::Job>(std::move(found.job));
}

bool Writer::select_job(const std::string& job_id, bool with_payload, JobRow& out) {
  Statement& select = with_payload ? select_job_with_payload_ : select_job_;
  select.bind_text(1, job_id);
  if (!select.next()) return false;
  const bool parsed = read_job_row(select, with_payload, out);
  select.reset();
  if (!parsed) database_.note_damage(kBadRecord);
  return parsed;
}

void Writer::tell_work() {
  if (work_told_) return;
  work_told_ = true;
  events_.emplace_back(StoreEvent::Kind::kWork, std::string(), std::string(), 0);
}

}  // namespace weft
