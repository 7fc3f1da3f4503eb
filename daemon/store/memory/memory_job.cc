// Streams and sends of jobs in memory.
#include <algorithm>
#include <utility>

#include <weft/base/limits.h>
#include <weft/store/job_record.h>
#include <weft/store/memory/memory_job.h>

namespace weft {

Status MemoryJob::append(const Append& append) {
  StatusOr<ChunkBlockPtr> entries = new_entries(append, job.last_sequence());
  if (!entries.ok() || *entries == nullptr) return entries.status();
  job.set_last_sequence((*entries)->last_sequence());
  blocks.push_back(*std::move(entries));
  return absl::OkStatus();
}

StatusOr<StreamPage> MemoryJob::read(uint64_t from_sequence, size_t max_bytes) const {
  StreamPage page;
  page.first_sequence = job.first_sequence();
  page.last_sequence = job.last_sequence();
  if (from_sequence == 0) from_sequence = page.first_sequence;
  if (from_sequence < page.first_sequence) {
    return below_first_sequence(from_sequence, page.first_sequence);
  }
  auto block = std::partition_point(blocks.begin(), blocks.end(), [&](const ChunkBlockPtr& b) {
    return b->last_sequence() < from_sequence;
  });
  size_t bytes = 0;
  for (; block != blocks.end() && (bytes < max_bytes || page.blocks.empty()); ++block) {
    page.blocks.push_back(slice_block(*block, from_sequence, max_bytes - bytes));
    bytes += page.blocks.back()->bytes.size();
    if (page.blocks.back()->last_sequence() != (*block)->last_sequence()) break;
  }
  return page;
}

void MemoryJob::trim(uint64_t first_sequence) {
  first_sequence = std::min(first_sequence, job.last_sequence() + 1);
  if (first_sequence <= job.first_sequence()) return;
  job.set_first_sequence(first_sequence);
  while (!blocks.empty() && blocks.front()->last_sequence() < first_sequence) blocks.pop_front();
}

StatusOr<uint64_t> MemoryJob::send(std::string sender, uint64_t number, const std::string& value) {
  if (is_finished(state_of(job))) return ended_job(job.spec().id(), state_of(job));
  if (sends.full(consumed)) return too_many_sends(job.spec().id());
  const uint64_t given = sends.next();
  sends.add(SendLog::Entry(given, std::move(sender), number));
  values.emplace_back(given, value);
  if (values.size() > limits::kKeptSends) values.pop_front();
  job.set_last_send(given);
  return given;
}

std::vector<StoredSend> MemoryJob::read_sends(uint64_t after) const {
  std::vector<StoredSend> newer;
  for (const StoredSend& send : values) {
    if (send.number > after) newer.push_back(send);
  }
  return newer;
}

}  // namespace weft
