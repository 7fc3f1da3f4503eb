// Renewing, taking over, and coming back.
#include <redis_scripts.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <set>
#include <utility>

#include <weft/base/limits.h>
#include <weft/base/random.h>
#include <weft/runtime/combinators.h>
#include <weft/runtime/sleep.h>
#include <weft/store/job_record.h>
#include <weft/store/redis/redis_store_impl.h>
#include <weft/store/redis/redis_workers.h>

namespace weft {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kSlackMs = 2;   // clocks are read at different times
constexpr int64_t kRetryMs = 50;  // after a refused renewal
constexpr int64_t kForeignLookMs = limits::kForeignTypeMs / 10;
constexpr int64_t kHeldPage = 1000;  // jobs of one answer
constexpr int64_t kMicrosecond_ns = 1000;

// What P workers has of a process. False: it is damaged.
bool parse_entry(const std::string& entry, v1::Worker& worker) {
  int64_t beat_us = 0;
  const char* const end = entry.data() + entry.size();
  const auto [rest, error] = std::from_chars(entry.data(), end, beat_us);
  if (error != std::errc() || rest == end || *rest != ' ') return false;
  if (!worker.ParseFromArray(rest + 1, static_cast<int>(end - rest - 1))) return false;
  worker.mutable_last_heard()->set_seconds(beat_us / 1'000'000);
  worker.mutable_last_heard()->set_nanos(static_cast<int32_t>(beat_us % 1'000'000 * 1000));
  return true;
}

}  // namespace

Task<void> RedisWorkers::run() {
  auto body = [this](TaskGroup& group) -> Task<void> {
    group.start([this] { return take_over(); }).set_name("store: takes over");
    co_await keep_lease();
    group.cancel(CancelReason::kShutdown);
  };
  co_await with_group(body);
}

void RedisWorkers::on_connected() {
  connected_ns_ = EventLoop::current()->exact_now_ns();
  foreign_ns_ = connected_ns_ + store_.options_.lease_ms * kMs;  // all the others are back by then
  late_.clear();
  wake_.set();
  late_came_.set();
}

// INT64_MAX: for the event alone.
Task<void> RedisWorkers::wait(Event& event, int64_t until_ns) {
  const int64_t left_ns = until_ns - EventLoop::current()->exact_now_ns();
  if (until_ns == INT64_MAX) {
    co_await event.wait();
  } else if (left_ns > 0 && !event.is_set()) {
    auto wait_for = [](Event* what) -> Task<void> { co_await what->wait(); };
    Task<std::optional<std::monostate>> waits =
        with_timeout(std::chrono::nanoseconds(left_ns), wait_for(&event));
    co_await waits;
  }
  event.reset();
}

Task<void> RedisWorkers::keep_lease() {
  const StoreOptions& options = store_.options_;
  while (!left_) {
    const int64_t begun_ns = EventLoop::current()->exact_now_ns();
    Task<bool> once = renew();
    const bool renewed = co_await once;
    const int64_t pause_ms = renewed ? options.renew_ms : std::max(kRetryMs, options.renew_ms / 10);
    if (!left_) co_await wait(wake_, begun_ns + pause_ms * kMs);
  }
}

Task<bool> RedisWorkers::renew() {
  const StoreOptions& options = store_.options_;
  const Incarnation self = store_.self_;
  v1::Worker worker;
  if (describe_) worker = describe_();
  if (worker.name().empty()) worker.set_name(options.worker_name);
  worker.set_incarnation(store_.self_hex_);
  RedisCommand command = store_.begin_call(redis_scripts::worker_renew);
  command.add(RedisStore::clock()).add(store_.self_hex_).add(options.lease_ms * 1000);
  command.add(worker.SerializeAsString()).add(store_.leased_ ? "" : "begin");
  command.add(2 * options.renew_ms * 1000).add(static_cast<int64_t>(limits::kWorkers));
  const int64_t asked_ns = EventLoop::current()->exact_now_ns();
  Task<StatusOr<RedisReply>> call =
      store_.connection_.call_script(redis_scripts::worker_renew, std::move(command));
  const StatusOr<RedisReply> answer = co_await call;
  if (!answer.ok() || left_ || !(self == store_.self_)) co_return false;
  const int64_t verdict = (*answer)[0].integer();
  if (verdict == 0) {
    lose();
    wake_.set();
    co_return false;
  }
  if (verdict < 0) {
    if (!std::exchange(refused_, true)) {
      spdlog::error(
          "{} processes share the store, its limit: until one ends, this one runs no jobs, follows "
          "no streams of others and is not ready",
          limits::kWorkers);
    }
    co_return false;
  }
  refused_ = false;
  begun_ = true;
  if (!std::exchange(store_.leased_, true)) store_.tell_work();  // takes were refused until now
  {
    std::lock_guard lock(mutex_);
    looked_at_ = store_.self_hex_;
  }
  store_.keep_counts((*answer)[2]);  // one that does nothing else shows them, too
  note_late(*answer, asked_ns);
  co_return true;
}

void RedisWorkers::note_late(const RedisReply& answer, int64_t asked_ns) {
  std::map<std::string, Late> late;
  const int64_t now_us = answer[1].integer();
  for (size_t i = 3; i + 1 < answer.size(); i += 2) {
    const std::string& inc = answer[i].text();
    Late one;
    one.end_us = answer[i + 1].integer();
    one.end_ns = EventLoop::current()->now_ns() + (one.end_us - now_us) * kMicrosecond_ns;
    one.seen_ns = asked_ns;
    const auto before = late_.find(inc);
    if (before != late_.end() && before->second.end_us == one.end_us) one = before->second;
    late.emplace(inc, one);
  }
  late_ = std::move(late);
  late_came_.set();
}

void RedisWorkers::lose() {
  ++losses_;
  lost_.push_back(store_.self_hex_);
  {
    std::lock_guard lock(mutex_);
    looked_at_.clear();
  }
  const auto bits = system_random_bits();
  spdlog::error("this process was not heard of for too long: its jobs are others' now");
  store_.become({bits[0], bits[1]});
  late_came_.set();
}

int64_t RedisWorkers::due_ns(const Late& late) const {
  const StoreOptions& options = store_.options_;
  return std::max({late.end_ns + kSlackMs * kMs, late.seen_ns + options.renew_ms * kMs,
                   connected_ns_ + options.lease_ms * kMs});
}

Task<void> RedisWorkers::take_over() {
  for (;;) {
    while (!lost_.empty()) {
      const std::string own = lost_.front();
      Task<bool> clean = give_up(own, GiveUp::kLeft);
      bool done = co_await clean;
      if (done) {
        Task<bool> mercy = forgive(own);
        done = co_await mercy;
      }
      if (!done) break;
      lost_.erase(lost_.begin());
    }
    if (connected_ns_ > 0 && foreign_ns_ <= EventLoop::current()->exact_now_ns()) {
      foreign_ns_ = EventLoop::current()->now_ns() + kForeignLookMs * kMs;
      Task<void> expire = expire_foreign();
      co_await expire;
    }
    int64_t next_ns = INT64_MAX;
    std::string inc;
    for (const auto& [other, late] : late_) {
      if (due_ns(late) >= next_ns) continue;
      next_ns = due_ns(late);
      inc = other;
    }
    if (next_ns <= EventLoop::current()->exact_now_ns()) {
      late_.erase(inc);  // if it is not done now, the next renewal tells of it again
      Task<bool> take = give_up(std::move(inc), GiveUp::kDead);
      co_await take;
      continue;
    }
    if (!lost_.empty()) {
      next_ns = std::min(next_ns, EventLoop::current()->now_ns() + store_.options_.renew_ms * kMs);
    }
    if (connected_ns_ > 0) next_ns = std::min(next_ns, foreign_ns_);
    co_await wait(late_came_, next_ns);
  }
}

Task<bool> RedisWorkers::give_up(std::string inc, GiveUp why) {
  const StoreOptions& options = store_.options_;
  std::string name = inc;
  int64_t requeued = 0;
  size_t ended = 0;
  for (bool more = true; more;) {
    RedisCommand command = store_.begin_call(redis_scripts::worker_give_up);
    command.add(RedisStore::clock()).add(store_.self_hex_).add(inc);
    command.add(why == GiveUp::kDead ? "dead" : "left");
    command.add(static_cast<int64_t>(limits::kExpireBatch));
    command.add(static_cast<int64_t>(options.finished_per_queue));
    command.add(static_cast<int64_t>(options.push_bytes));
    command.add(int64_t{limits::kDeadCrashes});
    command.add(crashed_outcome(limits::kDeadCrashes).SerializeAsString());
    command.add(error_of(crash_outcome()));
    Task<StatusOr<RedisReply>> call =
        store_.call(redis_scripts::worker_give_up, std::move(command), 1);
    const StatusOr<RedisReply> answer = co_await call;
    if (!answer.ok()) co_return false;
    if (answer->is_nil()) break;
    store_.keep_counts((*answer)[0]);
    more = (*answer)[1].integer() != 0;
    if (const std::string& entry = (*answer)[2].text(); !entry.empty() && why == GiveUp::kDead) {
      ++expired_;
      v1::Worker worker;
      if (parse_entry(entry, worker)) name = worker.name();
      spdlog::warn("worker {} has not been heard of for longer than its lease: it is given up",
                   name);
    }
    requeued += (*answer)[3].integer();
    if ((*answer)[3].integer() > 0) store_.tell_work();
    store_.tell_scheduled((*answer)[6]);
    ended += (*answer)[4].size();
    store_.tell_all_finished((*answer)[4]);
    const RedisReply& readers = (*answer)[5];
    const std::optional<Incarnation> from = parse_hex(inc);
    for (size_t i = 0; from && store_.listener_ != nullptr && i < readers.size(); ++i) {
      store_.listener_->on_readers(RemoteReaders(readers[i].text(), *from, StreamReaders()));
    }
  }
  if (why == GiveUp::kDead && requeued + static_cast<int64_t>(ended) > 0) {
    spdlog::warn("of worker {} {} jobs are queued again and {} have ended", name, requeued, ended);
  }
  co_return true;
}

Task<bool> RedisWorkers::forgive(std::string inc) {
  for (;;) {
    RedisCommand command = store_.begin_call(redis_scripts::worker_forgive);
    command.add(inc).add(static_cast<int64_t>(limits::kExpireBatch)).add(error_of(crash_outcome()));
    Task<StatusOr<RedisReply>> call =
        store_.call(redis_scripts::worker_forgive, std::move(command), 1);
    const StatusOr<RedisReply> left = co_await call;
    if (!left.ok()) co_return false;
    if (left->integer() == 0) co_return true;
  }
}

Task<void> RedisWorkers::expire_foreign() {
  const StoreOptions& options = store_.options_;
  Task<StatusOr<std::vector<v1::Worker>>> ask = list();
  const StatusOr<std::vector<v1::Worker>> workers = co_await ask;
  if (!workers.ok()) co_return;
  std::set<std::string> known;
  for (const v1::Worker& worker : *workers) {
    known.insert(worker.types().begin(), worker.types().end());
  }
  for (bool more = true; more;) {
    RedisCommand command = store_.begin_call(redis_scripts::job_expire_foreign);
    command.add(RedisStore::clock()).add(store_.self_hex_);
    command.add(static_cast<int64_t>(options.finished_per_queue));
    command.add(static_cast<int64_t>(options.push_bytes));
    command.add(limits::kForeignTypeMs * 1000).add(static_cast<int64_t>(limits::kExpireBatch));
    command.add(static_cast<int64_t>(limits::kRedisScan)).add(kForeignLookMs * 1000);
    for (const std::string& type : known) command.add(type);
    Task<StatusOr<RedisReply>> call =
        store_.call(redis_scripts::job_expire_foreign, std::move(command), 1);
    const StatusOr<RedisReply> answer = co_await call;
    if (!answer.ok()) co_return;
    store_.keep_counts((*answer)[0]);
    more = (*answer)[1].integer() != 0;
    std::set<std::string> foreign;
    for (size_t i = 0; i < (*answer)[2].size(); ++i) {
      const std::string& type = (*answer)[2][i].text();
      foreign.insert(type);
      if (!foreign_.contains(type)) {
        spdlog::warn("jobs of type '{}' wait, and no live worker has a handler for it", type);
      }
    }
    foreign_ = std::move(foreign);
    store_.tell_all_finished((*answer)[3]);
  }
}

Task<void> RedisWorkers::leave() {
  left_ = true;
  wake_.set();
  if (!begun_) co_return;
  store_.leased_ = false;
  {
    std::lock_guard lock(mutex_);
    looked_at_.clear();
  }
  Task<bool> last = give_up(store_.self_hex_, GiveUp::kLeft);
  co_await last;
}

Task<StatusOr<std::vector<v1::Worker>>> RedisWorkers::list() {
  Task<StatusOr<RedisReply>> call = store_.connection_.call_script(
      redis_scripts::worker_list, store_.begin_call(redis_scripts::worker_list));
  const StatusOr<RedisReply> answer = co_await call;
  if (!answer.ok()) co_return RedisStore::unavailable(answer.status());
  std::vector<v1::Worker> workers;
  for (size_t i = 0; i + 1 < answer->size(); i += 2) {
    v1::Worker worker;
    if (!parse_entry((*answer)[i + 1].text(), worker)) continue;
    worker.set_incarnation((*answer)[i].text());
    workers.push_back(std::move(worker));
  }
  std::ranges::sort(workers, [](const v1::Worker& a, const v1::Worker& b) {
    return std::pair(a.name(), a.incarnation()) < std::pair(b.name(), b.incarnation());
  });
  co_return StatusOr<std::vector<v1::Worker>>(std::move(workers));
}

Task<StatusOr<std::vector<Token>>> RedisWorkers::held() {
  const Incarnation self = store_.self_;
  const std::string inc = store_.self_hex_;
  std::vector<Token> tokens;
  std::set<std::string> seen;  // a scan may give one twice
  std::string cursor = "0";
  do {
    RedisCommand command = store_.begin_call(redis_scripts::worker_held);
    command.add(inc).add(cursor).add(kHeldPage);
    Task<StatusOr<RedisReply>> call =
        store_.connection_.call_script(redis_scripts::worker_held, std::move(command));
    const StatusOr<RedisReply> page = co_await call;
    if (!page.ok()) co_return RedisStore::unavailable(page.status());
    cursor = (*page)[0].text();
    const RedisReply& jobs = (*page)[1];
    for (size_t i = 0; i + 1 < jobs.size(); i += 2) {
      if (!seen.insert(jobs[i].text()).second) continue;
      tokens.emplace_back(jobs[i].text(), static_cast<uint64_t>(jobs[i + 1].integer()), self);
    }
  } while (cursor != "0" && !cursor.empty());
  co_return StatusOr<std::vector<Token>>(std::move(tokens));
}

LeaseState RedisWorkers::look(bool renew) {
  std::string inc;
  {
    std::lock_guard lock(mutex_);
    inc = looked_at_;
  }
  if (inc.empty()) return LeaseState::kUnknown;
  if (aside_ == nullptr) {
    auto connected = RedisSync::connect(
        store_.server_, "weft " + store_.options_.worker_name + " keeper", limits::kKeeperCallMs);
    if (!connected.ok()) return LeaseState::kUnknown;
    aside_ = *std::move(connected);
    // The connection of the loop will say why; here is nobody to hear it.
    if (!store_.layout().agree(*aside_).ok()) {
      aside_.reset();
      return LeaseState::kUnknown;
    }
  }
  bool held = false;
  Status status;
  if (renew) {
    RedisCommand command = store_.begin_call(redis_scripts::worker_renew);
    command.add("0").add(inc).add(store_.options_.lease_ms * 1000).add("").add("").add("0");
    command.add(static_cast<int64_t>(limits::kWorkers));
    const StatusOr<RedisReply> answer =
        aside_->call_script(redis_scripts::worker_renew, std::move(command));
    status = answer.status();
    held = answer.ok() && (*answer)[0].integer() == 1;
  } else {
    const StatusOr<RedisReply> answer =
        aside_->call(RedisCommand("HEXISTS").add(store_.prefix_ + "workers").add(inc));
    status = answer.status();
    held = answer.ok() && answer->integer() == 1;
  }
  if (!status.ok()) {
    aside_.reset();
    return LeaseState::kUnknown;
  }
  if (held) return LeaseState::kHeld;
  std::lock_guard lock(mutex_);
  found_gone_ = inc;
  return LeaseState::kGone;
}

void RedisWorkers::give_up_lease() {
  std::string gone;
  {
    std::lock_guard lock(mutex_);
    gone.swap(found_gone_);
  }
  if (gone != store_.self_hex_ || !store_.leased_) return;
  lose();
  wake_.set();
}

}  // namespace weft
