// What a stream's record has to tell once news were missed. Chunks that were not heard of need
// nothing more: readers find them in the log.
#include <absl/container/flat_hash_map.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include <weft/base/limits.h>
#include <weft/runtime/sleep.h>
#include <weft/runtime/task_group.h>
#include <weft/stream/hub_impl.h>
#include <weft/stream/resync.h>

namespace weft::internal {
namespace {

constexpr std::chrono::milliseconds kRetryMin(50);
constexpr std::chrono::milliseconds kRetryMax(2000);

}  // namespace

void Resync::want() {
  hub_.for_each_stream([this](const StreamStatePtr& state) {
    if (state->reader_count > 0 && !std::exchange(state->record_wanted, true)) {
      const bool over = state->finished && state->finished->state() != v1::JOB_STATE_DEAD;
      records_.push_back(
          {state, state->committed, state->seen_up_to, state->attempt_sequence, over});
    }
    if (state->producer != nullptr && !std::exchange(state->readers_wanted, true)) {
      written_.push_back(state);
    }
  });
  wake_.set();
}

Task<void> Resync::run() {
  std::chrono::milliseconds delay = kRetryMin;
  for (;;) {
    if (records_.empty() && written_.empty()) {
      wake_.reset();
      co_await wake_.wait();
    }
    // First what lets jobs run, or holds them back.
    Task<bool> readers = ask_for_readers();
    const bool knows_readers = co_await readers;
    Task<bool> records = ask_for_records();
    const bool knows_records = co_await records;
    if (knows_readers && knows_records) {
      delay = kRetryMin;
      continue;
    }
    co_await sleep_for(delay);
    delay = std::min(2 * delay, kRetryMax);
  }
}

Task<bool> Resync::ask_for_records() {
  std::vector<Known> asking = std::exchange(records_, {});
  size_t next = 0;
  bool all = true;
  auto ask = [](Resync* self, std::vector<Known>* known, size_t* at, bool* answered) -> Task<void> {
    while (*at < known->size()) {
      const Known& one = (*known)[(*at)++];
      one.state->record_wanted = false;
      if (one.state->reader_count == 0) continue;
      Task<bool> record = self->ask_for_record(one);
      const bool known_now = co_await record;
      if (known_now) continue;
      *answered = false;
      if (!std::exchange(one.state->record_wanted, true)) self->records_.push_back(one);
    }
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (size_t i = 0; i < std::min(kGets, asking.size()); ++i) {
      group.start(ask, this, &asking, &next, &all);
    }
    co_return;
  };
  co_await with_group(body);
  co_return all;
}

Task<bool> Resync::ask_for_record(const Known& known) {
  StreamState& state = *known.state;
  Task<StatusOr<v1::Job>> get = hub_.store().get(state.job_id(), false);
  const StatusOr<v1::Job> job = co_await get;
  if (state.removed) co_return true;
  if (job.status().code() == StatusCode::kNotFound) {
    // A job that is kept no longer than it runs has told its end to those who were there.
    if (!state.finished) hub_.forget(state.job_id());
    co_return true;
  }
  if (!job.ok()) co_return false;
  const bool other_attempt = job->attempt_sequence() > known.attempt_sequence &&
                             job->attempt_sequence() <= known.seen_up_to;
  if (job->last_sequence() < known.committed || other_attempt ||
      (known.over && !job->has_outcome())) {
    spdlog::warn("job {}: the store has lost a part of its stream", state.job_id());
    state.rewind(*job, other_attempt ? job->attempt_sequence() - 1
                                     : std::min(job->last_sequence(), known.committed));
  }
  state.learn(*job);
  if (state.producer == nullptr && job->has_progress() &&
      job->progress().SerializeAsString() != state.progress.SerializeAsString()) {
    state.set_progress(job->progress());
  }
  co_return true;
}

Task<bool> Resync::ask_for_readers() {
  while (!written_.empty()) {
    std::vector<StreamStatePtr> asking;
    std::vector<std::string> ids;
    while (!written_.empty() && ids.size() < limits::kRedisScriptItems) {
      StreamStatePtr state = std::move(written_.back());
      written_.pop_back();
      state->readers_wanted = false;
      if (state->producer == nullptr) continue;
      state->expect_remote();
      ids.push_back(state->job_id());
      asking.push_back(std::move(state));
    }
    if (ids.empty()) break;
    Task<StatusOr<std::vector<RemoteReaders>>> call = hub_.store().remote_readers(std::move(ids));
    const StatusOr<std::vector<RemoteReaders>> readers = co_await call;
    if (!readers.ok()) {
      for (const StreamStatePtr& state : asking) {
        if (!std::exchange(state->readers_wanted, true)) written_.push_back(state);
      }
      co_return false;
    }
    absl::flat_hash_map<absl::string_view, std::vector<RemoteReaders>> by_job;
    for (const RemoteReaders& one : *readers) by_job[to_absl(one.job_id)].push_back(one);
    for (const StreamStatePtr& state : asking) {
      state->replace_remote(by_job[to_absl(state->job_id())]);
    }
  }
  co_return true;
}

}  // namespace weft::internal
