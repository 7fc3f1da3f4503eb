// A reader's insides: its place in the stream and the page it reads from. Private to daemon/stream.
#pragma once

#include <memory>
#include <optional>

#include <weft/base/lazy_deque.h>
#include <weft/stream/hub_impl.h>

namespace weft::internal {

class SubscriptionImpl final : public Subscription, private Reader {
 public:
  // Counts as a reader from here on, so that the stream's news come and are kept for it.
  SubscriptionImpl(HubImpl& hub, WatchOptions options);
  ~SubscriptionImpl() override;

  // `job` as stored now. Errors: as StreamHub::open.
  Status start(const v1::Job& job);

  Task<StatusOr<std::optional<v1::Event>>> next() override;
  bool job_ended() const override { return state_->finished.has_value(); }
  void set_credit(uint64_t sequence) override;

 private:
  // The last sequence it may have.
  uint64_t limit() const { return attached ? credit : UINT64_MAX; }
  bool chunks_ready() const;
  // Where it goes on, for one whose credit ends before that: it could not know how much to give.
  std::optional<v1::Event> take_position();
  bool finished_ready() const;
  void skip_superseded();
  Task<Status> load_page();
  // Nothing when the entry is not for this reader.
  std::optional<v1::Event> take_event();
  std::optional<v1::Event> take_attempt(const ChunkBlock& block);
  void add_chunks(const ChunkBlock& block, v1::Chunks& chunks, size_t& bytes);

  HubImpl& hub_;
  const StreamStatePtr state_;
  const WatchOptions options_;
  LazyDeque<ChunkBlockPtr> page_;  // read from the store; its first block holds `cursor`
  uint64_t progress_seen_ = 0;
  bool progress_last_ = false;  // chunks and progress take turns
  bool started_ = false;        // the place of its first entry is settled
  bool delivered_ = false;      // it has seen entries
  bool hurried_ = false;        // the last event was there without waiting
  bool over_ = false;
  bool placed_ = false;  // take_position() was asked
};

}  // namespace weft::internal
