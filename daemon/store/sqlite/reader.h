// Reader: the verbs that only read, on a connection and a thread of their own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <weft/store/job_admin.h>
#include <weft/store/sqlite/database.h>
#include <weft/store/sqlite/operation_thread.h>
#include <weft/store/sqlite/segment_log.h>
#include <weft/store/unreadable_schedules.h>

namespace weft {

// Sees what is committed. Thread: the reader thread's.
class Reader {
 public:
  Reader(Database& database, const SegmentLog& segments);

  StatusOr<v1::Job> get(const std::string& job_id, bool with_payload);
  StatusOr<StreamPage> read(const std::string& job_id, uint64_t from_sequence, size_t max_bytes);
  StatusOr<std::vector<StoredSend>> read_sends(const std::string& job_id, uint64_t after);
  StatusOr<JobPage> list(const JobFilter& filter, const std::string& position, size_t max_jobs);
  StatusOr<StoredSchedule> get_schedule(const std::string& name);
  StatusOr<std::vector<StoredSchedule>> list_schedules(const std::string& after, size_t max);
  StatusOr<DueSchedules> due_schedules(size_t max, int64_t now_ms);

 private:
  bool is_there(const std::string& job_id);
  // The log's index runs ahead of the record, which a running job's chunks do not rewrite.
  void add_extent(int64_t row, v1::Job& job) const;
  // UNAVAILABLE after a statement that failed; the connection is usable again.
  Status failed();
  // Null: the segment is gone.
  std::shared_ptr<ChunkBlock> read_span(const Span& span);

  Database& database_;
  const SegmentLog& segments_;
  Statement select_job_;
  Statement select_job_with_payload_;
  Statement select_row_;
  Statement select_sends_;
  Statement scan_jobs_;
  Statement last_send_;
  Statement select_schedule_;
  Statement list_schedules_;
  Statement due_schedules_;
  Statement count_schedules_;
  UnreadableSchedules unreadable_;
};

class ReaderThread final : public OperationThread {
 public:
  ReaderThread(BatchReceiver& receiver, Reader& reader)
      : OperationThread(receiver), reader_(reader) {}
  ~ReaderThread() override { stop(); }

 private:
  BatchResult process(OperationList batch) override;
  Reader& reader_;
};

}  // namespace weft
