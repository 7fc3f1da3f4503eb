// The window: how far a job may run ahead of those who read it.
#include <algorithm>
#include <bit>

#include <weft/runtime/sleep.h>
#include <weft/store/job_record.h>
#include <weft/stream/hub_impl.h>
#include <weft/stream/producer.h>
#include <weft/stream/producer_impl.h>

namespace weft {
namespace internal {
namespace {

constexpr uint64_t kMarks = 1024;  // pieces a full stream can be cut into

std::chrono::nanoseconds grace_of(const v1::JobSpec& spec) {
  const auto& grace = spec.stream_grace();
  const auto given =
      std::chrono::seconds(grace.seconds()) + std::chrono::nanoseconds(grace.nanos());
  if (given.count() > 0) return given;
  return std::chrono::milliseconds(limits::kStreamGraceMs);
}

}  // namespace

ProducerImpl::ProducerImpl(HubImpl& hub, const v1::Job& job, Token token, CancelScope& scope)
    : hub_(hub),
      state_(hub.state_of(token.job_id)),
      token_(std::move(token)),
      scope_(scope),
      policy_(job.spec().stream_policy()),
      grace_(grace_of(job.spec())),
      base_(job.last_sequence()),
      last_(base_) {
  state_->producer = this;
  state_->producer_serial = hub_.next_serial();
  ++hub_.stats().producers;
  if (base_ > 0) marks_.push_back(Mark(base_, 0));
  state_->learn(job);
  on_consumers_changed();
}

ProducerImpl::~ProducerImpl() {
  EventLoop::current()->disarm(*this);
  unlink();
  --hub_.stats().producers;
  if (state_->producer == this) {
    state_->producer = nullptr;
    state_->drop_remote();
    state_->tell_readers();  // whoever runs the job next
  }
  hub_.forget_if_unused(*state_);
}

Task<void> ProducerImpl::wait_for_room() {
  for (;;) {
    compute_limits();
    if (below_limits()) {
      if (share_ < limits::kChunksPerTurn) co_return;
      share_ = 0;
      co_await yield_now();
      continue;
    }
    state_->hold_head();
    share_ = 0;
    co_await room_.wait();
  }
}

Status ProducerImpl::push(std::string_view chunk) {
  hub_.check_thread();
  if (chunk.size() > limits::kChunkBytes) {
    return make_status(StatusCode::kInvalidArgument, "a chunk of " + std::to_string(chunk.size()) +
                                                         " bytes is over the limit of " +
                                                         std::to_string(limits::kChunkBytes) +
                                                         ": yield it in several chunks");
  }
  ++last_;
  ++share_;
  bytes_ += chunk.size();
  if (!refused_.ok()) return absl::OkStatus();  // the attempt is over, its job unwinds
  if (open_ == nullptr) {
    open_ = std::make_shared<ChunkBlock>(last_);
    if (in_flight_ != nullptr) {  // expect about as much again
      open_->bytes.reserve(in_flight_->bytes.size());
      open_->ends.reserve(in_flight_->count());
    }
    hub_.want_append(*this);
  }
  open_->add(chunk);
  note_size();
  return absl::OkStatus();
}

void ProducerImpl::note_size() {
  const uint64_t index = last_ - base_ - 1;
  if (index == sums_.size() && sums_.size() < hub_.options().window_chunks) {
    sums_.resize(std::max<size_t>(16, sums_.size() * 2));
  }
  sums_[index & (sums_.size() - 1)] = bytes_;
  const uint64_t last_mark = marks_.empty() ? base_ : marks_.back().last;
  const uint64_t last_bytes = marks_.empty() ? trimmed_bytes_ : marks_.back().bytes;
  if (last_ - last_mark >= std::max<uint64_t>(1, hub_.options().stream_chunks / kMarks) ||
      bytes_ - last_bytes >= std::max<uint64_t>(1, hub_.options().stream_bytes / kMarks)) {
    marks_.push_back(Mark(last_, bytes_));
  }
}

uint64_t ProducerImpl::bytes_up_to(uint64_t sequence) const {
  if (sequence <= base_) return 0;
  if (sequence >= last_) return bytes_;
  if (last_ - sequence >= sums_.size()) return 0;  // more than a window ago: no room anyway
  return sums_[(sequence - base_ - 1) & (sums_.size() - 1)];
}

void ProducerImpl::compute_limits() {
  const StreamHubOptions& options = hub_.options();
  // What the store has not accepted yet is bounded by a window too, whatever was credited.
  limit_sequence_ = std::min(state_->committed + options.window_chunks,
                             state_->first_sequence + options.stream_chunks - 1);
  limit_bytes_ =
      std::min(stored_bytes_ + options.window_bytes, trimmed_bytes_ + options.stream_bytes);
  if (state_->attached_count > 0) {
    const uint64_t credit = state_->max_credit;
    if (credit > last_) {
      // The window begins where the credit ends; what it holds in bytes is known only there.
      limit_sequence_ = std::min(limit_sequence_, credit);
    } else {
      limit_sequence_ = std::min(limit_sequence_, credit + options.window_chunks);
      limit_bytes_ = std::min<uint64_t>(limit_bytes_, bytes_up_to(credit) + options.window_bytes);
    }
  } else if (policy_ == v1::STREAM_POLICY_PAUSE) {
    limit_sequence_ = 0;
  }
}

bool ProducerImpl::full() const {
  return last_ + 1 >= state_->first_sequence + hub_.options().stream_chunks ||
         bytes_ - trimmed_bytes_ >= hub_.options().stream_bytes;
}

bool ProducerImpl::held_by_bound() const {
  return full() && (state_->attached_count > 0 || policy_ != v1::STREAM_POLICY_PAUSE);
}

void ProducerImpl::update() {
  compute_limits();
  if (below_limits()) room_.notify_all();
}

void ProducerImpl::on_consumers_changed() {
  EventLoop* loop = EventLoop::current();
  const bool alone = state_->attached_count == 0;
  const bool mortal = policy_ == v1::STREAM_POLICY_PAUSE || policy_ == v1::STREAM_POLICY_CANCEL;
  if (!alone) {
    loop->disarm(*this);
  } else if (mortal && !armed()) {
    loop->arm(*this, loop->exact_now_ns() + grace_.count());
  }
  update();
}

void ProducerImpl::fire() { scope_.cancel(CancelReason::kConsumerGone); }

Task<Status> ProducerImpl::flush() {
  while (refused_.ok() && state_->committed < last_) co_await stored_.wait();
  co_return refused_;
}

ChunkBlockPtr ProducerImpl::next_block() {
  if (in_flight_ == nullptr) in_flight_ = std::move(open_);
  return in_flight_;
}

void ProducerImpl::on_stored(const ChunkBlock& block) {
  stored_bytes_ += block.bytes.size();
  in_flight_ = nullptr;
  if (open_ != nullptr) hub_.want_append(*this);
  stored_.notify_all();
  update();
}

void ProducerImpl::abandon() { on_refused(stale_token(token_)); }

void ProducerImpl::on_refused(const Status& why) {
  refused_ = why;
  in_flight_ = nullptr;
  open_ = nullptr;
  unlink();
  stored_.notify_all();
  scope_.cancel(CancelReason::kLeaseLost);
}

void ProducerImpl::on_lost(uint64_t last_stored) {
  const ChunkBlock* unsaid = in_flight_ != nullptr ? in_flight_.get() : open_.get();
  const uint64_t said = unsaid != nullptr ? unsaid->first_sequence - 1 : last_;
  // What was sent is kept nowhere else: nothing could be appended, and flush() would wait for ever.
  if (said > last_stored) on_refused(check_no_gap(token_.job_id, last_stored, last_));
}

void ProducerImpl::fail(Status why) {
  failed_ = std::move(why);
  scope_.cancel(CancelReason::kSiblingFailed);
}

uint64_t ProducerImpl::cut_below(uint64_t cursor) const {
  const auto after = std::partition_point(marks_.begin(), marks_.end(),
                                          [&](const Mark& mark) { return mark.last < cursor; });
  return after == marks_.begin() ? 0 : std::prev(after)->last;
}

void ProducerImpl::on_trimmed(uint64_t first) {
  while (!marks_.empty() && marks_.front().last < first) {
    trimmed_bytes_ = marks_.front().bytes;
    marks_.pop_front();
  }
}

}  // namespace internal

Producer::Producer(StreamHub& hub, const v1::Job& job, Token token, CancelScope& scope)
    : impl_(std::make_unique<internal::ProducerImpl>(*hub.impl_, job, std::move(token), scope)) {}
Producer::~Producer() = default;

bool Producer::has_room() const { return impl_->has_room(); }
bool Producer::must_wait() const { return impl_->must_wait(); }
Task<void> Producer::wait_for_room() { return impl_->wait_for_room(); }
Status Producer::push(std::string_view chunk) { return impl_->push(chunk); }
Task<Status> Producer::flush() { return impl_->flush(); }
void Producer::abandon() { impl_->abandon(); }
const Status& Producer::failed() const { return impl_->failed(); }
uint64_t Producer::last_sequence() const { return impl_->last_sequence(); }
uint64_t Producer::settled_sequence() const { return impl_->settled_sequence(); }

}  // namespace weft
