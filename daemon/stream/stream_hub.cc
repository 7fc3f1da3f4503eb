// The one append in flight: collects what producers pushed, stores it, and only then shows it.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>

#include <weft/runtime/sleep.h>
#include <weft/runtime/task_group.h>
#include <weft/stream/hub_impl.h>
#include <weft/stream/stream_hub.h>
#include <weft/stream/subscription_impl.h>

namespace weft {
namespace internal {
namespace {

constexpr std::chrono::milliseconds kRetryMin(50);
constexpr std::chrono::milliseconds kRetryMax(2000);

// One block on its way to the store. Its producer may be gone when the answer comes.
class Flight {
 public:
  Flight(StreamStatePtr stream, ChunkBlockPtr chunks)
      : state(std::move(stream)), serial(state->producer_serial), block(std::move(chunks)) {}
  ProducerImpl* producer() const {
    return state->producer_serial == serial ? state->producer : nullptr;
  }
  StreamStatePtr state;
  uint64_t serial;
  ChunkBlockPtr block;
};

}  // namespace

HubImpl::~HubImpl() {
  WEFT_CHECK(streams_.empty(), "a hub outlives its producers and subscriptions");
}

Task<void> HubImpl::run() {
  auto body = [this](TaskGroup& group) -> Task<void> {
    group.start([this] { return resync_.run(); }).set_name("stream hub: resync");
    co_await write();
  };
  co_await with_group(body);
}

Task<void> HubImpl::write() {
  std::chrono::milliseconds delay = kRetryMin;
  for (;;) {
    if (dirty_.empty() && trims_.empty()) {
      work_.reset();
      co_await work_.wait();
    }
    Task<bool> trim = trim_all();
    const bool trimmed = co_await trim;
    Task<bool> append = append_once();
    const bool appended = co_await append;
    if (trimmed && appended) {
      delay = kRetryMin;
      continue;
    }
    spdlog::warn("the store takes no chunks now, next try in {} ms", delay.count());
    co_await sleep_for(delay);
    delay = std::min(2 * delay, kRetryMax);
  }
}

Task<bool> HubImpl::append_once() {
  std::vector<Append> appends;
  std::vector<Flight> flights;
  size_t bytes = 0;
  while (!dirty_.empty() && bytes < limits::kStoreBatchBytes &&
         appends.size() < limits::kStoreBatchOps) {
    ProducerImpl& producer = *dirty_.pop_front();
    ChunkBlockPtr block = producer.next_block();
    if (block == nullptr) continue;
    bytes += block->bytes.size();
    appends.emplace_back(producer.token(), block);
    flights.emplace_back(producer.state(), std::move(block));
  }
  if (appends.empty()) co_return true;
  ++stats_.appends;
  Task<std::vector<Status>> append = store_.append(std::move(appends));
  const std::vector<Status> answers = co_await append;
  WEFT_CHECK(answers.size() == flights.size(), "a store answers every item");
  bool available = true;
  for (size_t i = 0; i < flights.size(); ++i) {
    const Flight& flight = flights[i];
    ProducerImpl* producer = flight.producer();
    if (answers[i].ok()) {
      stats_.chunks_committed += flight.block->count();
      stats_.bytes_committed += flight.block->bytes.size();
      flight.state->publish(flight.block);
      if (producer != nullptr) producer->on_stored(*flight.block);
    } else if (answers[i].code() == StatusCode::kUnavailable) {
      available = false;
      if (producer != nullptr) want_append(*producer);
    } else if (producer != nullptr) {
      spdlog::warn("job {}: its chunks are refused: {}", flight.state->job_id(),
                   from_absl(answers[i].message()));
      producer->on_refused(answers[i]);
    }
  }
  co_return available;
}

Task<bool> HubImpl::trim_all() {
  bool available = true;
  for (const StreamStatePtr& state : std::exchange(trims_, {})) {
    state->trim_wanted = false;
    const uint64_t cut = state->head_cut();
    if (cut == 0) {  // a reader has come that still wants what was to go
      state->hold_head();
      continue;
    }
    Task<Status> trim = store_.trim(state->job_id(), cut + 1);
    const Status answer = co_await trim;
    if (answer.ok()) {
      state->on_trimmed(cut + 1);
    } else if (answer.code() == StatusCode::kUnavailable) {
      available = false;
      want_trim(*state);
    } else {
      spdlog::error("job {}: its stream cannot be trimmed: {}", state->job_id(),
                    from_absl(answer.message()));
      if (state->producer != nullptr) state->producer->fail(answer);
    }
  }
  co_return available;
}

Task<StatusOr<std::unique_ptr<Subscription>>> HubImpl::open(WatchOptions watch) {
  using Answer = StatusOr<std::unique_ptr<Subscription>>;
  const StreamState* state = find(watch.job_id);
  if (stats_.readers >= options_.readers) {
    co_return retry_error(StatusCode::kResourceExhausted,
                          "this server has " + std::to_string(options_.readers) +
                              " readers, its limit: try again later, or another server",
                          1000);
  }
  if (state != nullptr && state->reader_count >= options_.readers_per_job) {
    co_return retry_error(StatusCode::kResourceExhausted,
                          "job " + watch.job_id + " has " +
                              std::to_string(options_.readers_per_job) +
                              " readers, its limit: try again when one has left",
                          1000);
  }
  std::string job_id = watch.job_id;
  auto reader = std::make_unique<SubscriptionImpl>(*this, std::move(watch));
  Task<StatusOr<v1::Job>> get = store_.get(std::move(job_id), false);
  const StatusOr<v1::Job> job = co_await get;
  if (!job.ok()) co_return job.status();
  const Status started = reader->start(*job);
  if (!started.ok()) co_return started;
  co_return Answer(std::move(reader));
}

StreamStatePtr HubImpl::state_of(const std::string& job_id) {
  check_thread();
  StreamStatePtr& state = streams_[to_absl(job_id)];
  if (state == nullptr) state = std::make_shared<StreamState>(*this, job_id);
  return state;
}

StreamState* HubImpl::find(const std::string& job_id) {
  const auto found = streams_.find(to_absl(job_id));
  return found == streams_.end() ? nullptr : found->second.get();
}

void HubImpl::forget_if_unused(StreamState& state) {
  if (!state.unused()) return;
  const auto found = streams_.find(to_absl(state.job_id()));
  if (found != streams_.end() && found->second.get() == &state) streams_.erase(found);
}

void HubImpl::forget(const std::string& job_id) {
  const auto found = streams_.find(to_absl(job_id));
  if (found == streams_.end()) return;
  const StreamStatePtr state = found->second;
  streams_.erase(found);
  state->forget();
}

void HubImpl::want_trim(StreamState& state) {
  if (state.unused() || std::exchange(state.trim_wanted, true)) return;
  trims_.push_back(state.shared_from_this());
  work_.set();
}

void HubImpl::bound_tails(StreamState& state) {
  tails_.push_back(state);
  while (stats_.live_tail_bytes > options_.live_tail_bytes && !tails_.empty()) {
    StreamState& oldest = tails_.front();
    if (!oldest.tail.empty()) oldest.drop_tail_front();
    if (oldest.tail.empty()) oldest.unlink();
  }
}

}  // namespace internal

StreamHub::StreamHub(Store& store, StreamHubOptions options)
    : impl_(std::make_unique<internal::HubImpl>(store, options)) {}
StreamHub::~StreamHub() = default;

Task<void> StreamHub::run() {
  impl_->check_thread();
  return impl_->run();
}

Task<StatusOr<std::unique_ptr<Subscription>>> StreamHub::open(WatchOptions options) {
  impl_->check_thread();
  return impl_->open(std::move(options));
}

void StreamHub::on_finished(const v1::Job& job) {
  impl_->check_thread();
  if (internal::StreamState* state = impl_->find(job.spec().id())) state->learn(job);
}

void StreamHub::on_retried(const v1::Job& job) {
  impl_->check_thread();
  if (internal::StreamState* state = impl_->find(job.spec().id())) state->learn(job);
}

void StreamHub::on_removed(const std::string& job_id) {
  impl_->check_thread();
  impl_->forget(job_id);
}

void StreamHub::on_progress(const std::string& job_id, const v1::Progress& progress) {
  impl_->check_thread();
  if (internal::StreamState* state = impl_->find(job_id)) state->set_progress(progress);
}

void StreamHub::on_entries(const std::string& job_id, const ChunkBlockPtr& block) {
  impl_->check_thread();
  if (internal::StreamState* state = impl_->find(job_id)) state->publish(block);
}

void StreamHub::on_stored(const std::string& job_id, uint64_t last_sequence) {
  impl_->check_thread();
  if (internal::StreamState* state = impl_->find(job_id)) state->on_stored(last_sequence);
}

void StreamHub::on_readers_detached(const std::string& job_id, uint64_t first_sequence) {
  impl_->check_thread();
  if (internal::StreamState* state = impl_->find(job_id)) state->detach_below(first_sequence);
}

void StreamHub::on_readers(const RemoteReaders& readers) {
  impl_->check_thread();
  internal::StreamState* state = impl_->find(readers.job_id);
  if (state != nullptr && state->producer != nullptr) state->set_remote(readers);
}

void StreamHub::on_resync() {
  impl_->check_thread();
  impl_->resync().want();
}

StreamHubStats StreamHub::stats() const {
  impl_->check_thread();
  StreamHubStats stats = impl_->stats();
  stats.streams = impl_->streams();
  return stats;
}

}  // namespace weft
