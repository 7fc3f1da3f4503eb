// Reading jobs, chunks and sends.
#include <algorithm>

#include <weft/base/limits.h>
#include <weft/store/job_list.h>
#include <weft/store/job_record.h>
#include <weft/store/sqlite/reader.h>

namespace weft {
namespace {

constexpr int kRetryMs = 500;
constexpr int kFindAgain = 3;  // a trim can delete a segment between finding and reading it

constexpr char kBadChunks[] = "a segment of chunks is not what it should be";

// Closes an incremental blob.
struct BlobCloser {
  void operator()(sqlite3_blob* blob) const { sqlite3_blob_close(blob); }
};

}  // namespace

Reader::Reader(Database& database, const SegmentLog& segments)
    : database_(database),
      segments_(segments),
      select_job_(database, kSelectJob),
      select_job_with_payload_(database, kSelectJobWithPayload),
      select_row_(database, "SELECT row, record FROM job WHERE id = ?1"),
      select_sends_(database,
                    "SELECT number, value FROM send WHERE job = ?1 AND number > ?2"
                    " ORDER BY number"),
      scan_jobs_(database, kScanJobs),
      last_send_(database, "SELECT coalesce(max(number), 0) FROM send WHERE job = ?1"),
      select_schedule_(database, "SELECT version, record, name FROM schedule WHERE name = ?1"),
      list_schedules_(database,
                      "SELECT version, record, name FROM schedule WHERE name > ?1 ORDER BY name"),
      due_schedules_(database,
                     "SELECT version, record, name, wake_ms FROM schedule WHERE wake_ms IS NOT NULL"
                     " ORDER BY wake_ms"),
      count_schedules_(database, "SELECT count(*) FROM schedule") {}

StatusOr<v1::Job> Reader::get(const std::string& job_id, bool with_payload) {
  Statement& select = with_payload ? select_job_with_payload_ : select_job_;
  select.bind_text(1, job_id);
  if (!select.next()) return database_.ok() ? unknown_job(job_id) : failed();
  JobRow found;
  const bool parsed = read_job_row(select, with_payload, found);
  select.reset();
  if (!parsed) {
    database_.note_damage(kBadRecord);
    return failed();
  }
  add_extent(found.row, found.job);
  return std::move(found.job);
}

void Reader::add_extent(int64_t row, v1::Job& job) const {
  // Both ends of the same moment: the row may be older, and trims may have come in between.
  const StreamExtent extent = segments_.extent(row);
  job.set_first_sequence(std::max(job.first_sequence(), extent.first_sequence));
  job.set_last_sequence(std::max(job.last_sequence(), extent.last_sequence));
}

StatusOr<JobPage> Reader::list(const JobFilter& filter, const std::string& position,
                               size_t max_jobs) {
  const StatusOr<int64_t> before = parse_position(position);
  if (!before.ok()) return before.status();
  JobPage page;
  size_t looked_at = 0;
  int64_t last_row = *before;
  page.from = to_position(1);  // in case there are none
  scan_jobs_.bind(1, *before);
  while (scan_jobs_.next()) {
    if (page.jobs.size() == max_jobs || looked_at == list_scan(filter)) {
      scan_jobs_.reset();
      page.next = to_position(last_row);
      break;
    }
    last_row = scan_jobs_.integer(0);
    if (looked_at++ == 0) page.from = to_position(last_row + 1);
    const auto state = static_cast<v1::JobState>(scan_jobs_.integer(8));
    if (!matches_state_and_queue(filter, state, scan_jobs_.bytes(9))) continue;
    JobRow found;
    if (!read_job_row(scan_jobs_, false, found)) {
      scan_jobs_.reset();
      database_.note_damage(kBadRecord);
      break;
    }
    if (!matches_record(filter, found.job)) continue;
    last_send_.bind(1, found.row);
    if (last_send_.next()) found.job.set_last_send(static_cast<uint64_t>(last_send_.integer(0)));
    last_send_.reset();
    add_extent(found.row, found.job);
    found.job.clear_errors();
    page.jobs.push_back(std::move(found.job));
  }
  if (!database_.ok()) return failed();
  return page;
}

StatusOr<StreamPage> Reader::read(const std::string& job_id, uint64_t from_sequence,
                                  size_t max_bytes) {
  select_row_.bind_text(1, job_id);
  if (!select_row_.next()) return database_.ok() ? unknown_job(job_id) : failed();
  const int64_t row = select_row_.integer(0);
  select_row_.reset();
  if (segments_.damaged(row)) {
    database_.note_damage("chunks of job " + job_id + " are missing");
    return failed();
  }
  for (int round = 0; round < kFindAgain; ++round) {
    std::vector<Span> spans;
    const StreamExtent extent = segments_.find(row, from_sequence, max_bytes, spans);
    const uint64_t from = from_sequence == 0 ? extent.first_sequence : from_sequence;
    if (from < extent.first_sequence) return below_first_sequence(from, extent.first_sequence);
    StreamPage page;
    page.first_sequence = extent.first_sequence;
    page.last_sequence = extent.last_sequence;
    if (extent.last_sequence == 0 && !is_there(job_id)) {
      return database_.ok() ? unknown_job(job_id) : failed();  // removed since the first look
    }
    size_t bytes = 0;
    bool gone = false;
    for (const Span& span : spans) {
      const std::shared_ptr<ChunkBlock> block = read_span(span);
      if (!database_.ok()) return failed();
      gone = block == nullptr;
      if (gone) break;
      if (bytes >= max_bytes && !page.blocks.empty()) break;
      page.blocks.push_back(slice_block(block, from, max_bytes - std::min(bytes, max_bytes)));
      bytes += page.blocks.back()->bytes.size();
      if (page.blocks.back()->last_sequence() != span.last_sequence()) break;
    }
    if (!gone) return page;
  }
  return retry_error(StatusCode::kUnavailable,
                     "the stream of job " + job_id + " is being trimmed: try again", kRetryMs);
}

bool Reader::is_there(const std::string& job_id) {
  select_row_.bind_text(1, job_id);
  const bool found = select_row_.next();
  select_row_.reset();
  return found;
}

std::shared_ptr<ChunkBlock> Reader::read_span(const Span& span) {
  sqlite3_blob* opened = nullptr;
  const int code =
      sqlite3_blob_open(database_.handle(), "main", "segment", "data", span.segment, 0, &opened);
  std::unique_ptr<sqlite3_blob, BlobCloser> blob(opened);
  if (code == SQLITE_ERROR) return nullptr;  // no such row
  database_.note(code);
  if (!database_.ok()) return nullptr;
  if (span.offset + static_cast<uint64_t>(span.size) >
      static_cast<uint64_t>(sqlite3_blob_bytes(blob.get()))) {
    database_.note_damage(kBadChunks);
    return nullptr;
  }
  std::string bytes(span.size, '\0');
  database_.note(sqlite3_blob_read(blob.get(), bytes.data(), static_cast<int>(span.size),
                                   static_cast<int>(span.offset)));
  if (!database_.ok()) return nullptr;
  std::shared_ptr<ChunkBlock> block = decode_span(span, bytes);
  if (block == nullptr) database_.note_damage(kBadChunks);
  return block;
}

StatusOr<std::vector<StoredSend>> Reader::read_sends(const std::string& job_id, uint64_t after) {
  select_row_.bind_text(1, job_id);
  if (!select_row_.next()) return database_.ok() ? unknown_job(job_id) : failed();
  const int64_t row = select_row_.integer(0);
  select_row_.reset();
  std::vector<StoredSend> sends;
  select_sends_.bind(1, row).bind(2, static_cast<int64_t>(after));
  while (select_sends_.next()) {
    sends.emplace_back(static_cast<uint64_t>(select_sends_.integer(0)),
                       std::string(select_sends_.bytes(1)));
  }
  if (!database_.ok()) return failed();
  return sends;
}

Status Reader::failed() {
  const Status status =
      database_.damaged() ? make_status(StatusCode::kDataLoss,
                                        "the store " + database_.path() + " is damaged (" +
                                            database_.error() + "): restore it from a backup")
                          : retry_error(StatusCode::kUnavailable,
                                        "the store " + database_.path() + " cannot be read now (" +
                                            database_.error() + "): try again",
                                        kRetryMs);
  database_.clear_error();
  return status;
}

BatchResult ReaderThread::process(OperationList batch) {
  OperationContext context{.writer = nullptr, .reader = &reader_, .wall_ns = wall_ns()};
  for (const auto& operation : batch) operation->run(context);
  BatchResult result;
  result.operations = std::move(batch);
  return result;
}

}  // namespace weft
