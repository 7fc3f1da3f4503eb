// An attempt's slot, inbox and progress.
#include <algorithm>

#include <weft/base/limits.h>
#include <weft/worker/job_context.h>

namespace weft::internal {
namespace {

constexpr std::chrono::milliseconds kLongest = std::chrono::hours(24 * 366);

}  // namespace

JobContext::JobContext(JobHost& host, v1::Job record, Token token,
                       std::shared_ptr<Executor::Lane> lane)
    : host_(host),
      record_(std::move(record)),
      token_(std::move(token)),
      taken_ns_(EventLoop::current()->now_ns()),
      lane_(std::move(lane)) {
  producer_.emplace(host_.hub, record_, token_, scope_);
  sends_stored = record_.last_send() > 0;
}

JobContext::~JobContext() { end(); }

// Two times of the store's clock, and how long ago the first of them was: the clock of this machine
// may be another.
std::chrono::nanoseconds JobContext::left_until(const google::protobuf::Timestamp& time) const {
  const auto& start = record_.start_time();
  // In milliseconds first: most years are too far to be counted in nanoseconds.
  const std::chrono::milliseconds ms((time.seconds() - start.seconds()) * 1000);
  const int64_t part_ns = int64_t{time.nanos()} - start.nanos();
  const int64_t passed_ns = EventLoop::current()->exact_now_ns() - taken_ns_;
  return std::chrono::nanoseconds(std::clamp(ms, -kLongest, kLongest)) +
         std::chrono::nanoseconds(part_ns - passed_ns);
}

std::optional<std::chrono::nanoseconds> JobContext::total_left() const {
  if (!record_.has_deadline_time()) return std::nullopt;
  return left_until(record_.deadline_time());
}

std::optional<std::chrono::nanoseconds> JobContext::start_left() const {
  if (!record_.spec().has_expire_at()) return std::nullopt;
  return left_until(record_.spec().expire_at());
}

void JobContext::end() {
  if (!producer_) return;
  give_slot_back();
  static_cast<ListNode<JobContext>&>(*this).unlink();
  suspect_place.leave();
  type_place.leave();
  producer_.reset();
  host_.observer.on_end(*this);
}

Task<void> JobContext::wait_to_start() {
  auto wait = [](StartGate::Place* place) -> Task<void> { co_await place->wait(); };
  // In this order everywhere, else two suspects of one type could wait for each other.
  if (suspect_place.held()) co_await parked(wait(&suspect_place));
  if (type_place.held()) co_await parked(wait(&type_place));
  host_.observer.on_start(*this);
}

void JobContext::task_ended() {
  --tasks_;
  if (parked_ > 0 && parked_ >= tasks_) give_slot_back();
}

// Whether all of the handler, or of a task it started, waits when the running task does.
bool JobContext::stands_for_a_task(Beside beside) const {
  const TaskContext* task = EventLoop::current()->context();
  const CancelScope& base = group != nullptr ? group->scope() : scope_;
  const CancelScope* outermost = nullptr;
  for (const CancelScope* scope = task->scope(); scope != &base; scope = scope->parent()) {
    if (scope == nullptr || scope->owner() != task) return false;
    outermost = scope;
  }
  if (outermost == nullptr || beside == Beside::kHelped) return true;
  size_t count = 0;
  auto add = [&](const TaskContext&) { ++count; };
  const_cast<CancelScope*>(outermost)->for_each_task(add);  // its parent() is const, it is not
  return count == 1;
}

Task<void> JobContext::parked(Task<void> wait, Beside beside) {
  std::exception_ptr cut_short;
  const bool counts = stands_for_a_task(beside);
  if (counts) {
    ++parked_;
    if (parked_ >= tasks_) give_slot_back();
  }
  try {
    co_await wait;
  } catch (...) {
    cut_short = std::current_exception();
  }
  if (counts) --parked_;
  try {
    if (!has_slot_ && producer_ && !scope_.cancelled()) co_await take_slot_again();
  } catch (const Cancelled&) {  // the job is; what it awaits next says so
  }
  if (cut_short) std::rethrow_exception(cut_short);
}

void JobContext::give_slot_back() {
  if (!has_slot_) return;
  has_slot_ = false;
  host_.slots.release();
}

Task<void> JobContext::take_slot_again() {
  // A timeout inside the handler must not leave it running without a slot.
  CancelScope scope;
  ScopeEntry entry(scope, scope_);
  while (!has_slot_ && producer_) {
    if (asks_for_slot_) {  // another task of this job is at it
      co_await slot_back_.wait();
      continue;
    }
    asks_for_slot_ = true;
    struct Asking {
      JobContext& context;
      ~Asking() {
        context.asks_for_slot_ = false;
        context.slot_back_.notify_all();
      }
    } asking(*this);
    co_await host_.slots.acquire();
    has_slot_ = true;
    if (!producer_) give_slot_back();  // the attempt ended meanwhile
  }
}

Task<Status> JobContext::load_sends() {
  Task<StatusOr<std::vector<StoredSend>>> read = host_.store.read_sends(token_.job_id, 0);
  StatusOr<std::vector<StoredSend>> sends = co_await read;
  if (!sends.ok()) co_return sends.status();
  add_stored_sends(*sends);
  co_return absl::OkStatus();
}

void JobContext::on_send(uint64_t number, const std::string& value) {
  if (number <= newest_send_) return;
  ahead_.emplace(number, value);
  take_what_follows();
}

void JobContext::add_stored_sends(const std::vector<StoredSend>& sends) {
  for (const StoredSend& send : sends) {
    if (send.number <= newest_send_) continue;
    newest_send_ = send.number;
    inbox_.push_back(send);
  }
  ahead_.erase(ahead_.begin(), ahead_.upper_bound(newest_send_));
  take_what_follows();
  send_came_.notify_all();
}

void JobContext::take_what_follows() {
  while (!ahead_.empty() && ahead_.begin()->first == newest_send_ + 1) {
    auto next = ahead_.extract(ahead_.begin());
    newest_send_ = next.key();
    inbox_.push_back(StoredSend(next.key(), std::move(next.mapped())));
    send_came_.notify_all();
  }
}

std::optional<std::string> JobContext::take_send() {
  if (inbox_.empty()) return std::nullopt;
  StoredSend send = inbox_.pop_front();
  host_.store.consumed(token_, send.number);
  return std::move(send.value);
}

Task<std::optional<std::string>> JobContext::receive() {
  while (inbox_.empty() && producer_) {
    auto wait = [](JobContext* context) -> Task<void> { co_await context->send_came_.wait(); };
    co_await parked(wait(this));
  }
  co_return take_send();
}

void JobContext::set_progress(v1::Progress progress) {
  if (!producer_) return;
  progress_ = std::move(progress);
  host_.hub.on_progress(token_.job_id, *progress_);
  host_.observer.on_progress(*this);
}

}  // namespace weft::internal
