// A producer's insides: how far its job may run, and which chunks are on their way. Private to
// daemon/stream.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include <weft/base/lazy_deque.h>
#include <weft/base/limits.h>
#include <weft/runtime/event.h>
#include <weft/stream/stream_state.h>

namespace weft::internal {

class ProducerImpl final : public ListNode<ProducerImpl>, private Timer {
 public:
  ProducerImpl(HubImpl& hub, const v1::Job& job, Token token, CancelScope& scope);
  ~ProducerImpl();

  bool has_room() const { return share_ < limits::kChunksPerTurn && below_limits(); }
  bool must_wait() {
    compute_limits();
    return !below_limits();
  }
  Task<void> wait_for_room();
  Status push(std::string_view chunk);
  Task<Status> flush();

  const Token& token() const { return token_; }
  const StreamStatePtr& state() const { return state_; }
  uint64_t base() const { return base_; }
  uint64_t last_sequence() const { return last_; }
  uint64_t settled_sequence() const { return refused_.ok() ? last_ : state_->committed; }

  // The block to store next: the one that could not be stored before, or what was pushed since.
  ChunkBlockPtr next_block();
  void on_stored(const ChunkBlock& block);
  void on_refused(const Status& why);
  // The store has the stream up to there only, which may be less than it had accepted.
  void on_lost(uint64_t last_stored);
  void abandon();
  // The stream can hold no more: ends the attempt.
  void fail(Status why);
  const Status& failed() const { return failed_; }

  // Credit, commits or the head moved: lets the job go on if it may.
  void update();
  void on_consumers_changed();

  // The stream has reached its bound.
  bool full() const;
  // …and that is what the job waits for.
  bool held_by_bound() const;
  // The highest place below `cursor` where the stream can be cut; 0: none.
  uint64_t cut_below(uint64_t cursor) const;
  // The lowest place where it can be cut.
  uint64_t first_cut() const { return marks_.empty() ? 0 : marks_.front().last; }
  uint64_t trimmed_bytes() const { return trimmed_bytes_; }
  void on_trimmed(uint64_t first);

 private:
  struct Mark {
    uint64_t last;   // sequence
    uint64_t bytes;  // pushed up to and including it
  };
  bool below_limits() const { return last_ < limit_sequence_ && bytes_ < limit_bytes_; }
  void compute_limits();
  uint64_t bytes_up_to(uint64_t sequence) const;
  void note_size();
  void fire() override;

  HubImpl& hub_;
  const StreamStatePtr state_;
  const Token token_;
  CancelScope& scope_;
  const v1::StreamPolicy policy_;
  const std::chrono::nanoseconds grace_;
  const uint64_t base_;  // last sequence before this attempt's chunks

  uint64_t last_;       // newest sequence pushed
  uint64_t bytes_ = 0;  // pushed by this attempt
  uint64_t limit_sequence_ = 0;
  uint64_t limit_bytes_ = 0;
  size_t share_ = 0;            // chunks pushed since this job last let the loop turn
  uint64_t stored_bytes_ = 0;   // of bytes_
  uint64_t trimmed_bytes_ = 0;  // of bytes_
  std::shared_ptr<ChunkBlock> open_;
  ChunkBlockPtr in_flight_;
  std::vector<uint64_t> sums_;  // a ring: bytes_ after each of the newest chunks, a window of them
  LazyDeque<Mark> marks_;  // where the stream can be cut, about a thousandth of its bound apart
  Event room_;
  Event stored_;
  Status refused_;
  Status failed_;
};

}  // namespace weft::internal
