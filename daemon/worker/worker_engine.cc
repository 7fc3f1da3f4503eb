// A worker's parts, and the way of a job through them.
#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include <weft/runtime/sleep.h>
#include <weft/runtime/task_group.h>
#include <weft/worker/dispatcher.h>
#include <weft/worker/early_readers.h>
#include <weft/worker/job_context.h>
#include <weft/worker/job_run.h>
#include <weft/worker/job_types.h>
#include <weft/worker/promoter.h>
#include <weft/worker/stuck_jobs.h>
#include <weft/worker/worker_engine.h>

namespace weft {

using internal::JobContext;
namespace {
constexpr size_t kLookedAtAtOnce = 64;  // jobs that the store is asked about
}  // namespace

class WorkerEngine::Impl final : public JobStarter, public internal::JobObserver, private Timer {
 public:
  Impl(Store& store, StreamHub& hub, Executor& executor, const Registry& registry,
       WorkerOptions options)
      : store_(store),
        hub_(hub),
        options_(std::move(options)),
        promoter_(store, store.shared()),
        random_(options_.random),
        job_types_(store.shared() ? registry.types() : std::vector<std::string>()),
        types_(registry),
        dispatcher_(store, *this, options_.concurrency,
                    DispatcherOptions{options_.incarnation, options_.name, options_.max_resident,
                                      options_.max_resident_bytes}),
        host_(store, hub, executor, dispatcher_.slots(), *this) {}
  ~Impl() { EventLoop::current()->disarm(*this); }

  Task<void> run();
  void drain(std::chrono::nanoseconds grace);
  WorkerStats stats() const;
  WorkerMetrics metrics() const { return types_.read(); }
  void on_work() { dispatcher_.on_work(); }
  Promoter& promoter() { return promoter_; }
  StuckJobs& stuck() { return stuck_; }
  void on_cancel_requested(const std::string& job_id, const std::string& reason);
  void on_finished(const v1::Job& job) { hub_.on_finished(job); }
  void on_send(const std::string& job_id, uint64_t number, const std::string& value);
  void on_readers(const RemoteReaders& readers);
  void on_resync();
  void on_lease_lost(Incarnation next);
  StreamHub& hub() { return hub_; }
  Incarnation incarnation() const { return dispatcher_.worker(); }

 private:
  void before_take(TakeRequest& request) override;
  void on_taken_readers(std::vector<RemoteReaders> readers) override;
  bool runs(const Token& token) const override { return find(token) != nullptr; }
  void start(v1::Job job) override;
  void after_take() override;
  void on_start(JobContext& context) override;
  void on_progress(JobContext& context) override;
  void on_end(JobContext& context) override;
  void fire() override;  // the grace of a drain is over

  Task<void> attempt(std::shared_ptr<JobContext> context);
  void conclude(JobContext& context, const AttemptRun& run);
  Task<void> save_progress();
  Task<void> look_again();
  Task<void> look_at(Token token);
  JobContext* find(const Token& token) const;
  // News of an earlier attempt may come when the store has told more of this one already.
  static bool concerns(const RemoteReaders& readers, const JobContext& context) {
    return readers.attempt == 0 || readers.attempt == context.token().attempt;
  }
  void lose(JobContext& context);
  std::shared_ptr<Executor::Lane> lane_of(const std::string& queue);

  Store& store_;
  StreamHub& hub_;
  const WorkerOptions options_;
  Promoter promoter_;
  Random random_;
  const std::vector<std::string> job_types_;  // of a shared store only these are taken
  JobTypes types_;
  StuckJobs stuck_;
  LimitedKind suspects_{1};  // a second one at its side could be blamed for its deaths
  Dispatcher dispatcher_;
  internal::JobHost host_;
  TaskGroup* group_ = nullptr;
  bool grace_over_ = false;
  absl::flat_hash_map<std::string, JobContext*> running_;
  absl::flat_hash_map<std::string, std::weak_ptr<Executor::Lane>> lanes_;
  // News about jobs that the store has given us while its answer is still on the way.
  bool taking_ = false;
  absl::flat_hash_map<std::string, std::string> early_cancels_;  // with their reasons
  absl::flat_hash_set<std::string> early_sends_;
  EarlyReaders early_readers_;
  IntrusiveList<JobContext, JobContext> new_progress_;
  Event progress_came_;
  Event news_missed_;
};

namespace {

// Of a first attempt: since it could have started. The time before a later one is not a wait.
std::optional<int64_t> waited_ns(const v1::Job& job, int64_t wall_ns) {
  if (job.attempt() != 1) return std::nullopt;
  const auto to_ns = [](const auto& time) { return time.seconds() * 1'000'000'000 + time.nanos(); };
  int64_t due_ns = to_ns(job.submit_time());
  if (job.spec().has_delay()) due_ns += to_ns(job.spec().delay());
  // What was before the submission does not count; most years are too far to be counted.
  const auto& run_at = job.spec().run_at();
  if (run_at.seconds() > wall_ns / 1'000'000'000) return 0;
  if (run_at.seconds() >= job.submit_time().seconds()) due_ns = std::max(due_ns, to_ns(run_at));
  return std::max<int64_t>(0, wall_ns - due_ns);
}

// "job ID (type)" for the running task, put together only when somebody asks: a million parked jobs
// have no room for a copy each.
class AttemptName final : public TaskName {
 public:
  explicit AttemptName(const JobContext& context)
      : context_(context), task_(*EventLoop::current()->context()) {
    task_.set_name(this);
  }
  ~AttemptName() { task_.set_name(static_cast<TaskName*>(nullptr)); }
  size_t write(char* out, size_t size) const noexcept override {
    size_t length = 0;
    for (const std::string_view part :
         {std::string_view("job "), std::string_view(context_.token().job_id),
          std::string_view(" ("), std::string_view(context_.record().spec().type()),
          std::string_view(")")}) {
      length += part.copy(out + length, size - length);
    }
    return length;
  }

 private:
  const JobContext& context_;
  TaskContext& task_;
};

}  // namespace

Task<void> WorkerEngine::Impl::run() {
  auto body = [this](TaskGroup& group) -> Task<void> {
    // Also when this is cancelled, nobody starts a job in a group that is gone.
    struct InUse {
      TaskGroup*& group;
      ~InUse() { group = nullptr; }
    } in_use{group_};
    group_ = &group;
    group.start([this] { return save_progress(); }).set_name("worker: progress");
    group.start([this] { return look_again(); }).set_name("worker: looks again");
    co_await dispatcher_.run();
    group.cancel(CancelReason::kShutdown);
  };
  co_await with_group(body);
  EventLoop::current()->disarm(*this);
}

void WorkerEngine::Impl::start(v1::Job job) {
  Token token(job.spec().id(), job.attempt(), dispatcher_.worker());
  std::shared_ptr<Executor::Lane> lane = lane_of(job.spec().queue());
  job.clear_errors();  // of earlier attempts: for people, who ask the store
  auto context =
      std::make_shared<JobContext>(host_, std::move(job), std::move(token), std::move(lane));
  context->type = &types_.of(context->record().spec().type());
  context->type->kind.on_taken();
  StartGate& gate = context->type->kind.gate;
  if (context->record().crashes() >= limits::kSuspectCrashes) {
    suspects_.on_taken();
    context->suspect_place.enter(suspects_.gate);
    context->type_place.hold(gate);
  } else {
    context->type_place.enter(gate);
  }
  const std::string& id = context->token().job_id;
  JobContext*& running = running_[to_absl(id)];
  // A store that lost what it did last has forgotten that it gave us this job; of the two runs,
  // which may even have the same token, only this one knows where the job's stream ends now.
  if (running != nullptr) lose(*running);
  running = context.get();
  stuck_.add(*context);
  if (grace_over_ || (dispatcher_.draining() && context->held()))
    context->scope().cancel(CancelReason::kShutdown);
  if (const auto cancel = early_cancels_.find(to_absl(id)); cancel != early_cancels_.end()) {
    context->cancel_reason = cancel->second;
    context->scope().cancel(CancelReason::kUserRequest);
  } else if (context->record().cancel_requested()) {
    // Told when nobody here knew of the job: the answer to its first take was lost.
    context->cancel_reason = context->record().cancel_reason();
    context->scope().cancel(CancelReason::kUserRequest);
  }
  if (early_sends_.contains(to_absl(id))) context->sends_stored = true;
  for (const RemoteReaders& readers : early_readers_.of(id)) {
    if (concerns(readers, *context)) hub_.on_readers(readers);
  }
  group_->start([this](std::shared_ptr<JobContext> started) { return attempt(std::move(started)); },
                std::move(context));
}

void WorkerEngine::Impl::before_take(TakeRequest& request) {
  taking_ = true;
  for (JobType* type : types_.limited()) {
    request.type_room.push_back(TypeRoom(type->handler->type, type->kind.offer()));
  }
  request.suspect = suspects_.offer() > 0;
  request.types = job_types_;
}

void WorkerEngine::Impl::after_take() {
  taking_ = false;
  for (JobType* type : types_.limited()) type->kind.after_take();
  suspects_.after_take();
  early_cancels_.clear();
  early_sends_.clear();
  if (early_readers_.clear()) hub_.on_resync();
}

Task<void> WorkerEngine::Impl::attempt(std::shared_ptr<JobContext> context) {
  // Also when this very task is cancelled, nothing of the job stays behind.
  struct Leave {
    JobContext& context;
    ~Leave() { context.end(); }
  };
  const AttemptName name(*context);
  Leave leave(*context);
  Task<AttemptRun> run = run_attempt(context, context->type->handler);
  const AttemptRun ran = co_await run;
  conclude(*context, ran);
}

void WorkerEngine::Impl::conclude(JobContext& context, const AttemptRun& run) {
  const bool ours = context.token().worker == dispatcher_.worker();
  AttemptEnd end = ours ? end_of(context, context.type->handler, run, random_)
                        : AttemptEnd(AttemptEnd::Verb::kDrop);  // it went with the lease
  const uint64_t last_sequence = context.producer()->settled_sequence();
  context.end();
  std::optional<int64_t> ran_ns;
  if (context.started_ns >= 0) {
    ran_ns = EventLoop::current()->exact_now_ns() - context.started_ns;
  }
  types_.on_end(*context.type, end, ran_ns);
  switch (end.verb) {
    case AttemptEnd::Verb::kSettle: {
      Settlement settlement(context.token(), end.state, std::move(end.outcome), last_sequence);
      settlement.pause = end.pause;
      settlement.snoozed = end.snoozed;
      settlement.progress = context.progress();  // the last one may not have been saved
      dispatcher_.settle(std::move(settlement));
      break;
    }
    case AttemptEnd::Verb::kRelease:
      if (!dispatcher_.draining()) dispatcher_.pause();
      dispatcher_.release(context.token());
      break;
    case AttemptEnd::Verb::kDrop:
      dispatcher_.drop();
      break;
  }
}

std::shared_ptr<Executor::Lane> WorkerEngine::Impl::lane_of(const std::string& queue) {
  std::weak_ptr<Executor::Lane>& known = lanes_[to_absl(queue)];
  std::shared_ptr<Executor::Lane> lane = known.lock();
  if (lane == nullptr) known = lane = std::make_shared<Executor::Lane>();
  // Queue names come from clients: those without a job here are forgotten now and then.
  if (lanes_.size() > 2 * (running_.size() + 16)) {
    absl::erase_if(lanes_, [](const auto& entry) { return entry.second.expired(); });
  }
  return lane;
}

void WorkerEngine::Impl::on_cancel_requested(const std::string& job_id, const std::string& reason) {
  const auto found = running_.find(to_absl(job_id));
  if (found != running_.end()) {
    found->second->cancel_reason = reason;
    found->second->scope().cancel(CancelReason::kUserRequest);
  } else if (taking_) {
    early_cancels_.emplace(job_id, reason);
  }
}

void WorkerEngine::Impl::on_send(const std::string& job_id, uint64_t number,
                                 const std::string& value) {
  const auto found = running_.find(to_absl(job_id));
  if (found != running_.end()) {
    JobContext& context = *found->second;
    context.on_send(number, value);
    if (context.sends_missing() && !std::exchange(context.looks_for_sends, true)) {
      group_->start([this](Token token) { return look_at(std::move(token)); }, context.token());
    }
  } else if (taking_) {
    early_sends_.emplace(job_id);
  }
}

void WorkerEngine::Impl::on_taken_readers(std::vector<RemoteReaders> readers) {
  // What has come meanwhile is newer.
  for (RemoteReaders& one : readers) early_readers_.add(std::move(one), EarlyReaders::kOlder);
}

void WorkerEngine::Impl::on_readers(const RemoteReaders& readers) {
  const auto found = running_.find(to_absl(readers.job_id));
  if (found != running_.end() && concerns(readers, *found->second)) {
    hub_.on_readers(readers);
  } else if (taking_) {
    early_readers_.add(readers, EarlyReaders::kNewer);
  }
}

JobContext* WorkerEngine::Impl::find(const Token& token) const {
  const auto found = running_.find(to_absl(token.job_id));
  return found != running_.end() && found->second->token() == token ? found->second : nullptr;
}

void WorkerEngine::Impl::on_resync() {
  hub_.on_resync();
  dispatcher_.reconcile();
  news_missed_.set();
}

// Asks for what it was not told about the jobs that run.
Task<void> WorkerEngine::Impl::look_again() {
  for (;;) {
    co_await news_missed_.wait();
    news_missed_.reset();
    std::vector<Token> tokens;
    tokens.reserve(running_.size());
    for (const auto& [id, context] : running_) tokens.push_back(context->token());
    for (size_t begin = 0; begin < tokens.size(); begin += kLookedAtAtOnce) {
      const size_t end = std::min(tokens.size(), begin + kLookedAtAtOnce);
      auto batch = [&](TaskGroup& group) -> Task<void> {
        for (size_t i = begin; i < end; ++i) {
          group.start([this](Token token) { return look_at(std::move(token)); }, tokens[i]);
        }
        co_return;
      };
      co_await with_group(batch);
    }
  }
}

Task<void> WorkerEngine::Impl::look_at(Token token) {
  Task<StatusOr<v1::Job>> get = store_.get(token.job_id, false);
  const StatusOr<v1::Job> job = co_await get;
  JobContext* context = find(token);
  // While the store is unavailable there is nothing to learn, and more news to miss.
  if (context == nullptr) co_return;
  context->looks_for_sends = false;
  if (!job.ok() && job.status().code() != StatusCode::kNotFound) co_return;
  if (!job.ok() || job->state() != v1::JOB_STATE_RUNNING || job->attempt() != token.attempt) {
    spdlog::warn("job {} is another's now: it is cancelled here", token.job_id);
    lose(*context);
    co_return;
  }
  if (job->cancel_requested()) on_cancel_requested(token.job_id, job->cancel_reason());
  if (job->last_send() <= context->newest_send()) co_return;
  Task<StatusOr<std::vector<StoredSend>>> read =
      store_.read_sends(token.job_id, context->newest_send());
  const StatusOr<std::vector<StoredSend>> sends = co_await read;
  context = find(token);
  if (context == nullptr || !sends.ok()) co_return;
  context->add_stored_sends(*sends);
}

void WorkerEngine::Impl::lose(JobContext& context) {
  context.producer()->abandon();
  context.scope().cancel(CancelReason::kLeaseLost);
}

void WorkerEngine::Impl::on_lease_lost(Incarnation next) {
  dispatcher_.lose_lease(next);
  if (!running_.empty()) {
    spdlog::warn("the lease is lost: {} jobs are others' now and are cancelled here",
                 running_.size());
  }
  for (const auto& [id, context] : running_) lose(*context);
}

void WorkerEngine::Impl::on_start(JobContext& context) {
  EventLoop* loop = EventLoop::current();
  context.started_ns = loop->exact_now_ns();
  types_.on_start(*context.type, waited_ns(context.record(), loop->wall_ns()));
}

void WorkerEngine::Impl::on_progress(JobContext& context) {
  if (!static_cast<ListNode<JobContext>&>(context).linked()) new_progress_.push_back(context);
  progress_came_.set();
}

void WorkerEngine::Impl::on_end(JobContext& context) {
  stuck_.remove(context);
  const auto found = running_.find(to_absl(context.token().job_id));
  if (found != running_.end() && found->second == &context) running_.erase(found);
  dispatcher_.forget(context.record());
  // There is room for one more like it now.
  if ((context.type->limited && context.type->kind.wants_more()) || suspects_.wants_more()) {
    dispatcher_.on_work();
  }
}

Task<void> WorkerEngine::Impl::save_progress() {
  for (;;) {
    progress_came_.reset();
    co_await progress_came_.wait();
    std::vector<std::pair<Token, v1::Progress>> batch;
    while (JobContext* context = new_progress_.pop_front()) {
      batch.emplace_back(context->token(), *context->progress());
    }
    // Progress is for looking at: what cannot be stored now is not worth a second try, and whoever
    // lost the job hears of it at the next chunk or at the end.
    Task<std::vector<Status>> save = store_.save_progress(std::move(batch));
    const std::vector<Status> answers = co_await save;
    co_await sleep_for(std::chrono::milliseconds(limits::kProgressSaveMs));
    if (!new_progress_.empty()) progress_came_.set();
  }
}

void WorkerEngine::Impl::drain(std::chrono::nanoseconds grace) {
  dispatcher_.drain();
  for (const auto& [id, context] : running_) {
    if (context->held()) context->scope().cancel(CancelReason::kShutdown);
  }
  EventLoop* loop = EventLoop::current();
  loop->disarm(*this);
  if (group_ == nullptr) return;
  if (grace.count() <= 0) {
    fire();
  } else {
    loop->arm(*this, loop->exact_now_ns() + grace.count());
  }
}

void WorkerEngine::Impl::fire() {
  grace_over_ = true;  // what an answer on its way brings is handed back at once
  for (const auto& [id, context] : running_) context->scope().cancel(CancelReason::kShutdown);
}

WorkerStats WorkerEngine::Impl::stats() const {
  const DispatcherStats& counts = dispatcher_.stats();
  WorkerStats stats;
  stats.taken = counts.taken;
  stats.succeeded = counts.succeeded;
  stats.dead = counts.dead;
  stats.cancelled = counts.cancelled;
  stats.retried = counts.retried;
  stats.snoozed = counts.snoozed;
  stats.released = counts.released;
  stats.lease_lost = counts.stale;
  stats.resident = dispatcher_.resident();
  stats.resident_bytes = dispatcher_.resident_bytes();
  stats.suspects_running = suspects_.gate.inside();
  stats.stuck = stuck_.count();
  stats.slots_used = host_.slots.used();
  stats.settlements_pending = dispatcher_.pending();
  return stats;
}

WorkerEngine::WorkerEngine(Store& store, StreamHub& hub, Executor& executor,
                           const Registry& registry, WorkerOptions options)
    : impl_(std::make_unique<Impl>(store, hub, executor, registry, std::move(options))) {
  store.set_listener(this);
}
WorkerEngine::~WorkerEngine() = default;

// Every entry point goes through here.
WorkerEngine::Impl& WorkerEngine::impl() const {
  affinity_.check();
  return *impl_;
}

Task<void> WorkerEngine::run() { return impl().run(); }
void WorkerEngine::drain(std::chrono::nanoseconds grace) { impl().drain(grace); }
WorkerStats WorkerEngine::stats() const { return impl().stats(); }
WorkerMetrics WorkerEngine::metrics() const { return impl().metrics(); }
Incarnation WorkerEngine::incarnation() const { return impl().incarnation(); }

Task<void> WorkerEngine::watch_stuck() { return impl().stuck().watch(); }

Task<void> WorkerEngine::promote() { return impl().promoter().run(); }

void WorkerEngine::on_work() { impl().on_work(); }
void WorkerEngine::on_scheduled(std::chrono::milliseconds in) {
  impl().promoter().on_scheduled(in);
}
void WorkerEngine::on_cancel_requested(const std::string& job_id, const std::string& reason) {
  impl().on_cancel_requested(job_id, reason);
}
void WorkerEngine::on_finished(const v1::Job& job) { impl().on_finished(job); }
void WorkerEngine::on_send(const std::string& job_id, uint64_t number, const std::string& value) {
  impl().on_send(job_id, number, value);
}
void WorkerEngine::on_entries(const std::string& job_id, const ChunkBlockPtr& block) {
  impl().hub().on_entries(job_id, block);
}
void WorkerEngine::on_stored(const std::string& job_id, uint64_t last_sequence) {
  impl().hub().on_stored(job_id, last_sequence);
}
void WorkerEngine::on_progress(const std::string& job_id, const v1::Progress& progress) {
  impl().hub().on_progress(job_id, progress);
}
void WorkerEngine::on_retried(const v1::Job& job) { impl().hub().on_retried(job); }
void WorkerEngine::on_removed(const std::string& job_id) { impl().hub().on_removed(job_id); }
void WorkerEngine::on_readers(const RemoteReaders& readers) { impl().on_readers(readers); }
void WorkerEngine::on_readers_detached(const std::string& job_id, uint64_t first_sequence) {
  impl().hub().on_readers_detached(job_id, first_sequence);
}
void WorkerEngine::on_resync() { impl().on_resync(); }
void WorkerEngine::on_lease_lost(Incarnation next) { impl().on_lease_lost(next); }

}  // namespace weft
