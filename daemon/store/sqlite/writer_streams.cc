// Verbs of streams and sends, the ends of a transaction, and loading.
#include <algorithm>
#include <functional>
#include <queue>
#include <set>

#include <weft/base/limits.h>
#include <weft/jobs/crash_policy.h>
#include <weft/store/job_record.h>
#include <weft/store/sqlite/writer.h>

namespace weft {

// Puts queued jobs, which come by row, into their queues by place: that is quick, and out of order
// it is not. A place that is not its row is larger.
class Writer::LineUp {
 public:
  explicit LineUp(WaitingJobs<LiveJob>& waiting) : waiting_(waiting) {}
  void add(LiveJob& live, const v1::JobSpec& spec) {
    if (live.place != live.row()) {
      const Lane& lane = *lanes_.emplace(spec.queue(), spec.type()).first;
      moved_.push(Moved{live.place, &live, &lane});
      return;
    }
    add_moved(live.place);
    waiting_.add(spec.queue(), spec.type(), live, live.suspect);
  }
  void add_rest() { add_moved(INT64_MAX); }

 private:
  using Lane = std::pair<std::string, std::string>;
  struct Moved {
    int64_t place;
    LiveJob* live;
    const Lane* lane;
    bool operator>(const Moved& other) const { return place > other.place; }
  };
  void add_moved(int64_t before) {
    while (!moved_.empty() && moved_.top().place < before) {
      const Moved& next = moved_.top();
      waiting_.add(next.lane->first, next.lane->second, *next.live, next.live->suspect);
      moved_.pop();
    }
  }

  WaitingJobs<LiveJob>& waiting_;
  std::set<Lane> lanes_;
  std::priority_queue<Moved, std::vector<Moved>, std::greater<>> moved_;
};

Status Writer::append(const Append& append) {
  LiveJob* live = running(append.token);
  if (live == nullptr) return refuse(append.token);
  StatusOr<ChunkBlockPtr> entries = new_entries(append, live->job->last_sequence());
  if (!entries.ok() || *entries == nullptr) return entries.status();
  live->job->set_last_sequence((*entries)->last_sequence());
  segments_.stage(live->row(), **entries);
  return absl::OkStatus();
}

Status Writer::trim(const std::string& job_id, uint64_t first_sequence) {
  int64_t row = 0;
  uint64_t last_sequence = 0;
  if (LiveJob* live = find(job_id)) {
    row = live->row();
    if (live->running()) last_sequence = live->job->last_sequence();
  } else {
    JobRow there;
    if (!select_job(job_id, false, there)) return unknown_job(job_id);
    row = there.row;
  }
  const StreamExtent extent = segments_.extent(row);
  first_sequence = std::min(first_sequence, std::max(last_sequence, extent.last_sequence) + 1);
  if (first_sequence <= segments_.first_sequence(row)) return absl::OkStatus();
  update_first_sequence_.bind(1, row).bind(2, static_cast<int64_t>(first_sequence)).run();
  segments_.trim(row, first_sequence);
  return absl::OkStatus();
}

StatusOr<uint64_t> Writer::send(const std::string& job_id, const std::string& sender,
                                uint64_t number, const std::string& value) {
  LiveJob* live = find(job_id);
  if (live == nullptr) {
    JobRow there;
    if (!select_job(job_id, false, there)) return unknown_job(job_id);
    if (const auto before = load_sends(there.row)->find(sender, number)) return *before;
    return ended_job(job_id, state_of(there.job));
  }
  if (live->sends == nullptr) live->sends = load_sends(live->row());
  SendLog& sends = *live->sends;
  if (const auto before = sends.find(sender, number)) return *before;
  if (sends.full(live->consumed)) return too_many_sends(job_id);
  const uint64_t given = sends.next();
  insert_send_.bind(1, live->row()).bind(2, static_cast<int64_t>(given)).bind_text(3, sender);
  insert_send_.bind(4, static_cast<int64_t>(number)).bind_blob(5, value).run();
  sends.add(SendLog::Entry(given, sender, number));
  if (given > limits::kKeptSends) {
    delete_sends_.bind(1, live->row())
        .bind(2, static_cast<int64_t>(given - limits::kKeptSends))
        .run();
  }
  if (live->running()) live->job->set_last_send(given);
  events_.emplace_back(StoreEvent::Kind::kSend, job_id, value, given);
  return given;
}

std::unique_ptr<SendLog> Writer::load_sends(int64_t row) {
  auto log = std::make_unique<SendLog>();
  select_sends_.bind(1, row);
  while (select_sends_.next()) {
    log->add(SendLog::Entry(static_cast<uint64_t>(select_sends_.integer(0)),
                            std::string(select_sends_.bytes(1)),
                            static_cast<uint64_t>(select_sends_.integer(2))));
  }
  return log;
}

void Writer::consumed(const Token& token, uint64_t number) {
  LiveJob* live = running(token);
  if (live == nullptr) return;
  const uint64_t last = live->sends != nullptr ? live->sends->last() : live->job->last_send();
  live->consumed = std::max(live->consumed, std::min(number, last));
}

void Writer::publish() {
  segments_.publish();
  finished_.publish();
  removed_ += std::exchange(removing_, 0);
  submitted_ += std::exchange(submitting_, 0);
  work_told_ = false;
  earliest_ms_ = kNoTime;
  oldest_ended_row_ = INT64_MAX;
}

void Writer::load() {
  // What running attempts have looked at is known here alone.
  absl::flat_hash_map<std::string, std::pair<uint64_t, uint64_t>> consumed;
  for (const auto& [id, live] : live_) {
    if (live->running() && live->job != nullptr) {
      consumed[live->id] = {live->job->attempt(), live->consumed};
    }
  }
  if (loaded_) {
    oldest_live_row_ = std::min(next_row_, oldest_ended_row_);
    for (const auto& [id, live] : live_) oldest_live_row_ = std::min(oldest_live_row_, live->row());
  }
  loaded_ = false;
  waiting_.clear();
  timed_.clear();
  live_.clear();
  events_.clear();
  work_told_ = false;
  earliest_ms_ = kNoTime;
  running_ = 0;
  running_suspects_ = 0;
  hot_bytes_ = 0;

  segments_.discard();
  finished_.discard();
  removing_ = 0;
  submitting_ = 0;
  any_keys_ = database_.query_integer("SELECT EXISTS(SELECT 1 FROM idempotency)") != 0;

  Statement jobs(database_,
                 "SELECT row, first_sequence, worker_high, worker_low, spec, record, NULL,"
                 " (SELECT max(number) FROM send WHERE job = row), state, coalesce(place, row)"
                 " FROM job WHERE row >= ?1 AND state < 4 ORDER BY row");
  jobs.bind(1, oldest_live_row_);
  LineUp line(waiting_);
  while (jobs.next()) {
    JobRow row;
    if (!read_job_row(jobs, false, row)) {
      jobs.reset();
      database_.note_damage(kBadRecord);
      return;
    }
    segments_.expect(row.row, row.job.last_sequence());
    LiveJob& live = add_live(row.job.spec().id(), row.row);
    live.state = static_cast<JobState>(jobs.integer(8));
    live.place = jobs.integer(9);
    next_row_ = std::max(next_row_, live.place + 1);
    live.suspect = is_suspect(row.job.crashes());
    live.worker = row.worker;
    if (!live.running()) {
      live.timed = over_ms(row.job) != kNoTime;
      timed_.add(live, row.job);
      if (live.state == JobState::kQueued) line.add(live, row.job.spec());
      continue;
    }
    start_running(live);
    live.job = std::make_unique<v1::Job>(std::move(row.job));
    live.job->set_last_sequence(
        std::max(live.job->last_sequence(), segments_.extent(live.row()).last_sequence));
    const auto known = consumed.find(to_absl(live.id));
    if (known != consumed.end() && known->second.first == live.job->attempt()) {
      live.consumed = known->second.second;
    }
  }
  line.add_rest();
  const int64_t newest_row = database_.query_integer("SELECT coalesce(max(row), 0) FROM job");
  next_row_ = std::max(next_row_, std::max(newest_row, segments_.newest_job()) + 1);
  oldest_ended_row_ = INT64_MAX;
  loaded_ = database_.ok();
}

}  // namespace weft
