// Segment rows: encoding, the index over them, and what may be deleted.
#include <algorithm>
#include <bit>
#include <cstring>

#include <weft/base/check.h>
#include <weft/store/sqlite/segment_log.h>

namespace weft {
namespace {

static_assert(std::endian::native == std::endian::little, "segments are stored little-endian");

// A segment is cut here, so that reading its end walks a bounded chain of pages.
constexpr size_t kSegmentBytes = 1 << 20;
// The trim that leaves nothing, not even a stream to go on with.
constexpr uint64_t kRemoved = UINT64_MAX;

// How a span stands in the `spans` column.
struct StoredSpan {
  int64_t job;
  uint64_t first_sequence;
  uint32_t count;
  uint32_t offset;
  uint32_t size;
  uint32_t kind;
};
static_assert(sizeof(StoredSpan) == 32);

}  // namespace

void SegmentLog::load(Database& database) {
  std::lock_guard lock(mutex_);
  Statement trimmed(database, "SELECT row, first_sequence FROM job WHERE first_sequence > 1");
  while (trimmed.next()) {
    StreamExtent& extent = stream(trimmed.integer(0)).extent;
    extent.first_sequence = static_cast<uint64_t>(trimmed.integer(1));
    // With the whole stream trimmed, this is all that is known of its end.
    extent.last_sequence = extent.first_sequence - 1;
  }
  Statement select(database, "SELECT id, spans FROM segment ORDER BY id");
  while (select.next()) {
    const int64_t segment = select.integer(0);
    const std::string_view bytes = select.bytes(1);
    next_segment_ = segment + 1;
    living_[segment] = 0;
    for (size_t at = 0; at + sizeof(StoredSpan) <= bytes.size(); at += sizeof(StoredSpan)) {
      StoredSpan stored;
      std::memcpy(&stored, bytes.data() + at, sizeof stored);
      const Span span{segment,      stored.first_sequence,
                      stored.count, stored.offset,
                      stored.size,  static_cast<ChunkBlock::Kind>(stored.kind)};
      // A page of another time: nothing in it can be trusted.
      if (stored.job <= 0 || span.count == 0 || span.first_sequence == 0) {
        select.reset();
        return database.note_damage("a segment of chunks is not what it should be");
      }
      newest_job_ = std::max(newest_job_, stored.job);
      insert_loaded(stored.job, span);
    }
    if (living_[segment] == 0) bury(segment);
  }
  forget_jobs_that_are_gone(database);
}

void SegmentLog::insert_loaded(int64_t job, const Span& span) {
  Stream& to = stream(job);
  if (span.last_sequence() >= to.extent.first_sequence) {
    const bool fits =
        to.spans.empty() ? span.first_sequence <= to.extent.first_sequence
                         : span.first_sequence == to.spans[to.spans.size() - 1].last_sequence() + 1;
    if (!fits) to.damaged = true;
  }
  insert(job, span);
}

void SegmentLog::expect(int64_t job, uint64_t last_sequence) {
  std::lock_guard lock(mutex_);
  if (last_sequence == 0) return;
  Stream& loaded = stream(job);
  if (loaded.extent.last_sequence < last_sequence) loaded.damaged = true;
}

bool SegmentLog::damaged(int64_t job) const {
  std::lock_guard lock(mutex_);
  const auto found = streams_.find(job);
  return found != streams_.end() && found->second->damaged;
}

void SegmentLog::forget_jobs_that_are_gone(Database& database) {
  Statement select(database, "SELECT 1 FROM job WHERE row = ?1");
  std::vector<int64_t> gone;
  for (const auto& [job, stream] : streams_) {
    select.bind(1, job);
    if (!select.next()) gone.push_back(job);
    select.reset();
  }
  if (!database.ok()) return;
  for (const int64_t job : gone) {
    Ring<Span>& spans = streams_.at(job)->spans;
    while (!spans.empty()) {
      const int64_t segment = spans.pop_front().segment;
      if (--living_[segment] == 0) bury(segment);
    }
    streams_.erase(job);
  }
}

void SegmentLog::stage(int64_t job, const ChunkBlock& block) {
  if (data_.size() >= kSegmentBytes) cut();
  const size_t offset = data_.size();
  const size_t ends_bytes = block.ends.size() * sizeof(uint32_t);
  data_.append(reinterpret_cast<const char*>(block.ends.data()), ends_bytes);
  data_.append(block.bytes);
  const Span span{next_segment_ + static_cast<int64_t>(full_.size()),
                  block.first_sequence,
                  static_cast<uint32_t>(block.count()),
                  static_cast<uint32_t>(offset),
                  static_cast<uint32_t>(ends_bytes + block.bytes.size()),
                  block.kind};
  staged_.push_back({job, span});
}

void SegmentLog::cut() {
  full_.emplace_back(staged_.size(), std::move(data_));
  data_.clear();
  cut_at_ = staged_.size();
}

void SegmentLog::write(Statement& insert, Statement& remove) {
  if (staged_.size() > cut_at_) cut();
  std::string spans;
  size_t begin = 0;
  for (size_t i = 0; i < full_.size(); ++i) {
    const auto& [end, data] = full_[i];
    spans.clear();
    for (; begin < end; ++begin) {
      const Span& span = staged_[begin].span;
      const StoredSpan stored{staged_[begin].job, span.first_sequence,
                              span.count,         span.offset,
                              span.size,          static_cast<uint32_t>(span.kind)};
      spans.append(reinterpret_cast<const char*>(&stored), sizeof stored);
    }
    insert.bind(1, next_segment_ + static_cast<int64_t>(i)).bind_blob(2, spans).bind_blob(3, data);
    insert.run();
  }
  std::vector<int64_t> emptied = dead_;
  find_emptied(emptied);
  for (const int64_t segment : emptied) remove.bind(1, segment).run();
}

void SegmentLog::find_emptied(std::vector<int64_t>& segments) const {
  absl::flat_hash_map<int64_t, uint32_t> leaving;
  std::lock_guard lock(mutex_);
  for (const auto& [job, first_sequence] : trims_) {
    const auto found = streams_.find(job);
    if (found == streams_.end()) continue;
    Ring<Span>& of_job = found->second->spans;
    for (size_t i = 0; i < of_job.size() && of_job[i].last_sequence() < first_sequence; ++i) {
      const int64_t segment = of_job[i].segment;
      if (++leaving[segment] == living_.at(segment)) segments.push_back(segment);
    }
  }
}

void SegmentLog::publish() {
  std::lock_guard lock(mutex_);
  dead_.clear();
  for (const auto& [job, first_sequence] : trims_) {
    if (first_sequence == kRemoved && !streams_.contains(job)) continue;
    cut_head(job, first_sequence);
    if (first_sequence == kRemoved) streams_.erase(job);
  }
  for (size_t i = 0; i < full_.size(); ++i) living_[next_segment_ + static_cast<int64_t>(i)] = 0;
  for (const Staged& staged : staged_) {
    const auto trim = trims_.find(staged.job);
    if (trim != trims_.end() && trim->second == kRemoved) continue;
    insert(staged.job, staged.span);
  }
  for (size_t i = 0; i < full_.size(); ++i) {
    // Trimmed in the transaction that wrote it.
    const int64_t segment = next_segment_ + static_cast<int64_t>(i);
    if (living_[segment] == 0) bury(segment);
  }
  next_segment_ += static_cast<int64_t>(full_.size());
  trims_.clear();
  staged_.clear();
  full_.clear();
  cut_at_ = 0;
}

void SegmentLog::discard() {
  trims_.clear();
  staged_.clear();
  full_.clear();
  data_.clear();
  cut_at_ = 0;
}

void SegmentLog::insert(int64_t job, const Span& span) {
  Stream& to = stream(job);
  to.extent.last_sequence = std::max(to.extent.last_sequence, span.last_sequence());
  if (span.last_sequence() < to.extent.first_sequence) return;
  to.spans.push_back(span);
  ++living_[span.segment];
}

void SegmentLog::cut_head(int64_t job, uint64_t first_sequence) {
  Stream& from = stream(job);
  from.extent.first_sequence = std::max(from.extent.first_sequence, first_sequence);
  while (!from.spans.empty() && from.spans.front().last_sequence() < first_sequence) {
    const int64_t segment = from.spans.pop_front().segment;
    if (--living_[segment] == 0) living_.erase(segment);  // its row went in the transaction
  }
}

void SegmentLog::bury(int64_t segment) {
  living_.erase(segment);
  dead_.push_back(segment);
}

SegmentLog::Stream& SegmentLog::stream(int64_t job) {
  std::unique_ptr<Stream>& found = streams_[job];
  if (found == nullptr) found = std::make_unique<Stream>();
  return *found;
}

void SegmentLog::trim(int64_t job, uint64_t first_sequence) {
  uint64_t& staged = trims_[job];
  staged = std::max(staged, first_sequence);
}

void SegmentLog::remove(int64_t job) { trims_[job] = kRemoved; }

uint64_t SegmentLog::first_sequence(int64_t job) const {
  const auto staged = trims_.find(job);
  return std::max(extent(job).first_sequence, staged == trims_.end() ? 1 : staged->second);
}

StreamExtent SegmentLog::extent(int64_t job) const {
  std::lock_guard lock(mutex_);
  const auto found = streams_.find(job);
  return found == streams_.end() ? StreamExtent() : found->second->extent;
}

StreamExtent SegmentLog::find(int64_t job, uint64_t from_sequence, size_t max_bytes,
                              std::vector<Span>& spans) const {
  spans.clear();
  std::lock_guard lock(mutex_);
  const auto found = streams_.find(job);
  if (found == streams_.end()) return StreamExtent();
  const StreamExtent& extent = found->second->extent;
  if (from_sequence == 0) from_sequence = extent.first_sequence;
  if (from_sequence < extent.first_sequence) return extent;
  Ring<Span>& all = found->second->spans;
  size_t low = 0;
  size_t high = all.size();
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (all[middle].last_sequence() < from_sequence) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  size_t bytes = 0;
  for (; low < all.size() && (spans.empty() || bytes < max_bytes); ++low) {
    spans.push_back(all[low]);
    // The first span is read from its middle when from_sequence is there.
    const Span& span = all[low];
    const uint64_t skipped =
        from_sequence > span.first_sequence ? from_sequence - span.first_sequence : 0;
    bytes += span.size * (span.count - skipped) / span.count;
  }
  return extent;
}

std::shared_ptr<ChunkBlock> decode_span(const Span& span, std::string_view bytes) {
  const size_t ends_bytes = span.count * sizeof(uint32_t);
  if (span.count == 0 || bytes.size() != span.size || bytes.size() < ends_bytes) return nullptr;
  auto block = std::make_shared<ChunkBlock>(span.first_sequence, span.kind);
  block->ends.resize(span.count);
  std::memcpy(block->ends.data(), bytes.data(), ends_bytes);
  block->bytes.assign(bytes.substr(ends_bytes));
  if (!std::is_sorted(block->ends.begin(), block->ends.end()) ||
      block->ends.back() != block->bytes.size()) {
    return nullptr;
  }
  return block;
}

}  // namespace weft
