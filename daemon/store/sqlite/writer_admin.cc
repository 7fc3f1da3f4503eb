// Verbs of people and of the janitor.
#include <algorithm>

#include <weft/store/fingerprint.h>
#include <weft/store/job_record.h>
#include <weft/store/sqlite/writer.h>

namespace weft {
namespace {

constexpr int64_t kMillisecond_ns = 1'000'000;

}  // namespace

StatusOr<v1::Job> Writer::retry(const std::string& job_id, int64_t wall_ns) {
  if (const LiveJob* live = find(job_id)) return not_dead(job_id, live->state);
  JobRow there;
  if (!select_job(job_id, false, there)) return unknown_job(job_id);
  v1::Job& job = there.job;
  if (!next_state(state_of(job), JobEvent::kRetry, false)) return not_dead(job_id, state_of(job));
  WEFT_RETURN_IF_ERROR(check_not_expired(job, wall_ns));
  const std::string& queue = job.spec().queue();
  if (is_full(queue)) return queue_full(queue, queued_per_queue_);
  weft::retry(job, wall_ns);
  const StreamExtent extent = segments_.extent(there.row);
  job.set_first_sequence(segments_.first_sequence(there.row));
  job.set_last_sequence(std::max(job.last_sequence(), extent.last_sequence));
  delete_result_.bind(1, there.row).run();
  finished_.remove(there.row);
  LiveJob& live = add_live(job_id, there.row);
  select_place_.bind(1, there.row);
  if (select_place_.next()) live.place = select_place_.integer(0);
  select_place_.reset();
  update(live, job);
  wait(live, job);
  job.clear_errors();
  return std::move(job);
}

Status Writer::remove(const std::string& job_id, int64_t wall_ns) {
  if (const LiveJob* live = find(job_id)) return not_ended(job_id, live->state);
  JobRow there;
  if (!select_job(job_id, false, there)) return unknown_job(job_id);
  forget(there.row, wall_ns);
  return absl::OkStatus();
}

Writer::Swept Writer::sweep(size_t max_items, int64_t wall_ns) {
  const int64_t now_ms = wall_ns / kMillisecond_ns;
  const std::vector<int64_t> rows = finished_.expired(now_ms, max_items);
  Swept swept;
  swept.items = forget_some(rows, wall_ns);
  swept.more = swept.items < rows.size();
  if (!any_keys_ || swept.more || swept.items == max_items) return swept;
  sweep_keys_.bind(1, now_ms).bind(2, static_cast<int64_t>(max_items - swept.items)).run();
  if (database_.ok()) swept.items += sqlite3_changes64(database_.handle());
  return swept;
}

size_t Writer::forget_some(const std::vector<int64_t>& rows, int64_t wall_ns) {
  size_t bytes = 0;
  size_t count = 0;
  for (const int64_t row : rows) {
    if (bytes >= take_bytes_) break;
    bytes += stored_bytes(row);
    forget(row, wall_ns);
    ++count;
  }
  removing_ += count;
  return count;
}

size_t Writer::stored_bytes(int64_t row) {
  select_bytes_.bind(1, row);
  const int64_t bytes = select_bytes_.next() ? select_bytes_.integer(0) : 0;
  select_bytes_.reset();
  return static_cast<size_t>(bytes);
}

void Writer::finish_transaction(int64_t wall_ns) {
  forget_some(finished_.surplus(), wall_ns);
  segments_.write(insert_segment_, delete_segment_);
  if (earliest_ms_ == kNoTime) return;
  events_.emplace_back(StoreEvent::Kind::kScheduled, std::string(), std::string(),
                       static_cast<uint64_t>(earliest_ms_));
}

void Writer::forget(int64_t row, int64_t wall_ns) {
  JobRow there;
  select_by_row_.bind(1, row);
  if (select_by_row_.next()) {
    const bool parsed = read_job_row(select_by_row_, false, there);
    select_by_row_.reset();
    if (!parsed) return database_.note_damage(kBadRecord);
    keep_key(there.job, row, wall_ns);
  }
  delete_rows(row);
  finished_.remove(row);
}

void Writer::delete_rows(int64_t row) {
  delete_job_.bind(1, row).run();
  delete_payload_.bind(1, row).run();
  delete_result_.bind(1, row).run();
  delete_sends_.bind(1, row).bind(2, INT64_MAX).run();
  segments_.remove(row);
}

void Writer::keep_key(const v1::Job& job, int64_t row, int64_t wall_ns) {
  const std::string& key = job.spec().idempotency_key();
  if (key.empty()) return;
  const std::string& queue = job.spec().queue();
  const int64_t expire = key_expire_ms(job, retention_ms_);
  const bool over = expire <= wall_ns / kMillisecond_ns;
  if (key != job.spec().id()) {
    if (over) {
      delete_key_.bind_text(1, queue).bind_text(2, key).run();
    } else {
      expire_key_.bind_text(1, queue).bind_text(2, key).bind(3, expire).run();
    }
    return;
  }
  if (over) return;
  v1::JobSpec spec = job.spec();
  select_payload_.bind(1, row);
  if (select_payload_.next()) spec.set_payload(std::string(select_payload_.bytes(0)));
  select_payload_.reset();
  const std::string print = fingerprint(spec);
  insert_key_.bind_text(1, queue).bind_text(2, key).bind_text(3, key);
  insert_key_.bind_blob(4, print).bind(5, expire).run();
  any_keys_ = true;
}

std::optional<StatusOr<Submitted>> Writer::find_key(v1::JobSpec& spec, int64_t wall_ns) {
  const std::string& key = spec.idempotency_key();
  if (any_keys_) {
    select_key_.bind_text(1, spec.queue()).bind_text(2, key);
    if (select_key_.next()) {
      const std::string job_id(select_key_.bytes(0));
      const std::string print(select_key_.bytes(1));
      const bool over =
          !select_key_.is_null(2) && select_key_.integer(2) <= wall_ns / kMillisecond_ns;
      select_key_.reset();
      if (!over) {
        if (fingerprint(spec) != print) return other_spec_of_key(key);
        return Submitted(job_id, true);
      }
      delete_key_.bind_text(1, spec.queue()).bind_text(2, key).run();
    }
  }
  if (key == spec.id()) return std::nullopt;  // the job itself is looked for
  JobRow there;
  if (!select_job(key, true, there) || !same_key(there.job.spec(), spec)) return std::nullopt;
  if (fingerprint(spec) != fingerprint(*there.job.mutable_spec())) return other_spec_of_key(key);
  return Submitted(key, true);
}

void Writer::load_finished() {
  struct Finished {
    int64_t finish_ms;
    int64_t row;
    int64_t expire_ms;
    JobState end;
    std::string queue;
  };
  std::vector<Finished> all;
  Statement select(database_,
                   "SELECT row, first_sequence, worker_high, worker_low, spec, record, NULL, 0,"
                   " coalesce(place, row) FROM job WHERE state >= 4");
  JobRow found;
  while (select.next()) {
    found.job.Clear();
    if (!read_job_row(select, false, found)) {
      select.reset();
      return database_.note_damage(kBadRecord);
    }
    next_row_ = std::max(next_row_, select.integer(8) + 1);  // it can be retried
    segments_.expect(found.row, found.job.last_sequence());
    const int64_t expire = expire_ms(found.job, retention_ms_);
    all.push_back({expire - retention_ms(found.job.spec(), retention_ms_), found.row, expire,
                   state_of(found.job), found.job.spec().queue()});
  }
  std::sort(all.begin(), all.end(), [](const Finished& a, const Finished& b) {
    return std::pair(a.finish_ms, a.row) < std::pair(b.finish_ms, b.row);
  });
  for (const Finished& job : all) finished_.add(job.queue, job.row, job.expire_ms, job.end);
  finished_.publish();
}

}  // namespace weft
