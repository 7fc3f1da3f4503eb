// Schedules: each verb is one script.
#include <redis_scripts.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

#include <weft/base/limits.h>
#include <weft/store/redis/redis_store_impl.h>

namespace weft {
namespace {

constexpr size_t kScheduleBytes = 80 << 10;  // of one schedule, about

int64_t integer_of(const RedisReply& reply) {
  int64_t number = 0;
  std::from_chars(reply.text().data(), reply.text().data() + reply.text().size(), number);
  return number;
}

// Name, version and record, from `begin` on; what does not parse is left out.
std::vector<StoredSchedule> read_schedules(const RedisReply& reply, size_t begin,
                                           UnreadableSchedules& unreadable) {
  std::vector<StoredSchedule> schedules;
  for (size_t i = begin; i + 3 <= reply.size(); i += 3) {
    StoredSchedule stored;
    stored.version = static_cast<uint64_t>(integer_of(reply[i + 1]));
    if (stored.schedule.ParseFromString(reply[i + 2].text()) &&
        stored.schedule.name() == reply[i].text()) {
      schedules.push_back(std::move(stored));
    } else {
      unreadable.found(reply[i].text(), stored.version);
    }
  }
  return schedules;
}

}  // namespace

Task<StatusOr<uint64_t>> RedisStore::put_schedule(v1::Schedule schedule, uint64_t expected,
                                                  std::optional<int64_t> wake_ms) {
  const std::string name = schedule.name();
  const std::string record = schedule.SerializeAsString();
  const auto permits = co_await make_room(record.size());
  RedisCommand command = begin_call(redis_scripts::schedule_put);
  command.add(name).add(static_cast<int64_t>(expected));
  command.add(wake_ms ? std::to_string(*wake_ms) : std::string());
  command.add(record).add(static_cast<int64_t>(limits::kSchedules));
  const StatusOr<RedisReply> reply =
      co_await call(redis_scripts::schedule_put, std::move(command), 1);
  if (!reply.ok()) co_return unavailable(reply.status());
  switch (const int64_t version = reply->integer()) {
    case 0:
      co_return schedule_changed(name);
    case -1:
      co_return unknown_schedule(name);
    case -2:
      co_return too_many_schedules();
    default:
      co_return static_cast<uint64_t>(version);
  }
}

Task<Status> RedisStore::remove_schedule(std::string name, uint64_t expected) {
  const auto permits = co_await make_room(name.size());
  RedisCommand command = begin_call(redis_scripts::schedule_remove);
  command.add(name).add(static_cast<int64_t>(expected));
  const StatusOr<RedisReply> reply =
      co_await call(redis_scripts::schedule_remove, std::move(command), 1);
  if (!reply.ok()) co_return unavailable(reply.status());
  if (reply->integer() < 0) co_return unknown_schedule(name);
  co_return reply->integer() == 0 ? schedule_changed(name) : absl::OkStatus();
}

Task<StatusOr<StoredSchedule>> RedisStore::get_schedule(std::string name) {
  own_loop_.enter();
  const auto permit = co_await answer_bytes_.acquire(std::min(kScheduleBytes, options_.read_bytes));
  RedisCommand command = begin_call(redis_scripts::schedule_list);
  command.add(name).add(int64_t{0});
  const StatusOr<RedisReply> reply =
      co_await connection_.call_script(redis_scripts::schedule_list, std::move(command));
  if (!reply.ok()) co_return unavailable(reply.status());
  if (reply->size() == 0) co_return unknown_schedule(name);
  std::vector<StoredSchedule> found = read_schedules(*reply, 0, unreadable_schedules_);
  if (found.empty()) co_return unreadable_schedule(name);
  co_return std::move(found.front());
}

Task<StatusOr<std::vector<StoredSchedule>>> RedisStore::list_schedules(std::string after,
                                                                       size_t max) {
  own_loop_.enter();
  if (max == 0) co_return std::vector<StoredSchedule>();
  const auto permit =
      co_await answer_bytes_.acquire(std::min(max * kScheduleBytes, options_.read_bytes));
  std::vector<StoredSchedule> page;
  for (;;) {
    const size_t left = max - page.size();
    RedisCommand command = begin_call(redis_scripts::schedule_list);
    command.add(after).add(static_cast<int64_t>(left));
    const StatusOr<RedisReply> reply =
        co_await connection_.call_script(redis_scripts::schedule_list, std::move(command));
    if (!reply.ok()) co_return unavailable(reply.status());
    for (StoredSchedule& stored : read_schedules(*reply, 0, unreadable_schedules_)) {
      page.push_back(std::move(stored));
    }
    if (page.size() == max || reply->size() < 3 * left) co_return page;
    after = (*reply)[reply->size() - 3].text();  // some do not parse: others take their places
  }
}

Task<StatusOr<DueSchedules>> RedisStore::due_schedules(size_t max) {
  own_loop_.enter();
  const auto permit =
      co_await answer_bytes_.acquire(std::min(max * kScheduleBytes, options_.read_bytes));
  RedisCommand command = begin_call(redis_scripts::schedule_due);
  command.add(clock()).add(static_cast<int64_t>(max));
  const StatusOr<RedisReply> reply =
      co_await connection_.call_script(redis_scripts::schedule_due, std::move(command));
  if (!reply.ok()) co_return unavailable(reply.status());
  DueSchedules due;
  due.schedules = read_schedules(*reply, 3, unreadable_schedules_);
  due.now_ms = (*reply)[0].integer();
  due.total = static_cast<size_t>((*reply)[1].integer());
  if (!(*reply)[2].text().empty()) {
    due.next_in =
        std::chrono::milliseconds(std::max<int64_t>(0, integer_of((*reply)[2]) - due.now_ms));
  }
  co_return StatusOr<DueSchedules>(std::move(due));
}

}  // namespace weft
