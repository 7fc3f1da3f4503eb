// A job as its rows: what of the record stands in which column.
#pragma once

#include <cstdint>
#include <string>

#include <weft/store/sqlite/database.h>
#include <weft/store/token.h>
#include <weft/v1/job.pb.h>

namespace weft {

// The `spec` column: without the payload. The `record` column: without spec and result.
std::string encode_spec(v1::JobSpec& spec);
std::string encode_record(v1::Job& job);

// Finds one job by id; yields the columns that the functions below read.
inline constexpr char kSelectJob[] =
    "SELECT j.row, j.first_sequence, j.worker_high, j.worker_low, j.spec, j.record, r.data,"
    " (SELECT max(number) FROM send WHERE job = j.row)"
    " FROM job j LEFT JOIN result r ON r.job = j.row WHERE j.id = ?1";
// The same, with the payload as the last column.
inline constexpr char kSelectJobWithPayload[] =
    "SELECT j.row, j.first_sequence, j.worker_high, j.worker_low, j.spec, j.record, r.data,"
    " (SELECT max(number) FROM send WHERE job = j.row), p.data"
    " FROM job j LEFT JOIN result r ON r.job = j.row LEFT JOIN payload p ON p.job = j.row"
    " WHERE j.id = ?1";

// One job by its row: the same columns without the result and the last send.
inline constexpr char kSelectRow[] =
    "SELECT row, first_sequence, worker_high, worker_low, spec, record, NULL, 0"
    " FROM job WHERE row = ?1";
// Jobs older than a row, newest first: the same columns, but without the result and the last send,
// which a scan has no time for; then state and queue.
inline constexpr char kScanJobs[] =
    "SELECT row, first_sequence, worker_high, worker_low, spec, record, NULL, 0, state, queue"
    " FROM job WHERE row < ?1 ORDER BY row DESC";

class JobRow {
 public:
  int64_t row = 0;
  Incarnation worker;
  v1::Job job;
};
// What to call a row that does not parse.
inline constexpr char kBadRecord[] = "the row of a job is not what it should be";
// False: what is stored does not parse.
bool read_job_row(Statement& statement, bool with_payload, JobRow& out);

}  // namespace weft
