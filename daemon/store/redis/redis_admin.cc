// What people and the janitor do with jobs.
#include <redis_scripts.h>

#include <algorithm>

#include <weft/base/limits.h>
#include <weft/store/job_list.h>
#include <weft/store/job_record.h>
#include <weft/store/redis/redis_store_impl.h>

namespace weft {
namespace {

constexpr size_t kListParts = 5;  // of the answer, for each job

constexpr int64_t kExpired = -2;  // instead of a record

// A job's times are whole microseconds here.
int64_t to_us_up(int64_t ns) { return ns / 1000 + (ns % 1000 > 0 ? 1 : 0); }

int64_t to_number(size_t size) { return static_cast<int64_t>(size); }

Status expired(const std::string& job_id) {
  v1::Job job;
  job.mutable_spec()->set_id(job_id);
  job.mutable_spec()->mutable_expire_at();
  return check_not_expired(job, INT64_MAX);
}

}  // namespace

Task<StatusOr<JobPage>> RedisStore::list(JobFilter filter, std::string position, size_t max_jobs) {
  own_loop_.enter();
  const StatusOr<int64_t> before = parse_position(position);
  if (!before.ok()) co_return before.status();
  if (position.empty()) position = "+inf";
  std::string states;
  for (const v1::JobState state : filter.states) states.push_back(static_cast<char>(state));
  const auto permit =
      co_await answer_bytes_.acquire(std::min(limits::kReadBatchBytes, options_.read_bytes));
  JobPage page;
  size_t looked_at = 0;
  while (true) {
    RedisCommand command = begin_call(redis_scripts::job_list);
    command.add(position).add(to_number(max_jobs - page.jobs.size()));
    command.add(to_number(std::min(limits::kRedisScan, list_scan(filter) - looked_at)));
    command.add(to_number(limits::kReadBatchBytes));
    command.add(filter.queue).add(filter.type).add(states);
    command.add(filter.submitted_from_ns == INT64_MIN ? 0 : to_us_up(filter.submitted_from_ns));
    command.add(to_us_up(filter.submitted_before_ns));
    command.add(filter.idempotency_key).add(filter.error);
    const StatusOr<RedisReply> reply =
        co_await connection_.call_script(redis_scripts::job_list, std::move(command));
    if (!reply.ok()) co_return unavailable(reply.status());
    if (page.from.empty()) page.from = to_position((*reply)[3].integer());
    for (size_t i = 4; i + kListParts <= reply->size(); i += kListParts) {
      StatusOr<v1::Job> job =
          to_job((*reply)[i + 1], (*reply)[i + 2], (*reply)[i + 3], (*reply)[i + 4]);
      if (!job.ok()) co_return job.status();
      job->mutable_spec()->clear_payload();
      // The script finds an error's text also across its parts.
      if (matches_record(filter, *job)) page.jobs.push_back(*std::move(job));
    }
    const bool more = (*reply)[2].integer() != 0;
    if (!more) co_return StatusOr<JobPage>(std::move(page));
    position = to_position((*reply)[0].integer());
    looked_at += static_cast<size_t>((*reply)[1].integer());
    if (page.jobs.size() >= max_jobs || looked_at >= list_scan(filter)) {
      page.next = position;
      co_return StatusOr<JobPage>(std::move(page));
    }
  }
}

Task<StatusOr<v1::Job>> RedisStore::retry(std::string job_id) {
  auto permits = co_await make_room(job_id.size());
  co_return co_await tasks_.run(do_retry(std::move(job_id), std::move(permits)));
}

Task<StatusOr<v1::Job>> RedisStore::do_retry(std::string job_id,
                                             std::vector<Semaphore::Permit> /*permits*/) {
  RedisCommand command = begin_call(redis_scripts::job_retry);
  command.add(job_id).add(to_number(options_.queued_per_queue)).add(self_hex_).add(clock());
  const StatusOr<RedisReply> reply = co_await call(redis_scripts::job_retry, std::move(command), 1);
  if (!reply.ok()) co_return unavailable(reply.status());
  if (reply->is_nil()) co_return unknown_job(job_id);
  keep_counts((*reply)[0]);
  const RedisReply& record = (*reply)[1];
  if (record.type() == RedisReply::Type::kInteger) {
    if (record.integer() == kExpired) co_return expired(job_id);
    if (record.integer() < 0) co_return queue_full((*reply)[2].text(), options_.queued_per_queue);
    co_return not_dead(job_id, static_cast<JobState>(record.integer()));
  }
  tell_work();
  tell_scheduled((*reply)[4]);
  StatusOr<v1::Job> job = to_job(record, (*reply)[2], RedisReply(), (*reply)[3]);
  if (job.ok()) job->mutable_spec()->clear_payload();
  co_return job;
}

Task<Status> RedisStore::remove(std::string job_id) {
  auto permits = co_await make_room(job_id.size());
  co_return co_await tasks_.run(do_remove(std::move(job_id), std::move(permits)));
}

Task<Status> RedisStore::do_remove(std::string job_id, std::vector<Semaphore::Permit> /*permits*/) {
  RedisCommand command = begin_call(redis_scripts::job_remove);
  command.add(job_id).add(self_hex_);
  const StatusOr<RedisReply> reply =
      co_await call(redis_scripts::job_remove, std::move(command), 1);
  if (!reply.ok()) co_return unavailable(reply.status());
  if (reply->is_nil()) co_return unknown_job(job_id);
  keep_counts((*reply)[0]);
  const int64_t state = (*reply)[1].integer();
  if (state != 0) co_return not_ended(job_id, static_cast<JobState>(state));
  co_return absl::OkStatus();
}

Task<StatusOr<size_t>> RedisStore::sweep(size_t max_items) {
  auto permits = co_await make_room(0);
  co_return co_await tasks_.run(do_sweep(max_items, std::move(permits)));
}

Task<StatusOr<size_t>> RedisStore::do_sweep(size_t max_items,
                                            std::vector<Semaphore::Permit> /*permits*/) {
  size_t forgotten = 0;
  while (true) {
    RedisCommand command = begin_call(redis_scripts::job_sweep);
    command.add(to_number(std::min(max_items - forgotten, limits::kRedisScriptItems)));
    command.add(to_number(limits::kRedisScan)).add(self_hex_).add(clock());
    const StatusOr<RedisReply> reply =
        co_await call(redis_scripts::job_sweep, std::move(command), 1);
    if (!reply.ok()) co_return unavailable(reply.status());
    keep_counts((*reply)[0]);
    forgotten += static_cast<size_t>((*reply)[1].integer());
    const bool more = (*reply)[2].integer() != 0;
    if (!more || forgotten >= max_items) co_return forgotten;
  }
}

}  // namespace weft
