// Encoding of job rows. Nothing is copied that only has to be left out: it is taken off and put
// back.
#include <utility>

#include <weft/store/sqlite/job_rows.h>

namespace weft {

std::string encode_spec(v1::JobSpec& spec) {
  std::string payload;
  payload.swap(*spec.mutable_payload());
  std::string bytes = spec.SerializeAsString();
  spec.mutable_payload()->swap(payload);
  return bytes;
}

std::string encode_record(v1::Job& job) {
  v1::JobSpec* spec = job.release_spec();
  std::string result;
  if (job.has_outcome()) result.swap(*job.mutable_outcome()->mutable_result());
  std::string bytes = job.SerializeAsString();
  if (job.has_outcome()) job.mutable_outcome()->mutable_result()->swap(result);
  job.set_allocated_spec(spec);
  return bytes;
}

bool read_job_row(Statement& statement, bool with_payload, JobRow& out) {
  out.row = statement.integer(0);
  out.worker.high = static_cast<uint64_t>(statement.integer(2));
  out.worker.low = static_cast<uint64_t>(statement.integer(3));
  const std::string_view spec = statement.bytes(4);
  const std::string_view record = statement.bytes(5);
  if (!out.job.ParseFromArray(record.data(), static_cast<int>(record.size())) ||
      !out.job.mutable_spec()->ParseFromArray(spec.data(), static_cast<int>(spec.size()))) {
    return false;
  }
  // Nothing at all would parse, too.
  if (out.job.state() == v1::JOB_STATE_UNSPECIFIED || out.job.spec().id().empty()) return false;
  out.job.set_first_sequence(static_cast<uint64_t>(statement.integer(1)));
  if (!statement.is_null(6)) {
    out.job.mutable_outcome()->set_result(std::string(statement.bytes(6)));
  }
  out.job.set_last_send(static_cast<uint64_t>(statement.integer(7)));
  if (with_payload) out.job.mutable_spec()->set_payload(std::string(statement.bytes(8)));
  return true;
}

}  // namespace weft
