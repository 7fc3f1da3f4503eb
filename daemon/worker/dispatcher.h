// Dispatcher: tells the store how attempts ended and takes new jobs, both in one transaction.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <weft/base/limits.h>
#include <weft/runtime/event.h>
#include <weft/runtime/loop_affinity.h>
#include <weft/store/store.h>
#include <weft/worker/slots.h>

namespace weft {

struct DispatcherOptions {
  Incarnation worker;
  std::string worker_name;
  size_t max_resident = limits::kResidentJobs;
  size_t max_resident_bytes = limits::kResidentBytes;
};

struct DispatcherStats {
  uint64_t taken = 0;
  uint64_t succeeded = 0;  // and accepted by the store, like the next five
  uint64_t dead = 0;
  uint64_t cancelled = 0;
  uint64_t retried = 0;  // failures that another attempt follows
  uint64_t snoozed = 0;
  uint64_t released = 0;
  uint64_t stale = 0;  // refused by the store: the job is another's now
};

// Told of jobs that were taken. Each comes with a slot.
class JobStarter {
 public:
  // A take is about to be asked for: says what there is room for beside the slots.
  virtual void before_take(TakeRequest& request) = 0;
  // Who reads the streams of jobs about to be started, in other processes.
  virtual void on_taken_readers(std::vector<RemoteReaders> readers) = 0;
  // This attempt has been started and is not over.
  virtual bool runs(const Token& token) const = 0;
  virtual void start(v1::Job job) = 0;
  // Every job of the take was started.
  virtual void after_take() = 0;

 protected:
  ~JobStarter() = default;
};

// One call to the store in flight at a time; what ends meanwhile goes with the next one.
// Thread: the loop's. Lifetime: outlives the attempts it starts.
// Limits: takes as many jobs as slots are free, at most limits::kTakeBatch at once, and holds at
// most `max_resident`. It takes none while those it holds have payloads of `max_resident_bytes` or
// more; so it holds at most one take (limits::kTakeBytes) beyond that.
class Dispatcher final : private Timer {
 public:
  Dispatcher(Store& store, JobStarter& starter, size_t concurrency, DispatcherOptions options);
  ~Dispatcher();
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  // Until draining, and everything it took has been told to the store. While the store is
  // UNAVAILABLE it keeps what is to be told and tries again; it takes nothing until it is told.
  Task<void> run();

  void settle(Settlement settlement);
  void release(Token token);
  // The attempt ended and there is nothing to tell.
  void drop();
  // The jobs that this worker holds are others' now, and it is `next` from here on: forgets what
  // was to be told of them.
  void lose_lease(Incarnation next);
  // Answers may have been lost: asks the store what it thinks runs here, and hands back the rest.
  void reconcile();
  // An attempt's record, with its payload, is gone.
  void forget(const v1::Job& job);

  // Takes nothing for a moment: what was just handed back would come again at once.
  void pause();
  void on_work();
  void drain();
  bool draining() const { return draining_; }

  Slots& slots() { return slots_; }
  size_t resident() const { return resident_; }
  size_t resident_bytes() const { return resident_bytes_; }
  Incarnation worker() const { return worker_; }
  size_t pending() const { return settlements_.size() + releases_.size(); }
  const DispatcherStats& stats() const { return stats_; }

 private:
  size_t wanted() const;
  // Others have to be told of work from now on.
  bool must_say_goodbye() const { return draining_ && !said_goodbye_ && store_.shared(); }
  Task<bool> settle_and_take();
  Task<bool> release_all();
  Task<bool> hand_back_unknown();
  void give_back(Token token);
  void forget_stale(size_t count);
  void conclude(const Settlement& settlement, const Status& answer);
  void fire() override;

  const LoopAffinity affinity_;
  Store& store_;
  JobStarter& starter_;
  const DispatcherOptions options_;
  Incarnation worker_;
  Event wake_;
  Slots slots_;
  std::vector<Settlement> settlements_;
  std::vector<Token> releases_;
  size_t resident_ = 0;        // taken, and the store does not know yet how they ended
  size_t resident_bytes_ = 0;  // payloads of running attempts
  bool paused_ = false;
  bool reconcile_ = false;
  bool store_down_ = false;  // the last call to it failed
  bool work_likely_ = true;  // at the start the store may hold jobs from before
  bool draining_ = false;
  bool said_goodbye_ = false;
  Status why_down_;  // of the last call that found the store unavailable
  DispatcherStats stats_;
};

}  // namespace weft
