// What the hub knows of one stream that is written or read here. Private to daemon/stream.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <weft/base/intrusive_list.h>
#include <weft/base/lazy_deque.h>
#include <weft/runtime/event.h>
#include <weft/store/store.h>
#include <weft/v1/job_service.pb.h>

namespace weft::internal {

class HubImpl;
class ProducerImpl;

// A reader as its stream sees it.
class Reader : public ListNode<Reader> {
 public:
  uint64_t cursor = 1;  // the next sequence it wants
  uint64_t credit = 0;
  bool attached = false;
  Status detached;  // not OK: why the hub gave it up
  Event wake;       // something may have changed for it

  // How long it has held a full stream, which outlasts the little it lets the job write meanwhile.
  int64_t held_ns = 0;
  int64_t holds_since_ns = -1;  // it does right now
  uint64_t held_from = 0;       // where the stream began when this was first counted
  uint64_t held_from_bytes = 0;

 protected:
  ~Reader() = default;
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
  void set_progress(const v1::Progress& value);

  void add(Reader& reader);
  void remove(Reader& reader);
  void on_credit(Reader& reader);
  void wake_readers();
  // The job is removed: its readers are detached with removed_error(), and none can be added.
  void forget();
  Status removed_error() const;

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
  size_t attached_count = 0;
  uint64_t max_credit = 0;  // of the attached readers
  uint64_t first_sequence = 1;
  uint64_t committed = 0;
  uint64_t attempt_sequence = 0;  // entries below it are superseded
  LazyDeque<ChunkBlockPtr> tail;  // the newest committed blocks, without a gap
  std::optional<v1::Finished> finished;
  v1::Progress progress;
  uint64_t progress_version = 0;
  bool trim_wanted = false;
  bool removed = false;

 private:
  void fire() override;
  uint64_t slowest_cursor();
  void count_holding();
  int64_t hold_limit_ns() const;

  HubImpl& hub_;
  const std::string job_id_;
  uint64_t finished_attempt_ = 0;  // the one `finished` is of
  IntrusiveList<Reader, Reader> readers_;
  size_t tail_bytes_ = 0;
};
using StreamStatePtr = std::shared_ptr<StreamState>;

// Bytes a block holds in memory.
inline size_t block_bytes(const ChunkBlock& block) {
  return block.bytes.size() + block.ends.size() * sizeof(uint32_t);
}

}  // namespace weft::internal
