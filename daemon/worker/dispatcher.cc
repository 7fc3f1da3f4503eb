// The worker's one conversation with the store.
#include <absl/container/flat_hash_set.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include <weft/base/limits.h>
#include <weft/runtime/sleep.h>
#include <weft/worker/dispatcher.h>

namespace weft {
namespace {

constexpr std::chrono::milliseconds kRetryMin(50);
constexpr std::chrono::milliseconds kRetryMax(2000);
constexpr std::chrono::milliseconds kHandBackPause(500);

}  // namespace

Dispatcher::Dispatcher(Store& store, JobStarter& starter, size_t concurrency,
                       DispatcherOptions options)
    : store_(store),
      starter_(starter),
      options_(std::move(options)),
      worker_(options_.worker),
      slots_(concurrency, wake_) {}

Dispatcher::~Dispatcher() { EventLoop::current()->disarm(*this); }

size_t Dispatcher::wanted() const {
  if (draining_ || paused_ || !work_likely_) return 0;
  // Jobs whose ends cannot be stored would pile up.
  if (store_down_ && !settlements_.empty()) return 0;
  if (resident_ >= options_.max_resident || resident_bytes_ >= options_.max_resident_bytes) {
    return 0;
  }
  return std::min({slots_.free(), limits::kTakeBatch, options_.max_resident - resident_});
}

Task<void> Dispatcher::run() {
  affinity_.check();
  std::chrono::milliseconds delay = kRetryMin;
  while (!draining_ || resident_ > 0 || pending() > 0) {
    if (pending() == 0 && wanted() == 0 && !reconcile_ && !must_say_goodbye()) {
      wake_.reset();
      co_await wake_.wait();
      continue;
    }
    bool available = true;
    if (!releases_.empty()) available = co_await release_all();
    if (available) {
      Task<bool> settle = settle_and_take();
      available = co_await settle;
    }
    // Last: an answer that was lost has been given again by now.
    if (available && reconcile_) available = co_await hand_back_unknown();
    store_down_ = !available;
    if (available) {
      delay = kRetryMin;
      continue;
    }
    spdlog::warn("{}; next try in {} ms; {} jobs have ended meanwhile",
                 from_absl(why_down_.message()), delay.count(), pending());
    co_await sleep_for(delay);
    delay = std::min(2 * delay, kRetryMax);
  }
}

Task<bool> Dispatcher::settle_and_take() {
  const Incarnation asking = worker_;
  TakeRequest request{asking, options_.worker_name, slots_.reserve(wanted())};
  if (settlements_.empty() && request.max_jobs == 0) {
    if (!must_say_goodbye()) co_return true;
    said_goodbye_ = true;
  }
  const size_t asked = request.max_jobs;
  // The slots are taken before the answer, so that the jobs it brings can start at once.
  struct Reserved {
    Slots& slots;
    size_t count;
    ~Reserved() {
      for (; count > 0; --count) slots.release();
    }
  } reserved{slots_, asked};
  const std::vector<Settlement> telling = std::exchange(settlements_, {});
  if (asked > 0) {
    work_likely_ = false;  // unless on_work() or a full answer says otherwise
    starter_.before_take(request);
  }
  Task<StatusOr<Taken>> call = store_.settle_and_take(telling, std::move(request));
  StatusOr<Taken> taken = co_await call;
  if (!taken.ok()) {
    work_likely_ = work_likely_ || asked > 0;
    why_down_ = taken.status();
    if (asking == worker_) {
      settlements_.insert(settlements_.begin(), telling.begin(), telling.end());
    } else {
      forget_stale(telling.size());
    }
    if (asked > 0) starter_.after_take();
    co_return false;
  }
  for (size_t i = 0; i < telling.size(); ++i) conclude(telling[i], taken->settled[i]);
  work_likely_ = work_likely_ || (asked > 0 && taken->jobs.size() == asked);
  // What was taken under a lease that is gone is not ours.
  if (asking != worker_) taken->jobs.clear();
  starter_.on_taken_readers(std::move(taken->readers));
  for (v1::Job& job : taken->jobs) {
    ++resident_;
    resident_bytes_ += job.spec().payload().size();
    ++stats_.taken;
    --reserved.count;
    starter_.start(std::move(job));
  }
  if (asked > 0) starter_.after_take();
  co_return true;
}

Task<bool> Dispatcher::release_all() {
  std::vector<Token> tokens = std::exchange(releases_, {});
  Task<std::vector<Status>> call = store_.release(tokens);
  const std::vector<Status> answers = co_await call;
  bool available = true;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (answers[i].code() == StatusCode::kUnavailable) {
      available = false;
      why_down_ = answers[i];
      give_back(std::move(tokens[i]));
      continue;
    }
    ++(answers[i].ok() ? stats_.released : stats_.stale);
    --resident_;
  }
  co_return available;
}

void Dispatcher::conclude(const Settlement& settlement, const Status& answer) {
  switch (answer.code()) {
    case StatusCode::kOk:
      --resident_;
      if (settlement.state == v1::JOB_STATE_SUCCEEDED) ++stats_.succeeded;
      if (settlement.state == v1::JOB_STATE_DEAD) ++stats_.dead;
      if (settlement.state == v1::JOB_STATE_CANCELLED) ++stats_.cancelled;
      if (settlement.state == v1::JOB_STATE_SCHEDULED) {
        ++(settlement.snoozed ? stats_.snoozed : stats_.retried);
      }
      return;
    case StatusCode::kNotFound:  // it was removed: nobody waits for the answer
      --resident_;
      return;
    case StatusCode::kAborted:
      --resident_;
      ++stats_.stale;
      return;
    default:
      // Chunks are stored before the settlement is sent, so this is a fault of ours or the store's.
      // The job must not stay with a worker that has forgotten it.
      spdlog::error("job {}: its end cannot be stored, so it is handed back: {}",
                    settlement.token.job_id, from_absl(answer.message()));
      give_back(settlement.token);
      pause();
  }
}

void Dispatcher::settle(Settlement settlement) {
  affinity_.check();
  settlements_.push_back(std::move(settlement));
  wake_.set();
}

void Dispatcher::release(Token token) {
  affinity_.check();
  releases_.push_back(std::move(token));
  wake_.set();
}

void Dispatcher::give_back(Token token) {
  if (token.worker != worker_) return forget_stale(1);
  releases_.push_back(std::move(token));
}

void Dispatcher::forget_stale(size_t count) {
  stats_.stale += count;
  resident_ -= count;
}

void Dispatcher::lose_lease(Incarnation next) {
  affinity_.check();
  worker_ = next;
  forget_stale(pending());
  settlements_.clear();
  releases_.clear();
  work_likely_ = true;
  wake_.set();
}

void Dispatcher::reconcile() {
  affinity_.check();
  reconcile_ = true;
  wake_.set();
}

// Nothing is on its way meanwhile: this worker has one call to the store at a time.
Task<bool> Dispatcher::hand_back_unknown() {
  reconcile_ = false;
  Task<StatusOr<std::vector<Token>>> call = store_.held();
  const StatusOr<std::vector<Token>> held = co_await call;
  if (!held.ok()) {
    reconcile_ = true;
    why_down_ = held.status();
    co_return false;
  }
  absl::flat_hash_set<absl::string_view> ending;
  for (const Settlement& settlement : settlements_) ending.insert(to_absl(settlement.token.job_id));
  for (const Token& token : releases_) ending.insert(to_absl(token.job_id));
  size_t unknown = 0;
  for (const Token& token : *held) {
    const bool known = starter_.runs(token) || ending.contains(to_absl(token.job_id));
    if (token.worker != worker_ || known) continue;
    ++unknown;
    ++resident_;  // until it is handed back
    releases_.push_back(token);
  }
  if (unknown > 0)
    spdlog::warn("{} jobs were taken without our hearing of it: handed back", unknown);
  co_return true;
}

void Dispatcher::drop() {
  affinity_.check();
  ++stats_.stale;
  --resident_;
  wake_.set();
}

void Dispatcher::forget(const v1::Job& job) {
  affinity_.check();
  resident_bytes_ -= job.spec().payload().size();
  wake_.set();
}

void Dispatcher::pause() {
  affinity_.check();
  paused_ = true;
  EventLoop* loop = EventLoop::current();
  loop->disarm(*this);
  loop->arm(*this, loop->after_ns(kHandBackPause));
}

void Dispatcher::fire() {
  paused_ = false;
  wake_.set();
}

void Dispatcher::on_work() {
  affinity_.check();
  work_likely_ = true;
  wake_.set();
}

void Dispatcher::drain() {
  affinity_.check();
  draining_ = true;
  wake_.set();
}

}  // namespace weft
