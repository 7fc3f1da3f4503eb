// One stream: who reads it, how far, and what is kept for them.
#include <algorithm>

#include <weft/runtime/event_loop.h>
#include <weft/stream/hub_impl.h>
#include <weft/stream/stream_state.h>

namespace weft::internal {

StreamState::~StreamState() {
  EventLoop::current()->disarm(*this);
  while (!tail.empty()) drop_tail_front();
}

void StreamState::learn(const v1::Job& job) {
  first_sequence = std::max(first_sequence, job.first_sequence());
  committed = std::max(committed, job.last_sequence());
  attempt_sequence = std::max(attempt_sequence, job.attempt_sequence());
  if (progress_version == 0 && job.has_progress()) set_progress(job.progress());
  if (job.has_outcome() && !finished) {
    finished.emplace();
    finished->set_state(job.state());
    *finished->mutable_outcome() = job.outcome();
    finished->set_last_sequence(job.last_sequence());
  }
  wake_readers();
}

void StreamState::publish(const ChunkBlockPtr& block) {
  if (block->last_sequence() <= committed) return;  // an attempt that came after knows it already
  committed = block->last_sequence();
  if (readers_.empty()) return;
  if (!tail.empty() && tail.back()->last_sequence() + 1 != block->first_sequence) {
    while (!tail.empty()) drop_tail_front();
  }
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

void StreamState::add(Reader& reader) {
  readers_.push_back(reader);
  if (!reader.attached) return;
  ++attached_count;
  max_credit = std::max(max_credit, reader.credit);
  if (producer != nullptr) producer->on_consumers_changed();
}

void StreamState::remove(Reader& reader) {
  reader.unlink();
  if (readers_.empty()) {
    while (!tail.empty()) drop_tail_front();
  }
  if (reader.attached) {
    --attached_count;
    max_credit = 0;
    readers_.for_each([this](Reader& other) {
      if (other.attached) max_credit = std::max(max_credit, other.credit);
    });
    if (producer != nullptr) producer->on_consumers_changed();
  }
  on_reader_moved();
}

void StreamState::on_credit(Reader& reader) {
  reader.wake.set();
  if (reader.credit <= max_credit) return;
  max_credit = reader.credit;
  if (producer != nullptr) producer->update();
}

void StreamState::on_reader_moved() {
  if (producer != nullptr && producer->full()) hold_head();
}

void StreamState::wake_readers() {
  readers_.for_each([](Reader& reader) { reader.wake.set(); });
}

uint64_t StreamState::slowest_cursor() {
  uint64_t slowest = UINT64_MAX;
  readers_.for_each([&](Reader& reader) { slowest = std::min(slowest, reader.cursor); });
  return slowest;
}

uint64_t StreamState::head_cut() {
  if (producer == nullptr) return 0;
  // With nobody reading, only what an earlier attempt left behind is of no use any more.
  const uint64_t needed = readers_.empty() ? producer->base() + 1 : slowest_cursor();
  return producer->cut_below(std::min(needed, committed + 1));
}

void StreamState::hold_head() {
  if (head_cut() != 0) {
    hub_.want_trim(*this);
  } else if (!readers_.empty() && !armed()) {
    EventLoop* loop = EventLoop::current();
    loop->arm(*this, loop->exact_now_ns() + hub_.options().slow_reader_ms * 1'000'000);
  }
}

void StreamState::on_trimmed(uint64_t first) {
  first_sequence = std::max(first_sequence, first);
  EventLoop::current()->disarm(*this);
  if (producer == nullptr) return;
  producer->on_trimmed(first);
  producer->update();
}

void StreamState::fire() {
  if (producer == nullptr || !producer->full()) return;
  const uint64_t cut = producer->first_cut();
  std::vector<Reader*> slow;
  readers_.for_each([&](Reader& reader) {
    if (reader.cursor <= cut) slow.push_back(&reader);
  });
  for (Reader* reader : slow) {
    reader->detached =
        make_status(StatusCode::kResourceExhausted,
                    "job " + job_id_ + " could not go on for " +
                        std::to_string(hub_.options().slow_reader_ms / 1000) +
                        " s because its stream is full and this reader still wanted chunk " +
                        std::to_string(reader->cursor) +
                        ": read faster, or attach again from a later sequence");
    ++hub_.stats().readers_detached;
    reader->wake.set();
    remove(*reader);
  }
  if (producer->full()) hold_head();
}

}  // namespace weft::internal
