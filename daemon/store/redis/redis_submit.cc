// Submissions: those of a turn are one script call.
#include <redis_scripts.h>

#include <algorithm>
#include <map>
#include <numeric>

#include <weft/base/id.h>
#include <weft/base/limits.h>
#include <weft/store/fingerprint.h>
#include <weft/store/job_record.h>
#include <weft/store/redis/redis_store_impl.h>

namespace weft {
namespace {

constexpr size_t kLanes = 255;       // of one call: a byte names one
constexpr char kPayloadFollows = 2;  // in the bytes of a job
constexpr char kKeyFollows = 4;
constexpr char kBrief = 8;
constexpr char kDueFollows = 16;
constexpr char kTimed = 32;

size_t bytes_of(const v1::JobSpec& spec) { return spec.ByteSizeLong() + 256; }

// The lanes that the jobs of a call go to.
class Lanes {
 public:
  // Its number, from 1; nothing when there are too many.
  std::optional<uint8_t> number(const v1::JobSpec& spec) {
    if (last_ < list_.size() && list_[last_].first == spec.queue() &&
        list_[last_].second == spec.type()) {
      return static_cast<uint8_t>(last_ + 1);
    }
    const auto [found, added] = numbers_.try_emplace({spec.queue(), spec.type()}, list_.size());
    if (added && list_.size() == kLanes) {
      numbers_.erase(found);
      return std::nullopt;
    }
    if (added) list_.emplace_back(spec.queue(), spec.type());
    last_ = found->second;
    return static_cast<uint8_t>(last_ + 1);
  }
  const std::vector<std::pair<std::string, std::string>>& list() const { return list_; }

 private:
  std::map<std::pair<std::string, std::string>, size_t> numbers_;
  std::vector<std::pair<std::string, std::string>> list_;
  size_t last_ = 0;
};

Status too_long(size_t bytes, uint64_t most) {
  return field_error("payload", "the job has " + std::to_string(bytes) +
                                    " bytes and this Redis takes " + std::to_string(most) +
                                    " in one piece: raise its proto-max-bulk-len, or put the "
                                    "input into a file");
}

}  // namespace

Task<std::vector<StatusOr<Submitted>>> RedisStore::submit(std::vector<v1::JobSpec> specs) {
  own_loop_.enter();
  const size_t bytes =
      std::accumulate(specs.begin(), specs.end(), size_t{0},
                      [](size_t sum, const v1::JobSpec& spec) { return sum + bytes_of(spec); });
  std::vector<Semaphore::Permit> permits = co_await make_room(bytes);
  co_return co_await submits_.add(std::move(specs), bytes_of, std::move(permits));
}

void RedisStore::add_job(RedisCommand& command, v1::JobSpec& spec) {
  command.add(spec.id());
  command.add(stored_spec(spec, retention_ms(spec, options_.retention_ms)));
  if (is_large(spec)) command.add(spec.payload());
  if (!spec.idempotency_key().empty()) {
    command.add(spec.queue() + '\n' + spec.idempotency_key());
    command.add(fingerprint(spec) + to_bytes(uint64_t{0}) + spec.id());
  }
  if (spec.has_delay()) {
    command.add('+' + std::to_string(to_us(spec.delay())));
  } else if (spec.has_run_at()) {
    command.add(to_us(spec.run_at()));
  }
}

Task<void> RedisStore::send_submits(SubmitBatch::Entries entries) {
  const int64_t wall_ms = EventLoop::current()->wall_ns() / 1'000'000;
  // Ids that were made and turn out to be taken are made again; more lanes than one call can name
  // go with the next one.
  while (!entries.empty()) {
    Lanes lanes;
    std::vector<uint8_t> lane_of(entries.size());
    std::vector<size_t> sent;
    SubmitBatch::Entries again;
    for (size_t i = 0; i < entries.size(); ++i) {
      v1::JobSpec& spec = entries[i].item;
      const size_t longest = std::max(spec.ByteSizeLong(), spec.payload().size());
      if (facts_.max_bulk_bytes > 0 && longest > facts_.max_bulk_bytes) {
        entries[i].answer(too_long(longest, facts_.max_bulk_bytes));
      } else if (const std::optional<uint8_t> lane = lanes.number(spec)) {
        lane_of[i] = *lane;
        sent.push_back(i);
      } else {
        again.push_back(std::move(entries[i]));
      }
    }
    if (!sent.empty()) {
      RedisCommand command = begin_call(redis_scripts::submit);
      command.add(clock()).add(self_hex_).add(static_cast<int64_t>(options_.queued_per_queue));
      command.add(static_cast<int64_t>(lanes.list().size()));
      for (const auto& [queue, type] : lanes.list()) command.add(queue).add(type);
      std::string metas;
      for (const size_t i : sent) {
        v1::JobSpec& spec = entries[i].item;
        const bool made = spec.id().empty();
        if (made) spec.set_id(make_job_id(wall_ms, random_));
        char follows = is_large(spec) ? kPayloadFollows : '\0';
        if (!spec.idempotency_key().empty()) follows |= kKeyFollows;
        if (retention_ms(spec, options_.retention_ms) == 0) follows |= kBrief;
        if (spec.has_delay() || spec.has_run_at()) follows |= kDueFollows;
        if (spec.has_expire_at() || spec.has_total_timeout()) follows |= kTimed;
        metas += {static_cast<char>(lane_of[i]), made ? '\1' : '\0', follows};
      }
      command.add(metas);
      for (const size_t i : sent) add_job(command, entries[i].item);
      StatusOr<RedisReply> reply =
          co_await call(redis_scripts::submit, std::move(command), sent.size());
      admission_ = reply.status().code() == StatusCode::kResourceExhausted ? reply.status()
                                                                           : absl::OkStatus();
      if (reply.ok()) keep_counts((*reply)[0]);
      bool any = false;
      size_t known = 0;
      for (size_t place = 0; place < sent.size(); ++place) {
        SubmitBatch::Entry& entry = entries[sent[place]];
        const v1::JobSpec& spec = entry.item;
        if (!reply.ok()) {
          entry.answer(reply.status());
          continue;
        }
        switch ((*reply)[1].text().at(place)) {
          case 'n':
          case 't':
            any = any || (*reply)[1].text().at(place) == 'n';
            ++stats_.submitted_jobs;
            entry.answer(Submitted(spec.id(), false));
            break;
          case 'e':
            entry.answer(Submitted(spec.id(), true));
            break;
          case 'k':
            entry.answer(Submitted((*reply)[2][known++].text(), true));
            break;
          case 'm':
            entry.item.clear_id();
            again.push_back(std::move(entry));
            break;
          case 's':
            entry.answer(other_spec(spec.id()));
            break;
          case 'o':
            entry.answer(other_spec_of_key(spec.idempotency_key()));
            break;
          default:
            entry.answer(queue_full(spec.queue(), options_.queued_per_queue));
        }
      }
      if (any) tell_work();
      if (reply.ok()) tell_scheduled((*reply)[3]);
    }
    entries = std::move(again);
  }
}

}  // namespace weft
