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

}  // namespace

StreamState::~StreamState() {
  EventLoop::current()->disarm(*this);
  while (!tail.empty()) drop_tail_front();
}

void StreamState::learn(const v1::Job& job) {
  first_sequence = std::max(first_sequence, job.first_sequence());
  committed = std::max(committed, job.last_sequence());
  attempt_sequence = std::max(attempt_sequence, job.attempt_sequence());
  if (progress_version == 0 && job.has_progress()) set_progress(job.progress());
  const bool was_dead = finished && finished->state() == v1::JOB_STATE_DEAD;
  // Only a dead job runs again; until it is taken it is of the attempt that ended.
  const bool news = !finished || job.attempt() > finished_attempt_ ||
                    (job.attempt() == finished_attempt_ && was_dead &&
                     (job.has_outcome() ? job.state() != v1::JOB_STATE_DEAD
                                        : job.state() == v1::JOB_STATE_QUEUED));
  if (news) finished.reset();
  if (news && job.has_outcome()) {
    finished.emplace();
    finished_attempt_ = job.attempt();
    finished->set_state(job.state());
    *finished->mutable_outcome() = job.outcome();
    finished->set_last_sequence(job.last_sequence());
  }
  wake_readers();
}

void StreamState::publish(const ChunkBlockPtr& block) {
  if (block->last_sequence() <= committed) return;  // an attempt that came after knows it already
  committed = block->last_sequence();
  if (readers_.empty()) return hold_head();
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
  hold_head();
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
  if (reader.attached) {
    ++attached_count;
    max_credit = std::max(max_credit, reader.credit);
    if (producer != nullptr) producer->on_consumers_changed();
  }
  hold_head();  // one that begins near the end needs nothing of a full stream
}

void StreamState::remove(Reader& reader) {
  reader.unlink();
  reader.holds_since_ns = -1;
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
  hold_head();
}

void StreamState::on_credit(Reader& reader) {
  reader.wake.set();
  if (reader.credit <= max_credit) return;
  max_credit = reader.credit;
  if (producer != nullptr) producer->update();
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
  if (producer == nullptr || !producer->full()) return;
  count_holding();
  if (head_cut() != 0) hub_.want_trim(*this);
}

int64_t StreamState::hold_limit_ns() const { return hub_.options().slow_reader_ms * 1'000'000; }

void StreamState::count_holding() {
  EventLoop* loop = EventLoop::current();
  const int64_t now_ns = loop->exact_now_ns();
  // Who has read all there is waits for the job or for the store, not they for it.
  const uint64_t held = producer != nullptr && producer->held_by_bound()
                            ? std::min(producer->first_cut(), committed)
                            : 0;
  int64_t next_ns = INT64_MAX;
  readers_.for_each([&](Reader& reader) {
    if (reader.holds_since_ns >= 0) reader.held_ns += now_ns - reader.holds_since_ns;
    reader.holds_since_ns = -1;
    if (reader.cursor > held) return;
    if (reader.held_from == 0) {
      reader.held_from = first_sequence;
      reader.held_from_bytes = producer->trimmed_bytes();
    }
    reader.holds_since_ns = now_ns;
    next_ns = std::min(next_ns, now_ns + std::max<int64_t>(0, hold_limit_ns() - reader.held_ns));
  });
  loop->disarm(*this);
  if (next_ns != INT64_MAX) loop->arm(*this, next_ns);
}

void StreamState::on_trimmed(uint64_t first) {
  first_sequence = std::max(first_sequence, first);
  if (producer != nullptr) producer->on_trimmed(first);
  count_holding();
  if (producer == nullptr) return;
  readers_.for_each([this](Reader& reader) {
    if (first_sequence - reader.held_from < hub_.options().stream_chunks / kHoldParts &&
        producer->trimmed_bytes() - reader.held_from_bytes <
            hub_.options().stream_bytes / kHoldParts) {
      return;
    }
    reader.held_ns = 0;
    reader.held_from = 0;
  });
  producer->update();
}

void StreamState::forget() {
  removed = true;
  std::vector<Reader*> readers;
  readers_.for_each([&](Reader& reader) { readers.push_back(&reader); });
  for (Reader* reader : readers) {
    reader->detached = removed_error();
    reader->wake.set();
    remove(*reader);
  }
}

Status StreamState::removed_error() const {
  return make_status(StatusCode::kNotFound,
                     "job " + job_id_ + " was removed: nothing is left of it to read");
}

void StreamState::fire() {
  count_holding();
  std::vector<Reader*> slow;
  readers_.for_each([&](Reader& reader) {
    if (reader.holds_since_ns >= 0 && reader.held_ns >= hold_limit_ns()) slow.push_back(&reader);
  });
  for (Reader* reader : slow) {
    reader->detached =
        make_status(StatusCode::kResourceExhausted,
                    "this reader held job " + job_id_ + " up for " +
                        std::to_string(hub_.options().slow_reader_ms / 1000) +
                        " s because the job's stream is full and the reader still wanted chunk " +
                        std::to_string(reader->cursor) +
                        ": read faster, or attach again from a later sequence");
    ++hub_.stats().readers_detached;
    reader->wake.set();
    remove(*reader);
  }
}

}  // namespace weft::internal
