// The hub's insides: the streams in use and the one append that is in flight. Private to
// daemon/stream.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <memory>
#include <string>
#include <vector>

#include <weft/runtime/loop_affinity.h>
#include <weft/stream/producer_impl.h>
#include <weft/stream/resync.h>
#include <weft/stream/stream_hub.h>
#include <weft/stream/stream_state.h>

namespace weft::internal {

class HubImpl {
 public:
  HubImpl(Store& store, StreamHubOptions options) : store_(store), options_(options) {}
  ~HubImpl();

  // Called by every entry point of the hub, its producers and its readers.
  void check_thread() const { affinity_.check(); }
  Task<void> run();
  Task<StatusOr<std::unique_ptr<Subscription>>> open(WatchOptions watch);

  Resync& resync() { return resync_; }
  template <typename F>
  void for_each_stream(F function) {
    for (const auto& [id, state] : streams_) function(state);
  }

  Store& store() { return store_; }
  const StreamHubOptions& options() const { return options_; }
  StreamHubStats& stats() { return stats_; }
  size_t streams() const { return streams_.size(); }
  uint64_t next_serial() { return ++serial_; }

  StreamStatePtr state_of(const std::string& job_id);
  StreamState* find(const std::string& job_id);
  void forget_if_unused(StreamState& state);
  // The job is removed; a new one may have its id.
  void forget(const std::string& job_id);

  void want_append(ProducerImpl& producer) {
    dirty_.push_back(producer);
    work_.set();
  }
  void want_trim(StreamState& state);
  // `state` has put blocks into its live tail: drops the least recently written ones over the
  // bound.
  void bound_tails(StreamState& state);

 private:
  Task<void> write();
  Task<bool> append_once();
  Task<bool> trim_all();

  const LoopAffinity affinity_;
  Store& store_;
  const StreamHubOptions options_;
  StreamHubStats stats_;
  uint64_t serial_ = 0;
  absl::flat_hash_map<std::string, StreamStatePtr> streams_;
  IntrusiveList<StreamState, StreamState> tails_;
  IntrusiveList<ProducerImpl, ProducerImpl> dirty_;
  std::vector<StreamStatePtr> trims_;
  Event work_;
  Resync resync_{*this};
};

}  // namespace weft::internal
