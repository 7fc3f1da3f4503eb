// SegmentLog: where in the segment rows each stream's entries are. A row a transaction for all
// streams is ten times as fast as a row a chunk.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <weft/base/ring.h>
#include <weft/store/sqlite/database.h>
#include <weft/store/stream_store.h>

namespace weft {

// Neighbouring entries of one stream in one segment. In the segment's data, from `offset` on: the
// ends of the entries as 32-bit numbers, then their bytes; `size` bytes in all.
struct Span {
  int64_t segment = 0;
  uint64_t first_sequence = 0;
  uint32_t count = 0;
  uint32_t offset = 0;
  uint32_t size = 0;
  ChunkBlock::Kind kind = ChunkBlock::Kind::kChunks;
  uint64_t last_sequence() const { return first_sequence + count - 1; }
};

struct StreamExtent {
  uint64_t first_sequence = 1;
  uint64_t last_sequence = 0;
};

// Streams are named by their job's row.
// Thread: the commit thread's, except extent(), damaged() and find(), which are anybody's.
class SegmentLog {
 public:
  SegmentLog() = default;

  // Reads the file, before anybody else asks. Check database.ok() after it.
  void load(Database& database);
  // Right after it: entries up to this one were stored, or the stream is damaged().
  void expect(int64_t job, uint64_t last_sequence);
  // No span of an older or newer job than this one was loaded.
  int64_t newest_job() const { return newest_job_; }

  // Adds to the transaction. write() puts it into rows; publish() lets it be seen, all at once, and
  // discard() forgets it: nobody sees what a transaction that failed would have done.
  void stage(int64_t job, const ChunkBlock& block);
  void trim(int64_t job, uint64_t first_sequence);
  // Forgets the whole stream: its job is gone, and its row is never another job's.
  void remove(int64_t job);
  // Inserts what is staged and deletes segments in which nothing lives.
  void write(Statement& insert, Statement& remove);
  void publish();
  void discard();
  // The oldest entry kept, as the open transaction leaves it. Thread: the commit thread's.
  uint64_t first_sequence(int64_t job) const;

  StreamExtent extent(int64_t job) const;
  // The file did not have all of its entries.
  bool damaged(int64_t job) const;
  // Where entries from `from_sequence` on (0: the oldest kept) are, about `max_bytes` of them, and
  // the extent at the same moment.
  StreamExtent find(int64_t job, uint64_t from_sequence, size_t max_bytes,
                    std::vector<Span>& spans) const;

 private:
  struct Stream {
    StreamExtent extent;
    bool damaged = false;
    Ring<Span> spans;
  };
  struct Staged {
    int64_t job;
    Span span;
  };
  void cut();
  // Adds the segments in which nothing lives after the staged trims.
  void find_emptied(std::vector<int64_t>& segments) const;
  // With mutex_ held.
  void insert(int64_t job, const Span& span);
  // The same for one that was in the file.
  void insert_loaded(int64_t job, const Span& span);
  void cut_head(int64_t job, uint64_t first_sequence);
  void bury(int64_t segment);
  // What stands in segments that it shares with living streams is skipped when they are loaded.
  void forget_jobs_that_are_gone(Database& database);
  Stream& stream(int64_t job);

  std::vector<Staged> staged_;
  std::vector<std::pair<size_t, std::string>> full_;  // end in staged_, data
  std::string data_;
  size_t cut_at_ = 0;                             // staged_ from here on is in data_
  absl::flat_hash_map<int64_t, uint64_t> trims_;  // job → its new first sequence
  int64_t next_segment_ = 1;
  int64_t newest_job_ = 0;
  std::vector<int64_t> dead_;  // nothing lives in them, but their rows are there

  mutable std::mutex mutex_;  // guards what follows; the commit thread alone changes it
  absl::flat_hash_map<int64_t, std::unique_ptr<Stream>> streams_;
  absl::flat_hash_map<int64_t, uint32_t> living_;  // segment → spans in use
};

// The entries of a span from its bytes, or null when they do not fit together.
std::shared_ptr<ChunkBlock> decode_span(const Span& span, std::string_view bytes);

}  // namespace weft
