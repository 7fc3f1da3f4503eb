// What the hub knows of one stream that is written or read here. Private to daemon/stream.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <weft/base/intrusive_list.h>
#include <weft/base/lazy_deque.h>
#include <weft/runtime/event.h>
#include <weft/store/store.h>
#include <weft/v1/job_service.pb.h>

namespace weft::internal {

class HubImpl;
class ProducerImpl;

// What can hold a full stream, and how long it has done so, which outlasts the little it lets the
// job write meanwhile.
class Holder {
 public:
  uint64_t cursor = 1;  // the next sequence it wants
  int64_t held_ns = 0;
  int64_t holds_since_ns = -1;  // it does right now
  uint64_t held_from = 0;       // where the stream began when this was first counted
  uint64_t held_from_bytes = 0;
};

// A reader as its stream sees it.
class Reader : public ListNode<Reader>, public Holder {
 public:
  uint64_t credit = 0;
  bool attached = false;
  bool opening = true;      // its place is not settled yet: it counts for other processes only
  bool rewound = false;     // what it has loaded is not what the store has any more
  Status detached;          // not OK: why the hub gave it up
  Event wake;               // something may have changed for it
  uint64_t moved_from = 0;  // its cursor when others were last told of it, at the latest
  size_t moved_bytes = 0;   // read since then

 protected:
  ~Reader() = default;
};

// The readers of one other process, as the worker that runs the job sees them.
class RemoteReader : public Holder {
 public:
  explicit RemoteReader(Incarnation process) : from(process) {}
  void set(const StreamReaders& now);

  Incarnation from;
  StreamReaders readers;
  uint64_t given_up = 0;  // below it they were detached
  bool confirmed = true;  // told of since expect_remote()
};

// Thread: the loop's. Lifetime: kept by the hub while it has a producer or a reader.
class StreamState final : public ListNode<StreamState>,
                          public std::enable_shared_from_this<StreamState>,
                          private Timer {
 public:
  StreamState(HubImpl& hub, std::string job_id) : hub_(hub), job_id_(std::move(job_id)) {}
  ~StreamState();

  const std::string& job_id() const { return job_id_; }
  HubImpl& hub() const { return hub_; }
  bool unused() const { return producer == nullptr && reader_count == 0; }

  // Takes over what the store's record says, as far as it is news.
  void learn(const v1::Job& job);
  // `block` is in the store now. Readers get it from the live tail if they are near.
  void publish(const ChunkBlockPtr& block);
  // The same without the entries: readers get them from the log.
  void on_stored(uint64_t last_sequence);
  void set_progress(const v1::Progress& value);

  // A reader that is about to be opened: the job's news are for this process too from now on.
  void announce(Reader& reader);
  void add(Reader& reader);
  void remove(Reader& reader);
  void on_credit(Reader& reader);
  // `reader` has read so many bytes.
  void on_read(Reader& reader, size_t bytes);
  void wake_readers();
  // The job is removed: its readers are detached with removed_error(), and none can be added.
  void forget();
  Status removed_error() const;

  // Other processes. Readers there count like those here.
  void set_remote(const RemoteReaders& news);
  // `all` is what there is now, but for what was told since expect_remote().
  void expect_remote();
  void replace_remote(const std::vector<RemoteReaders>& all);
  // The producer is gone.
  void drop_remote();
  // Tells the process that runs the job who reads here, if that is news.
  void tell_readers();
  // The worker has given up those who want entries below `first` still; UINT64_MAX: all.
  void detach_below(uint64_t first);
  // The store has forgotten what it had acknowledged after `last_kept`, and `job` is all it has.
  // Readers that are further are detached with DATA_LOSS.
  void rewind(const v1::Job& job, uint64_t last_kept);

  // When the stream is full: cuts off what every reader has passed. As long as that is nothing, the
  // slowest readers use up the limits::kSlowReaderMs they have before they are detached.
  void hold_head();
  // Where the head can be cut now; 0: nowhere.
  uint64_t head_cut();
  void on_trimmed(uint64_t first);

  bool in_tail(uint64_t sequence) const {
    return !tail.empty() && tail.front()->first_sequence <= sequence &&
           sequence <= tail.back()->last_sequence();
  }
  void drop_tail_front();

  ProducerImpl* producer = nullptr;
  uint64_t producer_serial = 0;  // tells this attempt's answers from an earlier one's
  size_t reader_count = 0;       // those that are still being opened included
  size_t attached_count = 0;     // here, and elsewhere when the job runs here
  uint64_t max_credit = 0;       // of the attached readers
  uint64_t first_sequence = 1;
  uint64_t committed = 0;
  uint64_t attempt_sequence = 0;  // entries below it are superseded
  uint64_t seen_up_to = 0;        // so far every entry or a later record was seen
  LazyDeque<ChunkBlockPtr> tail;  // the newest committed blocks, without a gap
  std::optional<v1::Finished> finished;
  v1::Progress progress;
  uint64_t progress_version = 0;
  bool trim_wanted = false;
  bool record_wanted = false;   // by Resync
  bool readers_wanted = false;  // the same
  bool removed = false;

 private:
  // What this process and others tell each other of their readers. Most streams have none.
  class Elsewhere {
   public:
    StreamReaders told;      // of those here
    bool expecting = false;  // between expect_remote() and replace_remote()
    std::vector<RemoteReader> readers;
  };

  void fire() override;
  void on_attempt(const ChunkBlock& block);
  // The last entry that somebody holds a full stream with by wanting it; 0: nobody can.
  uint64_t held_up_to() const;
  template <typename F>
  void for_each_holder(F function);
  uint64_t slowest_cursor();
  void count_consumers();
  void count_holding();
  int64_t hold_limit_ns() const;
  void detach(Reader& reader, Status why);
  void detach_slow(Reader& reader);
  void clear_tail();
  Elsewhere& elsewhere();
  void drop_elsewhere_if_empty();
  void put_remote(const RemoteReaders& news);
  // Those without readers, and those for which gone(remote).
  template <typename F>
  void forget_remote(F gone);
  void on_remote_changed();

  HubImpl& hub_;
  const std::string job_id_;
  uint64_t finished_attempt_ = 0;  // the last one known to have ended
  IntrusiveList<Reader, Reader> readers_;
  std::unique_ptr<Elsewhere> elsewhere_;
  size_t tail_bytes_ = 0;
};
using StreamStatePtr = std::shared_ptr<StreamState>;

// Bytes a block holds in memory.
inline size_t block_bytes(const ChunkBlock& block) {
  return block.bytes.size() + block.ends.size() * sizeof(uint32_t);
}

}  // namespace weft::internal
