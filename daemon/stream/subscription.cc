// Reading: from the live tail when near, else from the log in pages, so that a slow reader slows
// nobody.
#include <algorithm>

#include <weft/base/limits.h>
#include <weft/runtime/sleep.h>
#include <weft/stream/subscription.h>
#include <weft/stream/subscription_impl.h>

namespace weft::internal {

SubscriptionImpl::SubscriptionImpl(HubImpl& hub, WatchOptions options)
    : hub_(hub), state_(hub.state_of(options.job_id)), options_(std::move(options)) {
  ++state_->reader_count;
  ++hub_.stats().readers;
  cursor = std::max<uint64_t>(1, options_.from_sequence);
  attached = options_.attached;
  credit = options_.credit;
  state_->announce(*this);
}

SubscriptionImpl::~SubscriptionImpl() {
  if (linked()) state_->remove(*this);
  --state_->reader_count;
  --hub_.stats().readers;
  hub_.forget_if_unused(*state_);
}

Status SubscriptionImpl::start(const v1::Job& job) {
  if (!detached.ok()) return detached;
  state_->learn(job);
  const uint64_t from = options_.from_sequence;
  if (from != 0 && (from < state_->first_sequence || from > state_->committed + 1)) {
    return make_status(StatusCode::kOutOfRange,
                       "job " + options_.job_id + " has no sequence " + std::to_string(from) +
                           " to read from: use " + std::to_string(state_->first_sequence) + " to " +
                           std::to_string(state_->committed + 1) + ", or 0 for the oldest kept");
  }
  cursor = from == 0 ? state_->first_sequence : from;
  started_ = from != 0;
  skip_superseded();
  state_->add(*this);
  return absl::OkStatus();
}

void SubscriptionImpl::set_credit(uint64_t sequence) {
  hub_.check_thread();
  if (sequence <= credit) return;
  credit = sequence;
  if (attached && linked()) state_->on_credit(*this);
}

bool SubscriptionImpl::chunks_ready() const {
  // The start of an attempt needs no credit: it says where to give credit from now on.
  const bool allowed = cursor <= limit() || cursor == state_->attempt_sequence;
  return allowed && (!page_.empty() || cursor <= state_->committed);
}

std::optional<v1::Event> SubscriptionImpl::take_position() {
  if (std::exchange(placed_, true)) return std::nullopt;
  if (options_.from_sequence != 0 || cursor == 1 || cursor <= limit()) return std::nullopt;
  v1::Event event;
  event.mutable_chunks()->set_first_sequence(cursor);
  delivered_ = true;  // from here on it notices what is left out
  return event;
}

bool SubscriptionImpl::finished_ready() const {
  return state_->finished && cursor > state_->finished->last_sequence();
}

void SubscriptionImpl::skip_superseded() {
  if (options_.all_attempts || cursor >= state_->attempt_sequence) return;
  cursor = state_->attempt_sequence;
  started_ = true;
  page_.clear();
  if (linked()) state_->hold_head();
}

Task<StatusOr<std::optional<v1::Event>>> SubscriptionImpl::next() {
  using Answer = StatusOr<std::optional<v1::Event>>;
  // A reader with much to read still lets the others have their turn.
  if (std::exchange(hurried_, false)) co_await yield_now();
  while (!over_) {
    if (!detached.ok()) co_return detached;
    if (std::exchange(rewound, false)) page_.clear();
    skip_superseded();
    if (std::optional<v1::Event> position = take_position()) co_return Answer(std::move(position));
    const bool chunks = chunks_ready();
    if (progress_seen_ != state_->progress_version && !(chunks && progress_last_)) {
      progress_seen_ = state_->progress_version;
      progress_last_ = true;
      v1::Event event;
      *event.mutable_progress() = state_->progress;
      co_return Answer(std::move(event));
    }
    if (chunks) {
      if (page_.empty() && !state_->in_tail(cursor)) {
        Task<Status> load = load_page();
        const Status loaded = co_await load;
        if (!loaded.ok()) co_return loaded;
        continue;
      }
      std::optional<v1::Event> event = take_event();
      if (!event) continue;
      progress_last_ = false;
      hurried_ = true;
      co_return Answer(std::move(event));
    }
    if (finished_ready()) {
      over_ = true;
      v1::Event event;
      *event.mutable_finished() = *state_->finished;
      co_return Answer(std::move(event));
    }
    wake.reset();
    co_await wake.wait();
  }
  co_return Answer(std::nullopt);
}

Task<Status> SubscriptionImpl::load_page() {
  // One that asked for the oldest kept does not mind if that has just been trimmed.
  const uint64_t from = started_ ? cursor : 0;
  Task<StatusOr<StreamPage>> read =
      hub_.store().read(options_.job_id, from, limits::kReadBatchBytes);
  StatusOr<StreamPage> page = co_await read;
  if (page.status().code() == StatusCode::kNotFound && state_->finished) {
    // Kept no longer than to its end. How it ended is known still, and its last_sequence tells the
    // reader that chunks are missing.
    page_.clear();
    cursor = std::max(state_->committed, state_->finished->last_sequence()) + 1;
    co_return absl::OkStatus();
  }
  if (!page.ok()) co_return page.status();
  if (page->blocks.empty()) {
    co_return make_status(StatusCode::kDataLoss, "the store has lost chunk " +
                                                     std::to_string(cursor) + " of job " +
                                                     options_.job_id + ": submit the job again");
  }
  started_ = true;
  cursor = std::max(cursor, page->blocks.front()->first_sequence);
  page_.assign(page->blocks.begin(), page->blocks.end());
  co_return absl::OkStatus();
}

std::optional<v1::Event> SubscriptionImpl::take_event() {
  started_ = true;
  const bool from_page = !page_.empty();
  LazyDeque<ChunkBlockPtr>& blocks = from_page ? page_ : state_->tail;
  auto block = std::partition_point(
      blocks.begin(), blocks.end(),
      [&](const ChunkBlockPtr& candidate) { return candidate->last_sequence() < cursor; });
  std::optional<v1::Event> event;
  size_t bytes = 0;
  for (; block != blocks.end(); ++block) {
    if ((*block)->kind == ChunkBlock::Kind::kAttemptStarted) {
      if (!event) {
        event = take_attempt(**block);
        ++block;
      }
      break;
    }
    if (!event) {
      event.emplace();
      event->mutable_chunks()->set_first_sequence(cursor);
    }
    add_chunks(**block, *event->mutable_chunks(), bytes);
    if (cursor <= (*block)->last_sequence()) break;  // the event is full, or the credit used up
  }
  if (from_page) page_.erase_before(block);
  state_->on_read(*this, bytes);
  delivered_ = delivered_ || event.has_value();
  return event;
}

std::optional<v1::Event> SubscriptionImpl::take_attempt(const ChunkBlock& block) {
  cursor = block.last_sequence() + 1;
  // Who has seen nothing of the earlier attempts need not hear that they are superseded.
  const bool news = options_.all_attempts || delivered_ || options_.from_sequence > 1;
  if (!news && block.last_sequence() <= limit()) return std::nullopt;
  v1::Event event;
  const std::string_view entry = block.chunk(0);
  if (!event.mutable_attempt_started()->ParseFromArray(entry.data(),
                                                       static_cast<int>(entry.size()))) {
    return std::nullopt;
  }
  return event;
}

void SubscriptionImpl::add_chunks(const ChunkBlock& block, v1::Chunks& chunks, size_t& bytes) {
  auto& data = *chunks.mutable_data();
  size_t index = cursor - block.first_sequence;
  const size_t granted = std::min<uint64_t>(limit(), block.last_sequence()) - block.first_sequence;
  const size_t room = limits::kEventChunks - static_cast<size_t>(data.size());
  const size_t end = std::min(granted + 1, index + room);
  data.Reserve(data.size() + static_cast<int>(end - index));
  for (; index < end && bytes < limits::kReadBatchBytes; ++index) {
    const std::string_view chunk = block.chunk(index);
    data.Add()->assign(chunk.data(), chunk.size());
    bytes += chunk.size();
  }
  cursor = block.first_sequence + index;
}

}  // namespace weft::internal
