// Transactions, their failure, and checkpoints.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include <weft/base/limits.h>
#include <weft/store/sqlite/commit_thread.h>
#include <weft/store/sqlite/schema.h>

namespace weft {
namespace {

constexpr int kRetryMs = 500;

bool is_disk_full(int code) { return (code & 0xff) == SQLITE_FULL || code == SQLITE_IOERR_SHMSIZE; }

int note_wal_pages(void* pages, sqlite3*, const char*, int count) {
  *static_cast<int*>(pages) = count;
  return SQLITE_OK;
}

}  // namespace

CommitThread::CommitThread(BatchReceiver& receiver, Database& database, Writer& writer,
                           uint64_t free_disk_bytes)
    : OperationThread(receiver),
      database_(database),
      writer_(writer),
      begin_(database, "BEGIN IMMEDIATE"),
      commit_(database, "COMMIT"),
      checkpoint_at_pages_(limits::kCheckpointPages),
      free_disk_(database.path(), free_disk_bytes) {
  sqlite3_wal_hook(database.handle(), note_wal_pages, &wal_pages_);
}

BatchResult CommitThread::process(OperationList batch) {
  BatchResult result;
  // A batch that writes nothing would seem to have mended it, and every one that fails makes memory
  // anew.
  if (!health_.ok() && !can_write()) {
    for (const auto& operation : batch) operation->fail(health_);
    result.error = health_;
    result.operations = std::move(batch);
    result.stats = stats();
    result.has_stats = true;
    return result;
  }
  Durability durability = Durability::kProcess;
  size_t items = 0;
  for (const auto& operation : batch) {
    if (operation->durability == Durability::kPower) durability = Durability::kPower;
    items += operation->items;
  }
  writer_.set_admission(free_disk_.check(std::chrono::steady_clock::now()));
  use_durability(durability);
  begin_.run();
  const bool begun = database_.ok();
  if (begun) {
    // As late as can be: what expired while the operations waited is not started any more.
    OperationContext context{.writer = &writer_, .reader = nullptr, .wall_ns = wall_ns()};
    for (const auto& operation : batch) operation->run(context);
    writer_.finish_transaction(context.wall_ns);
    commit_.run();
  }
  if (begun && database_.ok()) {
    writer_.publish();
    set_health(absl::OkStatus());
    ++stats_.commits;
    stats_.operations += items;
    result.events = writer_.take_events();
  } else {
    exit_if_fatal();
    const Status status = cannot_commit();
    const bool disk_full = is_disk_full(database_.code());
    broken_ = !recover_from_error(begun);
    // What the log holds already can go into the file: then its room is used again.
    if (disk_full && !broken_) checkpoint(SQLITE_CHECKPOINT_PASSIVE);
    set_health(status);
    for (const auto& operation : batch) operation->fail(status);
    result.error = status;
  }
  result.operations = std::move(batch);
  result.stats = stats();
  result.has_stats = true;
  return result;
}

const StoreStats& CommitThread::stats() {
  stats_.submitted_jobs = writer_.submitted();
  stats_.queued_jobs = writer_.queued();
  stats_.scheduled_jobs = writer_.scheduled();
  stats_.running_jobs = writer_.running();
  stats_.suspect_jobs = writer_.suspects();
  const FinishedJobs& finished = writer_.finished();
  stats_.finished_jobs = finished.size();
  stats_.succeeded_jobs = finished.count(JobState::kSucceeded);
  stats_.dead_jobs = finished.count(JobState::kDead);
  stats_.cancelled_jobs = finished.count(JobState::kCancelled);
  stats_.expired_jobs = finished.count(JobState::kExpired);
  stats_.removed_jobs = writer_.removed();
  stats_.stale_tokens = writer_.stale_tokens();
  stats_.admission = free_disk_.check(std::chrono::steady_clock::now());
  return stats_;
}

Status CommitThread::cannot_commit() const {
  return retry_error(
      StatusCode::kUnavailable,
      "the store " + database_.path() + " cannot commit now (" + database_.error() + "): " +
          (is_disk_full(database_.code()) ? "free some space on its disk, then try again"
                                          : "try again"),
      kRetryMs);
}

Status CommitThread::health() const {
  std::lock_guard lock(health_mutex_);
  return health_;
}

void CommitThread::set_health(Status health) {
  if (health.ok() && health_.ok()) return;
  std::lock_guard lock(health_mutex_);
  health_ = std::move(health);
}

std::chrono::milliseconds CommitThread::patience() const {
  return std::chrono::milliseconds(health_.ok() ? 0 : kRetryMs);
}

void CommitThread::on_idle() { can_write(); }

bool CommitThread::can_write() {
  if (broken_) broken_ = !recover_from_error(true);
  if (broken_) return false;
  begin_.run();
  database_.exec(("PRAGMA user_version=" + std::to_string(schema_version())).c_str());
  commit_.run();
  const bool written = database_.ok();
  set_health(written ? absl::OkStatus() : cannot_commit());
  if (written) return true;
  exit_if_fatal();
  broken_ = !recover_from_error(false);
  return false;
}

bool CommitThread::recover_from_error(bool memory_differs) {
  database_.clear_error();
  if (sqlite3_get_autocommit(database_.handle()) == 0) database_.exec("ROLLBACK");
  if (memory_differs) writer_.load();
  exit_if_fatal();
  return database_.ok();
}

void CommitThread::exit_if_fatal() const {
  if (!database_.fatal()) return;
  std::fprintf(
      stderr,
      "weft: the store %s is damaged or its disk failed (%s, SQLite code %d): check the disk, "
      "restore the file from a backup if it stays unreadable, then start again\n",
      database_.path().c_str(), database_.error().c_str(), database_.code());
  std::abort();
}

void CommitThread::use_durability(Durability durability) {
  if (durability == durability_) return;
  database_.exec(durability == Durability::kPower ? "PRAGMA synchronous=FULL"
                                                  : "PRAGMA synchronous=NORMAL");
  if (database_.ok()) durability_ = durability;
}

void CommitThread::after_batch() {
  // When there is time for it, or when the log is so long that it must not grow any more.
  if (wal_pages_ < checkpoint_at_pages_) return;
  if (!idle() && wal_pages_ < limits::kCheckpointLatePages) return;
  checkpoint(SQLITE_CHECKPOINT_PASSIVE);
}

void CommitThread::checkpoint(int mode) {
  int in_log = 0;
  int done = 0;
  const int code = sqlite3_wal_checkpoint_v2(database_.handle(), nullptr, mode, &in_log, &done);
  if (code != SQLITE_BUSY) database_.note(code);
  if (!database_.ok()) {
    // The transactions stand in the log: a full disk only postpones the checkpoint.
    exit_if_fatal();
    database_.clear_error();
  }
  // A reader can hold back the end of it: then not again before there is more to do.
  const bool whole = code == SQLITE_OK && in_log == done;
  checkpoint_at_pages_ = limits::kCheckpointPages + (whole ? 0 : in_log);
  wal_pages_ = whole ? 0 : in_log;
}

void CommitThread::on_stop() { checkpoint(SQLITE_CHECKPOINT_TRUNCATE); }

}  // namespace weft
