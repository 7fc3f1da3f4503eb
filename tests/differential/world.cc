// What is drawn for an operation.
#include "tests/differential/world.h"

#include <algorithm>

#include <weft/runtime/event_loop.h>

namespace weft::testing {
namespace {

constexpr int64_t kSecond_ns = 1'000'000'000;
constexpr int64_t kYear1_s = -62'135'596'800;
constexpr int64_t kYear9999_s = 253'402'300'799;
constexpr uint64_t kDaySteps = 24 * 3600 / kStep_s + 1;
constexpr size_t kSlots = 9;

// Often the first, so that much happens to one and the same job.
size_t pick(Random& random, size_t count) { return random.below(2) == 0 ? 0 : random.below(count); }

std::string number_text(uint64_t number) { return std::to_string(number); }

constexpr int64_t seconds(uint64_t steps, uint64_t more) {
  return static_cast<int64_t>(steps * kStep_s + more);
}

// Like the time steps, none comes near to one that passes.
void draw_times(uint64_t slot, v1::JobSpec& spec) {
  const int64_t now_s = EventLoop::current()->wall_ns() / kSecond_ns;
  // The same for a while, so that the same is asked for again.
  const auto at = [now_s](uint64_t steps, uint64_t more) {
    const int64_t grid_s = seconds(steps, 0);
    return (now_s / grid_s + 1) * grid_s + static_cast<int64_t>(more);
  };
  switch (slot) {
    case 0:
      spec.mutable_delay()->set_seconds(seconds(0, 12));
      break;
    case 1:
      spec.mutable_total_timeout()->set_seconds(seconds(2, 18));
      break;
    case 2:
      spec.mutable_expire_at()->set_seconds(at(6, 15));
      break;
    case 3:
      spec.mutable_expire_at()->set_seconds(now_s / seconds(8, 0) % 2 == 0 ? 0 : kYear1_s);
      break;
    case 4:
      spec.mutable_delay()->set_seconds(seconds(1, 20));
      spec.mutable_total_timeout()->set_seconds(seconds(4, 17));
      break;
    case 5:
      spec.mutable_expire_at()->set_seconds(at(4, 22));
      spec.mutable_total_timeout()->set_seconds(seconds(3, 16));
      break;
    case 6:
      spec.mutable_run_at()->set_seconds(at(3, 19));
      spec.mutable_expire_at()->set_seconds(at(9, 25));
      break;
    case 7:
      spec.mutable_delay()->set_seconds(seconds(3, 26));
      break;
    case 8:
      spec.mutable_run_at()->set_seconds(kYear1_s);
      spec.mutable_expire_at()->set_seconds(kYear9999_s);
      break;
    default:
      break;
  }
}

// Few specs, so that the same is asked for again and again.
v1::JobSpec draw_spec(Random& random, bool times) {
  const uint64_t slot = random.below(kSlots);
  v1::JobSpec spec;
  const bool given = random.below(2) == 0;
  if (given) spec.set_id("given-id-" + number_text(slot));
  spec.set_queue(std::string(1, static_cast<char>('a' + slot % 3)));
  spec.set_type(slot % 2 == 0 ? "even" : "odd");
  spec.set_payload(slot == 5 ? std::string(6000, 'p') : "payload of " + number_text(slot));
  if (slot < 3) spec.set_idempotency_key("key-" + number_text(slot));
  if (slot == 3 && given) spec.set_idempotency_key(spec.id());
  if (slot % 4 == 1) spec.mutable_retention()->set_seconds(0);
  if (slot % 4 == 2) spec.mutable_retention()->set_seconds(60);
  if (slot == 6) {
    (*spec.mutable_metadata())["b"] = "2";
    (*spec.mutable_metadata())["a"] = "1";
  }
  if (random.below(12) == 0) spec.set_content_type("another");
  if (times && random.below(4) != 0) draw_times(slot, spec);
  return spec;
}

v1::Progress draw_progress(Random& random) {
  v1::Progress progress;
  progress.set_fraction(static_cast<double>(random.below(100)) / 100);
  progress.set_message("message " + number_text(random.below(1000)));
  return progress;
}

std::vector<TypeRoom> draw_type_room(Random& random) {
  std::vector<TypeRoom> room;
  if (random.below(4) == 0) room.push_back({"even", random.below(2)});
  if (random.below(8) == 0) room.push_back({"odd", random.below(2)});
  return room;
}

Call draw_list(Random& random, bool times) {
  JobFilter filter;
  if (random.below(2) == 0) {
    filter.states.push_back(
        static_cast<v1::JobState>(times ? 1 + random.below(7) : 2 + random.below(5)));
    if (random.below(2) == 0) filter.states.push_back(v1::JOB_STATE_DEAD);
  }
  if (random.below(3) == 0) filter.queue = std::string(1, static_cast<char>('a' + random.below(3)));
  if (random.below(3) == 0) filter.type = random.below(2) == 0 ? "even" : "odd";
  if (random.below(6) == 0) filter.error = random.below(2) == 0 ? "error" : "e";
  const std::string position = random.below(8) == 0 ? "nonsense" : "";
  const size_t page_size = 1 + random.below(4);
  Call call;
  call.text = "list pages of " + number_text(page_size) + " from '" + position + "' queue '" +
              filter.queue + "' type '" + filter.type + "' error '" + filter.error + "'";
  for (const v1::JobState state : filter.states) call.text += " " + v1::JobState_Name(state);
  call.ask = [=](Subject& s, size_t p) { return ask_list(s, p, filter, position, page_size); };
  return call;
}

Call draw_submit(Random& random, bool times) {
  std::vector<v1::JobSpec> specs;
  for (uint64_t n = 1 + random.below(3); n > 0; --n) specs.push_back(draw_spec(random, times));
  Call call;
  call.text = "submit";
  for (v1::JobSpec spec : specs) {
    if (spec.payload().size() > 100) spec.set_payload("large");
    call.text += " {" + spec.ShortDebugString() + "}";
  }
  call.ask = [=](Subject& s, size_t p) { return ask_submit(s, p, specs); };
  return call;
}

Call draw_wait(Random& random) {
  const uint64_t kind = random.below(10);
  const uint64_t steps = kind < 6 ? 1 + random.below(3) : kind < 8 ? 15 : kDaySteps;
  Call call;
  call.text = "wait " + number_text(steps * kStep_s) + " s";
  call.wait_ns = static_cast<int64_t>(steps * kStep_s) * kSecond_ns;
  return call;
}

}  // namespace

void World::set_records(std::map<size_t, v1::Job> records) {
  // A job that was gone and is there again has not been taken yet, whatever its namesake was.
  for (const auto& [job, record] : records) {
    if (!records_.contains(job)) claims_.erase(job);
  }
  records_ = std::move(records);
}

size_t World::pick_job(Random& random, const std::vector<v1::JobState>& states) const {
  if (random.below(30) == 0 || numbers_ == 0) return 1'000'000;  // nobody knows it
  if (random.below(12) == 0 || records_.empty()) return random.below(numbers_);
  std::vector<size_t> fitting;
  for (const auto& [job, there] : records_) {
    if (std::find(states.begin(), states.end(), there.state()) != states.end()) {
      fitting.push_back(job);
    }
  }
  if (!fitting.empty() && random.below(4) != 0) return fitting[pick(random, fitting.size())];
  auto picked = records_.begin();
  std::advance(picked, random.below(records_.size()));
  return picked->first;
}

void World::add_claim(size_t job, uint64_t attempt, size_t process) {
  Claim claim;
  claim.job = job;
  claim.attempt = attempt;
  claim.process = process;
  claim.lease = leases_[process];
  claims_[job].push_back(claim);
}

v1::Job World::record(size_t job) const {
  const auto found = records_.find(job);
  return found == records_.end() ? v1::Job() : found->second;
}

Claim World::pick_claim(Random& random) const {
  Claim claim;
  if (claims_.empty() || random.below(20) == 0) {
    claim.job = pick_job(random, {});
    claim.attempt = random.below(3);
    claim.process = random.below(kProcesses);
    claim.lease = leases_[claim.process];
    return claim;
  }
  std::vector<Claim> valid;
  for (const auto& [job, all] : claims_) {
    if (record(job).state() == v1::JOB_STATE_RUNNING) valid.push_back(all.back());
  }
  if (!valid.empty() && random.below(8) != 0) {
    claim = valid[pick(random, valid.size())];
  } else {
    auto picked = claims_.begin();
    std::advance(picked, random.below(claims_.size()));
    claim = picked->second.back();
  }
  switch (random.below(16)) {
    case 0: {
      const auto& all = claims_.at(claim.job);
      return all[random.below(all.size())];
    }
    case 1:
      claim.process = (claim.process + 1) % kProcesses;
      claim.lease = leases_[claim.process];
      return claim;
    case 2:
      claim.attempt -= 1;
      return claim;
    default:
      return claim;
  }
}

std::vector<Claim> World::pick_claims(Random& random) const {
  std::vector<Claim> claims;
  for (uint64_t n = 1 + random.below(3); n > 0; --n) claims.push_back(pick_claim(random));
  return claims;
}

std::vector<Claim> World::running_in(size_t process) const {
  std::vector<Claim> claims;
  for (const auto& [job, all] : claims_) {
    const bool runs = record(job).state() == v1::JOB_STATE_RUNNING &&
                      all.back().process == process && all.back().lease == leases_[process];
    if (runs) claims.push_back(all.back());
  }
  return claims;
}

std::vector<Claim> World::pick_settled(Random& random, const Operation& operation) const {
  const size_t most = random.below(2) * random.below(4);
  std::vector<Claim> claims;
  // Which of a queue's jobs that end in one call has ended first is not promised.
  const auto add = [&](const Claim& claim) {
    const bool other = std::none_of(claims.begin(), claims.end(), [&](const Claim& there) {
      return there.job != claim.job &&
             record(there.job).spec().queue() == record(claim.job).spec().queue();
    });
    if (other && claims.size() < most) claims.push_back(claim);
  };
  if (operation.fault != Operation::Fault::kReplyLost) {
    for (size_t i = 0; i < most; ++i) add(pick_claim(random));
    return claims;
  }
  // One store settles in one step only what runs in the process that asks; if the answer to one
  // step of several is lost, the others were not done.
  for (const Claim& claim : running_in(operation.process)) add(claim);
  return claims;
}

void World::draw_end(Random& random, bool times, SettleCall& settle) const {
  const uint64_t end = random.below(times ? 16 : 10);
  settle.state = end < 5    ? v1::JOB_STATE_SUCCEEDED
                 : end < 9  ? v1::JOB_STATE_DEAD
                 : end < 10 ? v1::JOB_STATE_CANCELLED
                            : v1::JOB_STATE_SCHEDULED;
  if (settle.state == v1::JOB_STATE_SCHEDULED) {
    const int64_t pauses_s[] = {0, seconds(0, 11), seconds(1, 22), seconds(4, 13)};
    settle.pause = std::chrono::seconds(pauses_s[random.below(4)]);
    settle.pause += std::chrono::milliseconds(settle.claim.job % 1000);
    settle.snoozed = random.below(3) == 0;
  }
  if (settle.state == v1::JOB_STATE_SUCCEEDED) {
    settle.outcome.set_result("result " + number_text(random.below(1000)));
  } else if (!settle.snoozed) {
    settle.outcome.set_error_code("handler_error");
    settle.outcome.set_error_message("error " + number_text(random.below(1000)));
  }
}

Call World::draw_settle_and_take(Random& random, const Operation& operation) const {
  std::vector<SettleCall> settles;
  Call call;
  for (const Claim& claim : pick_settled(random, operation)) {
    SettleCall settle;
    settle.claim = claim;
    draw_end(random, operation.times, settle);
    const uint64_t stored = record(settle.claim.job).last_sequence();
    const bool heard = operation.fault != Operation::Fault::kReplyLost;
    const uint64_t said = heard ? random.below(8) : 7;
    settle.last_sequence = said == 0 ? stored + 1 : said == 1 ? 0 : stored;
    if (random.below(5) == 0) settle.progress = draw_progress(random);
    call.text += "settle " + settle.claim.to_text() + " " + v1::JobState_Name(settle.state) +
                 " last " + number_text(settle.last_sequence) + (settle.snoozed ? " snoozed" : "") +
                 (settle.state == v1::JOB_STATE_SCHEDULED
                      ? " for " + number_text(static_cast<uint64_t>(settle.pause.count())) + " ms"
                      : "") +
                 (settle.progress ? " with progress, " : ", ");
    settles.push_back(std::move(settle));
  }
  const size_t max_jobs = random.below(5);
  const std::vector<TypeRoom> room = draw_type_room(random);
  call.text += "take " + number_text(max_jobs);
  for (const TypeRoom& one : room) call.text += " " + one.type + "<=" + number_text(one.jobs);
  const char* const types[] = {"", "", "", "even", "odd"};
  const std::string type = types[random.below(5)];
  if (!type.empty()) call.text += " only " + type;
  call.ask = [=](Subject& s, size_t p) {
    return ask_settle_and_take(s, p, settles, max_jobs, room, type);
  };
  call.ask_unheard = [=](Subject& s, size_t p) {
    return ask_settle_and_take(s, p, settles, 0, room, type);
  };
  call.repeats_answer = true;
  if (operation.fault == Operation::Fault::kReplyLost && random.below(3) == 0) {
    const std::string reason = random.below(2) == 0 ? "" : "reason " + number_text(random.below(9));
    call.text += ", which another cancels '" + reason + "'";
    call.cancel_reason = reason;
    call.ask_cancelled = [=](Subject& s, size_t p) {
      return ask_settle_take_and_cancel(s, p, settles, max_jobs, room, type, reason);
    };
  }
  return call;
}

Call World::draw_append(Random& random) const {
  std::vector<AppendCall> appends;
  Call call;
  call.text = "append";
  for (const Claim& claim : pick_claims(random)) {
    AppendCall append;
    append.claim = claim;
    const uint64_t last = record(claim.job).last_sequence();
    const uint64_t firsts[] = {1, last, last > 1 ? last - 1 : 1, last + 2};
    append.first_sequence = random.below(3) == 0 ? firsts[random.below(4)] : last + 1;
    append.first_sequence = std::max<uint64_t>(append.first_sequence, 1);
    for (uint64_t n = 1 + random.below(4); n > 0; --n) {
      append.chunks.push_back("chunk " + number_text(random.below(1000)));
    }
    call.text += " " + claim.to_text() + " " + number_text(append.first_sequence) + "+" +
                 number_text(append.chunks.size());
    appends.push_back(std::move(append));
  }
  call.ask = [=](Subject& s, size_t p) { return ask_append(s, p, appends); };
  return call;
}

Call World::draw_send(Random& random, bool times) const {
  SendCall send;
  std::vector<v1::JobState> states{v1::JOB_STATE_RUNNING, v1::JOB_STATE_QUEUED};
  if (times) states.push_back(v1::JOB_STATE_SCHEDULED);
  send.job = pick_job(random, states);
  const char* const senders[] = {"", "ann", "bob"};
  send.sender = senders[random.below(3)];
  send.number = random.below(7);
  send.value = "value " + number_text(random.below(1000));
  send.times = random.below(3) == 0 ? 64 : 1;
  Call call;
  call.text = "send #" + number_text(send.job) + " from '" + send.sender + "' number " +
              number_text(send.number) + " times " + number_text(send.times);
  call.ask = [=](Subject& s, size_t p) { return ask_send(s, p, send); };
  SendCall first = send;
  first.times = 1;
  call.ask_unheard = [=](Subject& s, size_t p) { return ask_send(s, p, first); };
  return call;
}

std::vector<std::pair<size_t, Call>> World::draw_ends() const {
  std::vector<std::pair<size_t, Call>> ends;
  for (const auto& [job, there] : records_) {
    Call call;
    call.text = "end #" + number_text(job);
    size_t process = 0;
    if (there.state() == v1::JOB_STATE_QUEUED || there.state() == v1::JOB_STATE_SCHEDULED) {
      call.ask = [=](Subject& s, size_t p) { return ask_cancel(s, p, job, "the end"); };
    } else if (there.state() == v1::JOB_STATE_RUNNING) {
      std::vector<SettleCall> settles(1);
      settles[0].claim = claims_.at(job).back();
      settles[0].state = v1::JOB_STATE_SUCCEEDED;
      process = settles[0].claim.process;
      call.ask = [=](Subject& s, size_t p) {
        return ask_settle_and_take(s, p, settles, 0, {}, "");
      };
    } else {
      continue;
    }
    ends.emplace_back(process, std::move(call));
  }
  return ends;
}

Call World::draw(const Operation& operation) const {
  using Kind = Operation::Kind;
  Random random(operation.seed);
  switch (operation.kind) {
    case Kind::kSubmit:
      return draw_submit(random, operation.times);
    case Kind::kSettleAndTake:
      return draw_settle_and_take(random, operation);
    case Kind::kAppend:
      return draw_append(random);
    case Kind::kSend:
      return draw_send(random, operation.times);
    case Kind::kList:
      return draw_list(random, operation.times);
    case Kind::kWait:
      return draw_wait(random);
    default:
      break;
  }
  Call call;
  if (operation.kind == Kind::kRelease) {
    const std::vector<Claim> claims = pick_claims(random);
    call.text = "release";
    for (const Claim& claim : claims) call.text += " " + claim.to_text();
    call.ask = [=](Subject& s, size_t p) { return ask_release(s, p, claims); };
    return call;
  }
  if (operation.kind == Kind::kSaveProgress) {
    std::vector<std::pair<Claim, v1::Progress>> progress;
    call.text = "save progress";
    for (const Claim& claim : pick_claims(random)) {
      progress.emplace_back(claim, draw_progress(random));
      call.text += " " + claim.to_text();
    }
    call.ask = [=](Subject& s, size_t p) { return ask_save_progress(s, p, progress); };
    return call;
  }
  if (operation.kind == Kind::kLoseLease) {
    const std::vector<Claim> claims = running_in(operation.process);
    call.text = "lose the lease with " + number_text(claims.size()) + " jobs";
    call.ask = [=](Subject& s, size_t p) { return ask_lose_lease(s, p, claims); };
    return call;
  }
  if (operation.kind == Kind::kConsumed) {
    const Claim claim = pick_claim(random);
    const uint64_t last = record(claim.job).last_send();
    const uint64_t number = random.below(2) == 0 ? last : random.below(last + 2);
    call.text = "consumed " + claim.to_text() + " up to " + number_text(number);
    call.ask = [=](Subject& s, size_t p) { return ask_consumed(s, p, claim, number); };
    return call;
  }
  if (operation.kind == Kind::kSweep) {
    const size_t max_items = random.below(2) == 0 ? 2 : 100;
    call.text = "sweep by " + number_text(max_items);
    call.ask = [=](Subject& s, size_t p) { return ask_sweep(s, p, max_items); };
    return call;
  }
  if (operation.kind == Kind::kPromote) {
    const size_t max_jobs = random.below(2) == 0 ? 2 : 100;
    call.text = "promote " + number_text(max_jobs);
    call.ask = [=](Subject& s, size_t p) { return ask_promote(s, p, max_jobs); };
    return call;
  }
  std::vector<v1::JobState> states;
  if (operation.kind == Kind::kRetry) states = {v1::JOB_STATE_DEAD};
  if (operation.kind == Kind::kRemove) {
    states = {v1::JOB_STATE_SUCCEEDED, v1::JOB_STATE_DEAD, v1::JOB_STATE_CANCELLED};
    if (operation.times) states.push_back(v1::JOB_STATE_EXPIRED);
  }
  const bool streams = operation.kind == Kind::kTrim || operation.kind == Kind::kRead;
  if (streams || operation.kind == Kind::kCancel) states = {v1::JOB_STATE_RUNNING};
  if (operation.kind == Kind::kCancel && operation.times && random.below(2) == 0) {
    states = {v1::JOB_STATE_SCHEDULED};
  }
  const size_t job = pick_job(random, states);
  const v1::Job there = record(job);
  const uint64_t sequence = random.below(there.last_sequence() + 3);
  const std::string name = " #" + number_text(job);
  switch (operation.kind) {
    case Kind::kCancel: {
      const std::string reason =
          random.below(3) == 0 ? "" : "reason " + number_text(random.below(9));
      call.text = "cancel" + name + " '" + reason + "'";
      call.ask = [=](Subject& s, size_t p) { return ask_cancel(s, p, job, reason); };
      break;
    }
    case Kind::kTrim:
      call.text = "trim" + name + " below " + number_text(sequence);
      call.ask = [=](Subject& s, size_t p) { return ask_trim(s, p, job, sequence); };
      break;
    case Kind::kRead: {
      const size_t max_bytes = random.below(2) == 0 ? 10 : 1'000'000;
      call.text = "read" + name + " from " + number_text(sequence);
      call.ask = [=](Subject& s, size_t p) { return ask_read(s, p, job, sequence, max_bytes); };
      break;
    }
    case Kind::kReadSends: {
      const uint64_t after = random.below(there.last_send() + 2);
      call.text = "read sends" + name + " after " + number_text(after);
      call.ask = [=](Subject& s, size_t p) { return ask_read_sends(s, p, job, after); };
      break;
    }
    case Kind::kRetry:
      call.text = "retry" + name;
      call.ask = [=](Subject& s, size_t p) { return ask_retry(s, p, job); };
      break;
    case Kind::kRemove:
      call.text = "remove" + name;
      call.ask = [=](Subject& s, size_t p) { return ask_remove(s, p, job); };
      break;
    default: {
      const bool with_payload = random.below(2) == 0;
      call.text = "get" + name + (with_payload ? " with payload" : "");
      call.ask = [=](Subject& s, size_t p) { return ask_get(s, p, job, with_payload); };
      break;
    }
  }
  return call;
}

}  // namespace weft::testing
