// Chunk logs and sends.
#include <redis_scripts.h>

#include <algorithm>
#include <numeric>

#include <weft/base/limits.h>
#include <weft/store/job_record.h>
#include <weft/store/redis/redis_store_impl.h>

namespace weft {
namespace {

constexpr int64_t kStale = -1;  // what append.lua answers

size_t bytes_of(const Append& append) {
  return append.block->bytes.size() + 4 * append.block->count() + 256;
}

// Another try would be refused as well, and the streams of other jobs must not wait for it.
Status damaged_stream(const std::string& job_id, const std::string& refusal) {
  return damaged_job("the stream of job " + job_id + " (it says '" + refusal + "')");
}

}  // namespace

Task<std::vector<Status>> RedisStore::append(std::vector<Append> appends) {
  own_loop_.enter();
  const size_t bytes =
      std::accumulate(appends.begin(), appends.end(), size_t{0},
                      [](size_t sum, const Append& append) { return sum + bytes_of(append); });
  std::vector<Semaphore::Permit> permits = co_await make_room(bytes);
  co_return co_await appends_.add(std::move(appends), bytes_of, std::move(permits));
}

Task<void> RedisStore::send_appends(AppendBatch::Entries entries) {
  RedisCommand command = begin_call(redis_scripts::append);
  command.add(self_hex_).add(static_cast<int64_t>(options_.push_bytes));
  for (const auto& entry : entries) {
    command.add(entry.item.token.job_id).add(token_bytes(entry.item.token));
    command.add(to_bytes(*entry.item.block));
  }
  const StatusOr<RedisReply> reply =
      co_await call(redis_scripts::append, std::move(command), entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    const Append& append = entries[i].item;
    Running* job = running(append.token);
    if (!reply.ok()) {
      if (job != nullptr) job->record.clear();  // it may be there
      entries[i].answer(unavailable(reply.status()));
      continue;
    }
    const int64_t last = (*reply)[i].integer();
    if (const std::string& refusal = (*reply)[i].text(); !refusal.empty()) {
      entries[i].answer(damaged_stream(append.token.job_id, refusal));
    } else if (last >= 0) {
      if (job != nullptr) {
        job->job.set_last_sequence(static_cast<uint64_t>(last));
        set_last_sequence(job->record, static_cast<uint64_t>(last));
      }
      entries[i].answer(absl::OkStatus());
    } else if (last == kStale) {
      entries[i].answer(stale(append.token));
    } else {
      // The words of every store.
      entries[i].answer(new_entries(append, static_cast<uint64_t>(-2 - last)).status());
    }
  }
}

Task<StatusOr<StreamPage>> RedisStore::read(std::string job_id, uint64_t from_sequence,
                                            size_t max_bytes) {
  own_loop_.enter();
  // A block is cut here, so one more may come than is asked for.
  const size_t bytes = std::min(max_bytes, options_.read_bytes) + 2 * limits::kChunkBytes;
  auto permit = co_await answer_bytes_.acquire(std::min(bytes, options_.read_bytes));
  RedisCommand command = begin_call(redis_scripts::read);
  command.add(job_id).add(static_cast<int64_t>(from_sequence));
  command.add(static_cast<int64_t>(std::min(max_bytes, options_.read_bytes)));
  command.add(static_cast<int64_t>(limits::kRedisScan));
  const StatusOr<RedisReply> reply =
      co_await connection_.call_script(redis_scripts::read, std::move(command));
  if (!reply.ok()) co_return unavailable(reply.status());
  if (reply->is_nil()) co_return unknown_job(job_id);
  StreamPage page;
  page.first_sequence = static_cast<uint64_t>((*reply)[0].integer());
  page.last_sequence = static_cast<uint64_t>((*reply)[1].integer());
  if (from_sequence == 0) from_sequence = page.first_sequence;
  if (from_sequence < page.first_sequence) {
    co_return below_first_sequence(from_sequence, page.first_sequence);
  }
  size_t used = 0;
  for (size_t i = 2; i < reply->size() && (used < max_bytes || page.blocks.empty()); ++i) {
    const ChunkBlockPtr block = to_block((*reply)[i].text());
    if (block == nullptr || block->count() == 0 || block->last_sequence() < from_sequence) {
      co_return damaged_job("the stream of job " + job_id);
    }
    page.blocks.push_back(slice_block(block, from_sequence, max_bytes - used));
    used += page.blocks.back()->bytes.size();
    if (page.blocks.back()->last_sequence() != block->last_sequence()) break;
    from_sequence = block->last_sequence() + 1;
  }
  co_return StatusOr<StreamPage>(std::move(page));
}

Task<Status> RedisStore::trim(std::string job_id, uint64_t first_sequence) {
  std::vector<Semaphore::Permit> permits = co_await make_room(0);
  RedisCommand command = begin_call(redis_scripts::trim);
  command.add(job_id).add(static_cast<int64_t>(first_sequence));
  const StatusOr<RedisReply> reply = co_await call(redis_scripts::trim, std::move(command), 1);
  if (!reply.ok()) co_return unavailable(reply.status());
  if (!reply->text().empty()) co_return damaged_stream(job_id, reply->text());
  co_return reply->is_nil() ? unknown_job(job_id) : absl::OkStatus();
}

Task<StatusOr<uint64_t>> RedisStore::send(std::string job_id, std::string sender, uint64_t number,
                                          std::string value) {
  std::vector<Semaphore::Permit> permits = co_await make_room(value.size());
  send_consumed();
  co_return co_await tasks_.run(
      do_send(std::move(job_id), std::move(sender), number, std::move(value), std::move(permits)));
}

Task<StatusOr<uint64_t>> RedisStore::do_send(std::string job_id, std::string sender,
                                             uint64_t number, std::string value,
                                             std::vector<Semaphore::Permit>) {
  RedisCommand command = begin_call(redis_scripts::send);
  command.add(self_hex_).add(job_id).add(sender).add(static_cast<int64_t>(number)).add(value);
  command.add(static_cast<int64_t>(limits::kUnconsumedSends));
  command.add(static_cast<int64_t>(limits::kKeptSends));
  const StatusOr<RedisReply> reply = co_await call(redis_scripts::send, std::move(command), 1);
  if (!reply.ok()) co_return reply.status();
  if (reply->is_nil()) co_return unknown_job(job_id);
  const auto given = static_cast<uint64_t>((*reply)[1].integer());
  switch ((*reply)[0].text().at(0)) {
    case 'e':
      co_return ended_job(job_id, static_cast<JobState>(given));
    case 'f':
      co_return too_many_sends(job_id);
    case 'n':
      if (listener_ != nullptr) listener_->on_send(job_id, given, value);
      break;
    default:
      break;
  }
  co_return given;
}

Task<StatusOr<std::vector<StoredSend>>> RedisStore::read_sends(std::string job_id, uint64_t after) {
  own_loop_.enter();
  auto permit = co_await answer_bytes_.acquire(
      std::min(limits::kKeptSends * limits::kSendBytes, options_.read_bytes));
  RedisCommand command = begin_call(redis_scripts::read_sends);
  command.add(job_id).add(static_cast<int64_t>(after));
  StatusOr<RedisReply> reply =
      co_await connection_.call_script(redis_scripts::read_sends, std::move(command));
  if (!reply.ok()) co_return unavailable(reply.status());
  if (reply->is_nil()) co_return unknown_job(job_id);
  std::vector<StoredSend> sends;
  for (size_t i = 0; i + 1 < reply->size(); i += 2) {
    sends.emplace_back(static_cast<uint64_t>((*reply)[i].integer()), reply->at(i + 1).take_text());
  }
  co_return StatusOr<std::vector<StoredSend>>(std::move(sends));
}

void RedisStore::consumed(const Token& token, uint64_t number) {
  own_loop_.enter();
  if (consumed_.empty()) EventLoop::current()->at_turn_end(*this);
  auto& [of, highest] = consumed_[token.job_id + token_bytes(token)];
  of = token;
  highest = std::max(highest, number);
}

// Before any send or release of the same turn, which have to see it.
void RedisStore::send_consumed() {
  if (consumed_.empty()) return;
  unlink();
  tasks_.start(
      [](RedisStore* store, std::map<std::string, std::pair<Token, uint64_t>> values) {
        return store->do_consumed(std::move(values));
      },
      this, std::exchange(consumed_, {}));
}

Task<void> RedisStore::do_consumed(std::map<std::string, std::pair<Token, uint64_t>> consumed) {
  // Nobody waits for it: a lost one is made good by the attempt's next.
  while (!consumed.empty()) {
    RedisCommand command = begin_call(redis_scripts::consumed);
    size_t items = 0;
    for (; items < limits::kRedisScriptItems && !consumed.empty(); ++items) {
      const auto& [token, number] = consumed.begin()->second;
      command.add(token.job_id).add(token_bytes(token)).add(static_cast<int64_t>(number));
      consumed.erase(consumed.begin());
    }
    const auto reply = co_await call(redis_scripts::consumed, std::move(command), items);
    if (!reply.ok()) co_return;
  }
}

}  // namespace weft
