// Ends of attempts and takes: one script call for both, the hot path of a worker.
#include <redis_scripts.h>

#include <algorithm>
#include <utility>

#include <weft/base/limits.h>
#include <weft/store/job_record.h>
#include <weft/store/redis/redis_news_message.h>
#include <weft/store/redis/redis_store_impl.h>

namespace weft {
namespace {

constexpr uint64_t kAgesOfBlock = 256;
constexpr int64_t kLookOnMs = 5;  // before a take goes on that has found nothing in much
constexpr char kLastFollows = 1;  // in a settlement of a call
constexpr char kOutcomeFollows = 2;
constexpr char kProgressFollows = 4;
constexpr char kErrorFollows = 8;
constexpr char kPauseFollows = 16;
constexpr char kLook = 32;  // the record in the store has what we have not

size_t bytes_of(const Settlement& settlement) {
  return settlement.outcome.result().size() + settlement.outcome.error_message().size() + 256;
}

// Settlements that have all in common but their jobs, numbered from 1 in a call.
class Groups {
 public:
  struct Group {
    const std::string* queue;
    const std::string* record;
    int64_t retention_ms;
    int64_t first_submit_us;
    std::vector<std::pair<uint64_t, uint64_t>> blocks;  // of ages, and how many jobs
  };

  uint16_t number(const std::string& queue, const std::string& record, const StoredSpec& stored) {
    const auto is_it = [&](const Group& group) {
      return group.retention_ms == stored.retention_ms && *group.record == record &&
             *group.queue == queue;
    };
    if (last_ >= list_.size() || !is_it(list_[last_])) {
      const auto [found, added] = numbers_.try_emplace(
          queue + '\n' + to_bytes(static_cast<uint64_t>(stored.retention_ms)) + record,
          list_.size());
      if (added) list_.push_back({&queue, &record, stored.retention_ms, stored.submit_us, {}});
      last_ = found->second;
    }
    Group& group = list_[last_];
    if (stored.retention_ms == 0) {
      group.first_submit_us = std::min(group.first_submit_us, stored.submit_us);
      const uint64_t block = stored.age / kAgesOfBlock;
      if (group.blocks.empty() || group.blocks.back().first != block) {
        group.blocks.emplace_back(block, 0);
      }
      ++group.blocks.back().second;
    }
    return static_cast<uint16_t>(last_ + 1);
  }
  const std::vector<Group>& list() const { return list_; }

 private:
  absl::flat_hash_map<std::string, size_t> numbers_;
  std::vector<Group> list_;
  size_t last_ = 0;
};

void set_time(google::protobuf::Timestamp& time, int64_t us) {
  time.set_seconds(us / 1'000'000);
  time.set_nanos(static_cast<int32_t>(us % 1'000'000 * 1000));
}

v1::Outcome too_long(size_t bytes, uint64_t most) {
  v1::Outcome outcome;
  outcome.set_error_code("result_too_large");
  outcome.set_error_message("the result has " + std::to_string(bytes) +
                            " bytes and this Redis takes " + std::to_string(most) +
                            " in one piece: raise its proto-max-bulk-len, or yield the result in "
                            "chunks");
  return outcome;
}

bool has_failed(const Settlement& settlement) {
  return settlement.state == v1::JOB_STATE_DEAD ||
         (settlement.state == v1::JOB_STATE_SCHEDULED && !settlement.snoozed);
}

std::string joined(const std::vector<std::string>& types) {
  if (types.empty()) return "";
  std::string out = "\n";
  for (const std::string& type : types) out += type + "\n";
  return out;
}

}  // namespace

void RedisStore::WorkTimer::start(int64_t pause_ms) {
  stop();
  loop_ = EventLoop::current();
  loop_->arm(*this, loop_->after_ns(std::chrono::milliseconds(pause_ms)));
}

void RedisStore::WorkTimer::stop() {
  if (loop_ != nullptr) loop_->disarm(*this);
  loop_ = nullptr;
}

void RedisStore::WorkTimer::fire() {
  loop_ = nullptr;
  store_.tell_work();
}

RedisStore::Running* RedisStore::running(const Token& token) {
  const auto found = running_.find(to_absl(token.job_id));
  if (found == running_.end()) return nullptr;
  Running& running = *found->second;
  return running.job.attempt() == token.attempt && running.worker == token.worker ? &running
                                                                                  : nullptr;
}

// A call holds no job twice: the second settlement has to see what the first has done.
size_t RedisStore::end_of_part(const std::vector<Settlement>& settlements, size_t begin) {
  size_t bytes = 0;
  size_t end = begin;
  std::vector<Running*> asked;
  for (; end < settlements.size() && end - begin < limits::kRedisScriptItems; ++end) {
    bytes += bytes_of(settlements[end]);
    if (end > begin && bytes > limits::kRedisScriptBytes) break;
    Running* job = running(settlements[end].token);
    if (job == nullptr) {  // not known here, so nothing tells whether it comes twice
      if (end == begin) ++end;
      break;
    }
    if (job->asked) break;
    job->asked = true;
    asked.push_back(job);
  }
  for (Running* job : asked) job->asked = false;
  return end;
}

Task<StatusOr<Taken>> RedisStore::settle_and_take(std::vector<Settlement> settlements,
                                                  TakeRequest take) {
  size_t bytes = 0;
  for (const Settlement& settlement : settlements) bytes += bytes_of(settlement);
  std::vector<Semaphore::Permit> permits = co_await make_room(bytes);
  co_return co_await tasks_.run(
      do_settle_and_take(std::move(settlements), std::move(take), std::move(permits)));
}

Task<StatusOr<Taken>> RedisStore::do_settle_and_take(std::vector<Settlement> settlements,
                                                     TakeRequest take,
                                                     std::vector<Semaphore::Permit> permits) {
  Taken taken;
  // The store keeps the answer to one take of a worker, so there is one at a time.
  if (take.max_jobs > 0) {
    Semaphore::Permit turn = co_await take_turn_.acquire();
    permits.push_back(std::move(turn));
  }
  const bool takes_no_more = settlements.empty() && take.max_jobs == 0;
  for (size_t begin = 0; begin < settlements.size() || take.max_jobs > 0 || takes_no_more;) {
    const size_t end = end_of_part(settlements, begin);
    const size_t want = end == settlements.size()
                            ? std::min(take.max_jobs - taken.jobs.size(), limits::kRedisScriptItems)
                            : 0;
    bool more = false;
    const Status done = co_await settle_part(settlements, begin, end, take, want, taken, &more);
    if (!done.ok()) co_return done;
    begin = end;
    if (end == settlements.size() && (!more || taken.jobs.size() >= take.max_jobs)) break;
  }
  if (taken.jobs.size() > take.max_jobs) {
    // The answer to an earlier and larger take was lost, and this is it.
    std::vector<Token> surplus;
    for (size_t i = take.max_jobs; i < taken.jobs.size(); ++i) {
      const v1::Job& job = taken.jobs[i];
      surplus.emplace_back(job.spec().id(), job.attempt(), take.worker);
    }
    taken.jobs.erase(taken.jobs.begin() + static_cast<ptrdiff_t>(take.max_jobs), taken.jobs.end());
    co_await do_release(std::move(surplus), {});
  }
  co_return StatusOr<Taken>(std::move(taken));
}

void RedisStore::add_settlements(RedisCommand& command, Incarnation worker,
                                 std::vector<Settlement>& settlements, size_t begin, size_t end) {
  Groups groups;
  std::vector<uint16_t> group_of;
  group_of.reserve(end - begin);
  for (size_t i = begin; i < end; ++i) {
    const Running* job = running(settlements[i].token);
    // What is not known any more, or has a gap, is left to the script.
    const bool known = job != nullptr && job->worker == worker && !job->record.empty() &&
                       settlements[i].last_sequence <= job->job.last_sequence();
    group_of.push_back(known ? groups.number(job->job.spec().queue(), job->record, job->stored)
                             : uint16_t{0});
  }
  command.add(static_cast<int64_t>(groups.list().size()));
  for (const Groups::Group& group : groups.list()) {
    command.add(*group.queue).add(group.retention_ms).add(*group.record);
    std::string gone;
    if (group.retention_ms == 0) {
      gone = to_bytes(static_cast<uint64_t>(group.first_submit_us));
      for (const auto& [block, jobs] : group.blocks) gone += to_bytes(block) + to_bytes(jobs);
    }
    command.add(gone);
  }
  command.add(static_cast<int64_t>(end - begin));
  std::string hows;
  for (size_t i = begin; i < end; ++i) {
    Settlement& settlement = settlements[i];
    const bool waits = settlement.state == v1::JOB_STATE_SCHEDULED;
    const size_t size = waits ? 0 : settlement.outcome.ByteSizeLong();
    if (facts_.max_bulk_bytes > 0 && size > facts_.max_bulk_bytes) {
      settlement.outcome = too_long(size, facts_.max_bulk_bytes);
      settlement.state = v1::JOB_STATE_DEAD;
    }
    const uint16_t group = group_of[i - begin];
    char follows = 0;
    if (group == 0 && settlement.last_sequence > 0) follows |= kLastFollows;
    if (size > 0) follows |= kOutcomeFollows;
    if (settlement.progress) follows |= kProgressFollows;
    if (has_failed(settlement)) follows |= kErrorFollows;
    if (waits) follows |= kPauseFollows;
    const Running* job = group == 0 ? nullptr : running(settlement.token);
    if (job != nullptr &&
        ((waits && job->stored.timed) || (job->placed && has_failed(settlement)))) {
      follows |= kLook;
    }
    hows += {static_cast<char>(settlement.state), follows, static_cast<char>(group >> 8),
             static_cast<char>(group & 255)};
  }
  command.add(hows);
  for (size_t i = begin; i < end; ++i) command.add(settlements[i].token.job_id);
  std::string outcome;
  for (size_t i = begin; i < end; ++i) {
    const Settlement& settlement = settlements[i];
    const char follows = hows[4 * (i - begin) + 1];
    if (group_of[i - begin] == 0) command.add(token_bytes(settlement.token));
    if ((follows & kLastFollows) != 0) command.add(to_bytes(settlement.last_sequence));
    if ((follows & kOutcomeFollows) != 0) {
      settlement.outcome.SerializeToString(&outcome);
      command.add(outcome);
    }
    if (settlement.progress) command.add(settlement.progress->SerializeAsString());
    if ((follows & kErrorFollows) != 0) command.add(error_of(settlement.outcome));
    if ((follows & kPauseFollows) != 0) {
      const Running* job = group_of[i - begin] == 0 ? nullptr : running(settlement.token);
      const auto pause_us = std::chrono::microseconds(settlement.pause).count();
      command.add(to_bytes(static_cast<uint64_t>(pause_us)) +
                  to_bytes(job == nullptr ? 0 : job->stored.age));
    }
  }
}

Task<Status> RedisStore::settle_part(std::vector<Settlement>& settlements, size_t begin, size_t end,
                                     const TakeRequest& take, size_t want, Taken& taken,
                                     bool* more) {
  const bool takes = want > 0;
  const Incarnation self = self_;
  const Incarnation worker = takes || begin == end ? take.worker : settlements[begin].token.worker;
  RedisCommand command = begin_call(redis_scripts::settle_and_take);
  command.add(clock()).add(self_hex_).add(to_bytes(worker));
  command.add(static_cast<int64_t>(options_.finished_per_queue));
  command.add(static_cast<int64_t>(options_.push_bytes));
  command.add(static_cast<int64_t>(take_seq_ + 1)).add(static_cast<int64_t>(want));
  command.add(static_cast<int64_t>(options_.take_bytes)).add(take.worker_name);
  command.add(take.suspect ? "1" : "0").add(joined(take.types));
  command.add(needs_lease_ ? "1" : "0");
  command.add(static_cast<int64_t>(take.type_room.size()));
  for (const TypeRoom& room : take.type_room) {
    command.add(room.type).add(static_cast<int64_t>(room.jobs));
  }
  add_settlements(command, worker, settlements, begin, end);
  StatusOr<RedisReply> reply =
      co_await call(redis_scripts::settle_and_take, std::move(command), end - begin + want);
  if (!reply.ok()) {
    for (size_t i = begin; i < end; ++i) {
      if (Running* job = running(settlements[i].token)) job->uncertain = true;
    }
    co_return unavailable(reply.status());
  }
  keep_counts((*reply)[0]);
  settled(settlements, begin, *reply, taken);
  tell_all_finished((*reply)[8]);
  tell_scheduled((*reply)[9]);
  if (takes) {
    const std::string& ending = (*reply)[7].text();
    // When the lease was lost meanwhile, they are given up with all else that it held.
    if (self == self_) took(*reply, take, taken);
    if (ending == "l") {
      workers_.look_soon();
    } else {
      ++take_seq_;
    }
    *more = ending.empty() && (*reply)[4].size() == want;
    // An answer that was given again says nothing of what there is now.
    const bool ask_again = ending == "b" || ending == "r";
    const size_t got = (*reply)[4].size();
    work_timer_.stop();
    if (ending == "b" && got == 0 && (*reply)[8].size() == 0) {
      work_timer_.start(kLookOnMs);
    } else if (ask_again) {
      tell_work();
    } else if (got < want) {
      work_timer_.start(std::max(options_.renew_ms, limits::kRedisPollMs));
    }
  }
  co_return absl::OkStatus();
}

void RedisStore::settled(std::vector<Settlement>& settlements, size_t begin, RedisReply& reply,
                         Taken& taken) {
  const std::string& letters = reply[2].text();
  const int64_t now_us = reply[1].integer();
  const RedisReply& details = reply[3];
  size_t detail = 0;
  for (size_t i = 0; i < letters.size(); ++i) {
    Settlement& settlement = settlements[begin + i];
    const Token& token = settlement.token;
    Running* known = running(token);
    const char letter = letters[i];
    if (letter == 'g') {
      const std::string& stored = details[detail + 2].text();
      taken.settled.push_back(check_no_gap(token.job_id, std::strtoull(stored.c_str(), nullptr, 10),
                                           settlement.last_sequence));
      detail += 5;
      continue;  // it still runs
    }
    std::unique_ptr<Running> job;
    if (known != nullptr) {
      const auto found = running_.find(to_absl(token.job_id));
      job = std::move(found->second);
      running_.erase(found);
    }
    // A lost answer may have been that to this very settlement, and nobody was told then.
    const bool tells = letter == 'd' || letter == 'D' || (job != nullptr && job->uncertain);
    // Without the job there is nothing to tell: the lease was lost while it was being settled.
    const bool ends = settlement.state != v1::JOB_STATE_SCHEDULED;
    if (job != nullptr && ends && (letter == 'd' || (letter == 'n' && tells))) {
      job->job.set_state(settlement.state);
      if (has_failed(settlement)) job->job.set_failures(job->job.failures() + 1);
      *job->job.mutable_outcome() = std::move(settlement.outcome);
      if (settlement.progress) *job->job.mutable_progress() = *std::move(settlement.progress);
      job->job.set_last_sequence(std::max(job->job.last_sequence(), settlement.last_sequence));
      set_time(*job->job.mutable_finish_time(), now_us);
      tell_finished(std::move(job->job));
    }
    if (letter == 'D' || letter == 'a' || letter == 'N') {
      const RedisReply& spec = details[detail + 4];
      v1::Job ended;
      bool whole = job != nullptr || !spec.is_nil();
      if (job != nullptr) {
        ended = std::move(job->job);
      } else if (whole) {
        whole = ended.mutable_spec()->ParseFromString(spec.text());
      }
      ended.clear_outcome();
      if (whole && tells && apply_record(details[detail + 1].text(), ended)) {
        const bool good = ended.mutable_outcome()->ParseFromString(details[detail + 2].text()) &&
                          (details[detail + 3].is_nil() ||
                           ended.mutable_progress()->ParseFromString(details[detail + 3].text()));
        if (ended.state() == v1::JOB_STATE_SCHEDULED) {
          tell_scheduled(RedisReply(std::max<int64_t>(due_ms(ended) - now_us / 1000, 0)));
        } else if (good && is_finished(state_of(ended))) {
          tell_finished(std::move(ended));
        }
      }
      detail += 5;
    }
    if (letter == 'n' || letter == 'N') {
      taken.settled.push_back(unknown_job(token.job_id));
    } else if (letter == 's') {
      taken.settled.push_back(stale(token));
    } else {
      taken.settled.push_back(absl::OkStatus());
    }
  }
}

void RedisStore::took(RedisReply& reply, const TakeRequest& take, Taken& taken) {
  const RedisReply& records = reply[4];
  const RedisReply& specs = reply[5];
  const RedisReply& extras = reply[6];
  size_t extra = 0;
  taken.jobs.reserve(taken.jobs.size() + records.size());
  for (size_t i = 0; i < records.size(); ++i) {
    v1::Job job;
    StoredSpec stored;
    const bool good = read_spec(specs[i].text(), *job.mutable_spec(), stored) &&
                      read_running(records[i].text(), stored, job);
    if (extra < extras.size() && extras[extra].integer() == static_cast<int64_t>(i + 1)) {
      const RedisReply& payload = extras[extra + 1];
      const RedisReply& progress = extras[extra + 2];
      const RedisReply& watch = extras[extra + 3];
      if (!payload.is_nil()) job.mutable_spec()->set_payload(payload.text());
      if (!progress.is_nil()) job.mutable_progress()->ParseFromString(progress.text());
      if (!watch.is_nil()) {
        add_remote_readers(job.spec().id(), watch.text(), self_, job.attempt(), taken.readers);
      }
      extra += 4;
    }
    if (!good) continue;  // no job of ours: its lease's end brings it back
    auto running = std::make_unique<Running>();
    std::string payload;
    payload.swap(*job.mutable_spec()->mutable_payload());
    running->job = job;
    payload.swap(*job.mutable_spec()->mutable_payload());
    running->worker = take.worker;
    running->record = from_flags(records[i].text());
    running->placed = has_place(records[i].text());
    running->stored = stored;
    running_.insert_or_assign(job.spec().id(), std::move(running));
    taken.jobs.push_back(std::move(job));
  }
}

}  // namespace weft
