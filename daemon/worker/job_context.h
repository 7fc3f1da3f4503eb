// JobContext: all that belongs to one attempt while it runs. Private to daemon/worker.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <weft/base/ring.h>
#include <weft/runtime/event.h>
#include <weft/runtime/executor.h>
#include <weft/runtime/task_group.h>
#include <weft/store/store.h>
#include <weft/stream/producer.h>
#include <weft/stream/stream_hub.h>
#include <weft/worker/slots.h>
#include <weft/worker/start_gate.h>

namespace weft {
class StuckJobs;
}

namespace weft {
class JobType;
}  // namespace weft

namespace weft::internal {

// Told what becomes of a job.
class JobObserver {
 public:
  // It may start: nothing of its kind is in its way any more.
  virtual void on_start(class JobContext& context) = 0;
  // It has new progress to be stored.
  virtual void on_progress(class JobContext& context) = 0;
  // The attempt is over, or will never start.
  virtual void on_end(class JobContext& context) = 0;

 protected:
  ~JobObserver() = default;
};

// What a context needs of its worker; outlives every attempt.
class JobHost {
 public:
  JobHost(Store& store_in, StreamHub& hub_in, Executor& executor_in, Slots& slots_in,
          JobObserver& observer_in)
      : store(store_in),
        hub(hub_in),
        executor(executor_in),
        slots(slots_in),
        observer(observer_in) {}
  Store& store;
  StreamHub& hub;
  Executor& executor;
  Slots& slots;
  JobObserver& observer;
};

// Thread: the loop's. Lifetime: shared by the handles of the handler; after end() it is inert.
class JobContext : public ListNode<JobContext>, public ListNode<StuckJobs> {
 public:
  // Made with a slot, which is given back by end() at the latest.
  JobContext(JobHost& host, v1::Job record, Token token, std::shared_ptr<Executor::Lane> lane);
  ~JobContext();

  const v1::Job& record() const { return record_; }
  const Token& token() const { return token_; }
  // Until its total timeout is over, and until it may not start any more; by the store's clock, as
  // far as this process can tell. Empty: never.
  std::optional<std::chrono::nanoseconds> total_left() const;
  std::optional<std::chrono::nanoseconds> start_left() const;
  CancelScope& scope() { return scope_; }
  JobHost& host() { return host_; }
  Executor::Lane& lane() { return *lane_; }
  Producer* producer() { return producer_ ? &*producer_ : nullptr; }
  // The attempt is over: what handles ask for from now on goes nowhere.
  void end();

  // Returns when the attempt may start: jobs of its type, and other suspects, may be in its way.
  Task<void> wait_to_start();
  bool held() const { return type_place.held() || suspect_place.held(); }

  // Awaits what needs no slot: the job gives its slot back when its handler and all tasks it has
  // started do so, and has one again before the first of them goes on. A wait that is cut short by
  // a scope of the handler's own takes the slot again too; one of a cancelled job only unwinds.
  // Waits of tasks in the handler's own groups do not count, nor do waits beside such tasks, except
  // with kHelped: then these only help this very wait.
  enum class Beside : uint8_t { kWorkers, kHelped };
  Task<void> parked(Task<void> wait, Beside beside = Beside::kWorkers);
  // Tasks that the handler has started come and go.
  void task_started() { ++tasks_; }
  void task_ended();

  // Puts sends that were stored earlier into the inbox. Errors: as StreamStore::read_sends.
  Task<Status> load_sends();
  // In any order: news of another process's sends and the answers to one's own overtake each other.
  void on_send(uint64_t number, const std::string& value);
  // What the log has next after newest_send(), which may begin later: the oldest are not kept.
  void add_stored_sends(const std::vector<StoredSend>& sends);
  // All up to here have come.
  uint64_t newest_send() const { return newest_send_; }
  bool sends_missing() const { return !ahead_.empty(); }
  bool has_sends() const { return !inbox_.empty(); }
  std::optional<std::string> take_send();
  Task<std::optional<std::string>> receive();

  void set_progress(v1::Progress progress);
  // The latest; empty: none.
  const std::optional<v1::Progress>& progress() const { return progress_; }

  // Set by whoever may know of sends that are in the store already.
  bool sends_stored = false;
  bool looks_for_sends = false;
  bool handler_ended = false;  // its children may be on their way out yet
  std::string cancel_reason;   // as the user gave it
  std::string result;
  JobType* type = nullptr;  // what its worker keeps of all jobs like this one
  StartGate::Place type_place;
  StartGate::Place suspect_place;
  int64_t started_ns = -1;         // -1: not yet
  int64_t cancelled_seen_ns = -1;  // of StuckJobs, like the next
  bool stuck = false;
  TaskGroup* group = nullptr;  // of the handler and its children, until all of them are joined

 private:
  std::chrono::nanoseconds left_until(const google::protobuf::Timestamp& time) const;
  bool stands_for_a_task(Beside beside) const;
  void take_what_follows();
  void give_slot_back();
  Task<void> take_slot_again();

  JobHost& host_;
  const v1::Job record_;
  const Token token_;
  const int64_t taken_ns_;  // when its start_time was told
  const std::shared_ptr<Executor::Lane> lane_;
  CancelScope scope_;
  std::optional<Producer> producer_;
  size_t tasks_ = 1;   // the handler and those it started
  size_t parked_ = 0;  // of them
  bool has_slot_ = true;
  bool asks_for_slot_ = false;
  Event slot_back_;
  Ring<StoredSend> inbox_;
  uint64_t newest_send_ = 0;
  // Those that wait for one before them. No more than limits::kUnconsumedSends: the store takes no
  // others.
  std::map<uint64_t, std::string> ahead_;
  Event send_came_;
  std::optional<v1::Progress> progress_;
};

}  // namespace weft::internal
