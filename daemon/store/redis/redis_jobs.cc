// What else happens to jobs: released, cancelled, looked at.
#include <redis_scripts.h>

#include <algorithm>

#include <weft/base/limits.h>
#include <weft/store/answer_bytes.h>
#include <weft/store/job_record.h>
#include <weft/store/redis/redis_store_impl.h>

namespace weft {

Task<StatusOr<Promoted>> RedisStore::promote(size_t max_jobs) {
  std::vector<Semaphore::Permit> permits = co_await make_room(0);
  co_return co_await tasks_.run(do_promote(max_jobs, std::move(permits)));
}

Task<StatusOr<Promoted>> RedisStore::do_promote(size_t max_jobs, std::vector<Semaphore::Permit>) {
  Promoted promoted;
  while (true) {
    const size_t most = std::min(max_jobs - promoted.jobs, limits::kRedisScriptItems);
    RedisCommand command = begin_call(redis_scripts::promote);
    command.add(clock()).add(self_hex_).add(static_cast<int64_t>(most));
    command.add(static_cast<int64_t>(limits::kRedisScan));
    command.add(static_cast<int64_t>(options_.finished_per_queue));
    command.add(static_cast<int64_t>(options_.push_bytes));
    const StatusOr<RedisReply> reply = co_await call(redis_scripts::promote, std::move(command), 1);
    if (!reply.ok()) co_return unavailable(reply.status());
    keep_counts((*reply)[0]);
    const auto moved = static_cast<size_t>((*reply)[1].integer());
    promoted.jobs += moved;
    promoted.next_in.reset();
    if (const int64_t next_ms = (*reply)[2].integer(); next_ms >= 0) {
      promoted.next_in = std::chrono::milliseconds(next_ms);
    }
    if ((*reply)[3].integer() > 0) tell_work();
    tell_all_finished((*reply)[4]);
    if (moved < most || promoted.jobs >= max_jobs) co_return promoted;
  }
}

Task<std::vector<Status>> RedisStore::release(std::vector<Token> tokens) {
  std::vector<Semaphore::Permit> permits = co_await make_room(0);
  send_consumed();
  co_return co_await tasks_.run(do_release(std::move(tokens), std::move(permits)));
}

Task<std::vector<Status>> RedisStore::do_release(std::vector<Token> tokens,
                                                 std::vector<Semaphore::Permit>) {
  std::vector<Status> answers;
  bool queued = false;
  std::optional<int64_t> in;
  for (size_t begin = 0; begin < tokens.size();) {
    const size_t end = std::min(tokens.size(), begin + limits::kRedisScriptItems);
    RedisCommand command = begin_call(redis_scripts::release);
    command.add(clock()).add(self_hex_);
    command.add(static_cast<int64_t>(options_.finished_per_queue));
    command.add(static_cast<int64_t>(options_.push_bytes));
    for (size_t i = begin; i < end; ++i) {
      command.add(tokens[i].job_id).add(token_bytes(tokens[i]));
    }
    const StatusOr<RedisReply> reply =
        co_await call(redis_scripts::release, std::move(command), end - begin);
    if (reply.ok()) keep_counts((*reply)[0]);
    if (reply.ok()) {
      tell_all_finished((*reply)[2]);
      const int64_t its_in = (*reply)[3].integer();
      if (its_in >= 0) in = std::min(its_in, in.value_or(its_in));
    }
    for (size_t i = begin; i < end; ++i) {
      if (!reply.ok()) {
        answers.push_back(unavailable(reply.status()));
        continue;
      }
      const char letter = (*reply)[1].text().at(i - begin);
      if (running(tokens[i]) != nullptr) running_.erase(to_absl(tokens[i].job_id));
      answers.push_back(letter == 's' ? stale(tokens[i]) : absl::OkStatus());
      queued = queued || letter == 'q';
    }
    begin = end;
  }
  if (queued) tell_work();
  if (in) tell_scheduled(RedisReply(*in));
  co_return answers;
}

Task<std::vector<Status>> RedisStore::save_progress(
    std::vector<std::pair<Token, v1::Progress>> progress) {
  std::vector<Semaphore::Permit> permits = co_await make_room(0);
  auto bytes_of = [](const std::pair<Token, v1::Progress>&) {
    return limits::kProgressBytes + 256;
  };
  co_return co_await progress_.add(std::move(progress), bytes_of, std::move(permits));
}

Task<void> RedisStore::send_progress(ProgressBatch::Entries entries) {
  RedisCommand command = begin_call(redis_scripts::save_progress);
  command.add(self_hex_);
  for (const auto& entry : entries) {
    const auto& [token, progress] = entry.item;
    command.add(token.job_id).add(token_bytes(token)).add(progress.SerializeAsString());
  }
  const StatusOr<RedisReply> reply =
      co_await call(redis_scripts::save_progress, std::move(command), entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    auto& [token, progress] = entries[i].item;
    if (!reply.ok()) {
      entries[i].answer(unavailable(reply.status()));
    } else if (reply->text().at(i) == 's') {
      entries[i].answer(stale(token));
    } else {
      if (Running* job = running(token)) *job->job.mutable_progress() = std::move(progress);
      entries[i].answer(absl::OkStatus());
    }
  }
}

Task<StatusOr<v1::CancelResponse>> RedisStore::cancel(std::string job_id, std::string reason) {
  std::vector<Semaphore::Permit> permits = co_await make_room(0);
  co_return co_await tasks_.run(
      do_cancel(std::move(job_id), std::move(reason), std::move(permits)));
}

Task<StatusOr<v1::CancelResponse>> RedisStore::do_cancel(std::string job_id, std::string reason,
                                                         std::vector<Semaphore::Permit>) {
  RedisCommand command = begin_call(redis_scripts::cancel);
  command.add(clock()).add(self_hex_).add(job_id).add(reason);
  command.add(static_cast<int64_t>(options_.finished_per_queue));
  command.add(static_cast<int64_t>(options_.push_bytes));
  const StatusOr<RedisReply> reply = co_await call(redis_scripts::cancel, std::move(command), 1);
  if (!reply.ok()) co_return unavailable(reply.status());
  if (reply->is_nil()) co_return unknown_job(job_id);
  keep_counts((*reply)[0]);
  v1::CancelResponse response;
  response.set_state(static_cast<v1::JobState>((*reply)[2].integer()));
  const char letter = (*reply)[1].text().at(0);
  if (letter == 'c') {
    response.set_result(v1::CancelResponse::CANCELLED);
    StatusOr<v1::Job> job = to_job((*reply)[3], (*reply)[4], (*reply)[5], (*reply)[6]);
    if (job.ok()) tell_finished_elsewhere(*std::move(job));
  } else if (letter == 'a') {
    response.set_result(v1::CancelResponse::ALREADY_FINISHED);
  } else {
    response.set_result(v1::CancelResponse::REQUESTED);
    if (letter == 'r' && listener_ != nullptr) listener_->on_cancel_requested(job_id, reason);
  }
  co_return response;
}

Task<StatusOr<v1::Job>> RedisStore::get(std::string job_id, bool with_payload) {
  own_loop_.enter();
  auto permit =
      co_await answer_bytes_.acquire(std::min(get_bytes(with_payload), options_.read_bytes));
  // What is told of the stream from then on begins before this answer.
  co_await news_.said();
  RedisCommand command = begin_call(redis_scripts::get);
  command.add(job_id).add(with_payload ? "1" : "0");
  const StatusOr<RedisReply> reply =
      co_await connection_.call_script(redis_scripts::get, std::move(command));
  if (!reply.ok()) co_return unavailable(reply.status());
  if (reply->is_nil()) co_return unknown_job(job_id);
  StatusOr<v1::Job> job =
      to_job((*reply)[0], (*reply)[1], (*reply)[2], (*reply)[3], (*reply)[4], (*reply)[5]);
  if (job.ok() && !with_payload) job->mutable_spec()->clear_payload();
  co_return job;
}

}  // namespace weft
