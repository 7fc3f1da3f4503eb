// One stream: who reads it, how far, and what is kept for them.
#include <algorithm>

#include <weft/runtime/event_loop.h>
#include <weft/stream/hub_impl.h>
#include <weft/stream/stream_state.h>

namespace weft::internal {
namespace {

// A reader that lets the job write this part of a full stream holds it anew. Less is no running on:
// who takes a chunk a minute would hold everybody for ever.
constexpr uint64_t kHoldParts = 16;
// After this part of a full stream other processes are told how far the readers here have come: a
// finer step than one they can hold it by.
constexpr uint64_t kTellParts = 64;
// A process that was asked to detach its slow readers has this long to say who is left.
constexpr int64_t kDetach_ns = 1'000'000'000;

}  // namespace

StreamState::~StreamState() {
  EventLoop::current()->disarm(*this);
  clear_tail();
}

void StreamState::learn(const v1::Job& job) {
  first_sequence = std::max(first_sequence, job.first_sequence());
  committed = std::max(committed, job.last_sequence());
  attempt_sequence = std::max(attempt_sequence, job.attempt_sequence());
  seen_up_to = std::max(seen_up_to, job.last_sequence());
  if (progress_version == 0 && job.has_progress()) set_progress(job.progress());
  const bool was_finished = finished.has_value();
  const bool newer = job.attempt() > finished_attempt_;
  const bool same = job.attempt() == finished_attempt_;
  // Only a dead job runs again; until it is taken it is of the attempt that ended, whose end is old
  // news then.
  const bool dead = job.state() == v1::JOB_STATE_DEAD;
  const bool was_dead = was_finished && finished->state() == v1::JOB_STATE_DEAD;
  if (!job.has_outcome()) {
    const bool retried = same && was_dead && job.state() == v1::JOB_STATE_QUEUED;
    if (newer || retried) finished.reset();
  } else if (newer || (same && !dead && (was_dead || !was_finished)) ||
             (finished_attempt_ == 0 && !was_finished)) {
    finished.emplace();
    finished_attempt_ = job.attempt();
    finished->set_state(job.state());
    *finished->mutable_outcome() = job.outcome();
    finished->set_last_sequence(job.last_sequence());
  }
  // Nobody was told of credits while it was over.
  if (was_finished && !finished) tell_readers();
  wake_readers();
}

void StreamState::publish(const ChunkBlockPtr& block) {
  if (block->first_sequence <= seen_up_to + 1) {
    seen_up_to = std::max(seen_up_to, block->last_sequence());
  }
  if (block->kind == ChunkBlock::Kind::kAttemptStarted) on_attempt(*block);
  if (block->last_sequence() <= committed) return;  // an attempt that came after knows it already
  committed = block->last_sequence();
  if (readers_.empty()) return hold_head();
  if (!tail.empty() && tail.back()->last_sequence() + 1 != block->first_sequence) clear_tail();
  tail.push_back(block);
  tail_bytes_ += block_bytes(*block);
  hub_.stats().live_tail_bytes += block_bytes(*block);
  const uint64_t slowest = slowest_cursor();
  const size_t bound = 4 * hub_.options().window_bytes;
  while (tail.size() > 1 && (tail.front()->last_sequence() < slowest || tail_bytes_ > bound)) {
    drop_tail_front();
  }
  hub_.bound_tails(*this);
  wake_readers();
  hold_head();
}

void StreamState::on_stored(uint64_t last_sequence) {
  if (last_sequence <= committed) return;
  committed = last_sequence;
  wake_readers();
  hold_head();
}

void StreamState::on_attempt(const ChunkBlock& block) {
  attempt_sequence = std::max(attempt_sequence, block.first_sequence);
  const std::string_view entry = block.chunk(0);
  v1::AttemptStarted started;
  if (started.ParseFromArray(entry.data(), static_cast<int>(entry.size())) &&
      started.attempt() > finished_attempt_) {
    finished.reset();
  }
}

void StreamState::clear_tail() {
  while (!tail.empty()) drop_tail_front();
}

void StreamState::drop_tail_front() {
  tail_bytes_ -= block_bytes(*tail.front());
  hub_.stats().live_tail_bytes -= block_bytes(*tail.front());
  tail.pop_front();
}

void StreamState::set_progress(const v1::Progress& value) {
  progress = value;
  ++progress_version;
  wake_readers();
}

void StreamState::announce(Reader& reader) {
  readers_.push_back(reader);
  tell_readers();
}

void StreamState::add(Reader& reader) {
  reader.opening = false;
  reader.moved_from = reader.cursor;
  if (reader.attached) {
    ++attached_count;
    max_credit = std::max(max_credit, reader.credit);
    if (producer != nullptr) producer->on_consumers_changed();
  }
  tell_readers();
  hold_head();  // one that begins near the end needs nothing of a full stream
}

void StreamState::remove(Reader& reader) {
  reader.unlink();
  reader.holds_since_ns = -1;
  if (readers_.empty()) clear_tail();
  if (reader.attached && !reader.opening) count_consumers();
  tell_readers();
  hold_head();
}

void StreamState::on_credit(Reader& reader) {
  reader.wake.set();
  if (producer == nullptr) tell_readers();
  if (reader.credit <= max_credit) return;
  max_credit = reader.credit;
  if (producer != nullptr) producer->update();
}

void StreamState::on_read(Reader& reader, size_t bytes) {
  hold_head();
  reader.moved_bytes += bytes;
  if (reader.cursor - reader.moved_from < hub_.options().stream_chunks / kTellParts &&
      reader.moved_bytes < hub_.options().stream_bytes / kTellParts) {
    return;
  }
  reader.moved_from = reader.cursor;
  reader.moved_bytes = 0;
  if (producer == nullptr) tell_readers();
}

void StreamState::count_consumers() {
  attached_count = 0;
  max_credit = 0;
  auto count = [this](size_t attached, uint64_t credit) {
    attached_count += attached;
    if (attached > 0) max_credit = std::max(max_credit, credit);
  };
  readers_.for_each([&](Reader& reader) {
    if (!reader.opening) count(reader.attached ? 1 : 0, reader.credit);
  });
  if (elsewhere_ != nullptr) {
    for (const RemoteReader& remote : elsewhere_->readers) {
      count(remote.readers.attached, remote.readers.credit);
    }
  }
  if (producer != nullptr) producer->on_consumers_changed();
}

void StreamState::wake_readers() {
  readers_.for_each([](Reader& reader) { reader.wake.set(); });
}

template <typename F>
void StreamState::for_each_holder(F function) {
  readers_.for_each([&](Reader& reader) {
    if (!reader.opening) function(reader);
  });
  if (elsewhere_ == nullptr) return;
  for (RemoteReader& remote : elsewhere_->readers) function(remote);
}

uint64_t StreamState::slowest_cursor() {
  uint64_t slowest = UINT64_MAX;
  for_each_holder([&](const Holder& holder) { slowest = std::min(slowest, holder.cursor); });
  return slowest;
}

uint64_t StreamState::head_cut() {
  if (producer == nullptr) return 0;
  const uint64_t slowest = slowest_cursor();
  // With nobody reading, only what an earlier attempt left behind is of no use any more.
  const uint64_t needed = slowest == UINT64_MAX ? producer->base() + 1 : slowest;
  return producer->cut_below(std::min(needed, committed + 1));
}

void StreamState::hold_head() {
  if (producer == nullptr || !producer->full()) return;
  count_holding();
  if (head_cut() != 0) hub_.want_trim(*this);
}

int64_t StreamState::hold_limit_ns() const { return hub_.options().slow_reader_ms * 1'000'000; }

uint64_t StreamState::held_up_to() const {
  // Who has read all there is waits for the job or for the store, not they for it.
  const bool held = producer != nullptr && producer->held_by_bound();
  return held ? std::min(producer->first_cut(), committed) : 0;
}

void StreamState::count_holding() {
  EventLoop* loop = EventLoop::current();
  const int64_t now_ns = loop->exact_now_ns();
  const uint64_t held = held_up_to();
  int64_t next_ns = INT64_MAX;
  for_each_holder([&](Holder& holder) {
    if (holder.holds_since_ns >= 0) holder.held_ns += now_ns - holder.holds_since_ns;
    holder.holds_since_ns = -1;
    if (holder.cursor > held) return;
    if (holder.held_from == 0) {
      holder.held_from = first_sequence;
      holder.held_from_bytes = producer->trimmed_bytes();
    }
    holder.holds_since_ns = now_ns;
    next_ns = std::min(next_ns, now_ns + std::max<int64_t>(0, hold_limit_ns() - holder.held_ns));
  });
  loop->disarm(*this);
  if (next_ns != INT64_MAX) loop->arm(*this, next_ns);
}

void StreamState::on_trimmed(uint64_t first) {
  first_sequence = std::max(first_sequence, first);
  if (producer != nullptr) producer->on_trimmed(first);
  count_holding();
  if (producer == nullptr) return;
  for_each_holder([this](Holder& holder) {
    if (first_sequence - holder.held_from < hub_.options().stream_chunks / kHoldParts &&
        producer->trimmed_bytes() - holder.held_from_bytes <
            hub_.options().stream_bytes / kHoldParts) {
      return;
    }
    holder.held_ns = 0;
    holder.held_from = 0;
  });
  producer->update();
}

void StreamState::forget() {
  removed = true;
  std::vector<Reader*> readers;
  readers_.for_each([&](Reader& reader) { readers.push_back(&reader); });
  for (Reader* reader : readers) detach(*reader, removed_error());
}

Status StreamState::removed_error() const {
  return make_status(StatusCode::kNotFound,
                     "job " + job_id_ + " was removed: nothing is left of it to read");
}

void StreamState::fire() {
  count_holding();
  auto over = [this](const Holder& holder) {
    return holder.holds_since_ns >= 0 && holder.held_ns >= hold_limit_ns();
  };
  std::vector<Reader*> slow;
  readers_.for_each([&](Reader& reader) {
    if (over(reader)) slow.push_back(&reader);
  });
  for (Reader* reader : slow) detach_slow(*reader);
  if (elsewhere_ == nullptr) return;
  const uint64_t first = held_up_to() + 1;
  for (RemoteReader& remote : elsewhere_->readers) {
    if (!over(remote)) continue;
    remote.given_up = remote.cursor = first;
    remote.held_ns = std::max<int64_t>(0, hold_limit_ns() - kDetach_ns);
    remote.holds_since_ns = -1;
    hub_.store().detach_readers(job_id_, remote.from, first);
  }
  hold_head();
}

void StreamState::detach(Reader& reader, Status why) {
  reader.detached = std::move(why);
  reader.wake.set();
  remove(reader);
}

void StreamState::detach_slow(Reader& reader) {
  ++hub_.stats().readers_detached;
  detach(reader,
         make_status(StatusCode::kResourceExhausted,
                     "this reader held job " + job_id_ + " up for " +
                         std::to_string(hub_.options().slow_reader_ms / 1000) +
                         " s because the job's stream is full and the reader still wanted chunk " +
                         std::to_string(reader.cursor) +
                         ": read faster, or attach again from a later sequence"));
}

}  // namespace weft::internal
