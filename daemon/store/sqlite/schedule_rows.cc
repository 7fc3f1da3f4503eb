// Schedules as rows: what the writer and the reader do with them.
#include <algorithm>

#include <weft/base/limits.h>
#include <weft/store/sqlite/reader.h>
#include <weft/store/sqlite/writer.h>

namespace weft {
namespace {

// Columns: version, record, name. False: it does not parse.
bool read_schedule(Statement& select, StoredSchedule& out) {
  out.version = static_cast<uint64_t>(select.integer(0));
  const std::string_view record = select.bytes(1);
  return out.schedule.ParseFromArray(record.data(), static_cast<int>(record.size())) &&
         out.schedule.name() == select.bytes(2);
}

}  // namespace

// Versions are compared within this process only, so that they may begin anew with it.
StatusOr<uint64_t> Writer::put_schedule(const v1::Schedule& schedule, uint64_t expected,
                                        std::optional<int64_t> wake_ms) {
  const std::string& name = schedule.name();
  const std::optional<uint64_t> there = schedule_version(name);
  if (!there && expected != 0) return unknown_schedule(name);
  if (there && *there != expected) return schedule_changed(name);
  if (!there) {
    const bool full = count_schedules_.next() &&
                      count_schedules_.integer(0) >= static_cast<int64_t>(limits::kSchedules);
    count_schedules_.reset();
    if (full) return too_many_schedules();
  }
  const std::string record = schedule.SerializeAsString();
  last_schedule_version_ = std::max(last_schedule_version_, there.value_or(0)) + 1;
  put_schedule_.bind_text(1, name).bind(2, static_cast<int64_t>(last_schedule_version_));
  if (wake_ms) {
    put_schedule_.bind(3, *wake_ms);
  } else {
    put_schedule_.bind_null(3);
  }
  put_schedule_.bind_blob(4, record).run();
  return last_schedule_version_;
}

Status Writer::remove_schedule(const std::string& name, uint64_t expected) {
  const std::optional<uint64_t> there = schedule_version(name);
  if (!there) return unknown_schedule(name);
  if (expected != 0 && *there != expected) return schedule_changed(name);
  last_schedule_version_ = std::max(last_schedule_version_, *there);  // not given again
  delete_schedule_.bind_text(1, name).run();
  return absl::OkStatus();
}

std::optional<uint64_t> Writer::schedule_version(const std::string& name) {
  std::optional<uint64_t> version;
  select_schedule_version_.bind_text(1, name);
  if (select_schedule_version_.next()) {
    version = static_cast<uint64_t>(select_schedule_version_.integer(0));
  }
  select_schedule_version_.reset();
  return version;
}

StatusOr<StoredSchedule> Reader::get_schedule(const std::string& name) {
  StoredSchedule found;
  select_schedule_.bind_text(1, name);
  if (!select_schedule_.next()) return database_.ok() ? unknown_schedule(name) : failed();
  const bool parsed = read_schedule(select_schedule_, found);
  select_schedule_.reset();
  if (!database_.ok()) return failed();
  if (!parsed) return unreadable_schedule(name);
  return found;
}

StatusOr<std::vector<StoredSchedule>> Reader::list_schedules(const std::string& after, size_t max) {
  std::vector<StoredSchedule> page;
  list_schedules_.bind_text(1, after);
  while (page.size() < max && list_schedules_.next()) {
    StoredSchedule stored;
    if (read_schedule(list_schedules_, stored)) {
      page.push_back(std::move(stored));
    } else {
      unreadable_.found(std::string(list_schedules_.bytes(2)), stored.version);
    }
  }
  list_schedules_.reset();
  if (!database_.ok()) return failed();
  return page;
}

StatusOr<DueSchedules> Reader::due_schedules(size_t max, int64_t now_ms) {
  DueSchedules due;
  due.now_ms = now_ms;
  while (due_schedules_.next()) {
    const int64_t wake_ms = due_schedules_.integer(3);
    if (wake_ms > now_ms || due.schedules.size() == max) {
      due.next_in = std::chrono::milliseconds(std::max<int64_t>(0, wake_ms - now_ms));
      break;
    }
    StoredSchedule stored;
    if (read_schedule(due_schedules_, stored)) {
      due.schedules.push_back(std::move(stored));
    } else {
      unreadable_.found(std::string(due_schedules_.bytes(2)), stored.version);
    }
  }
  due_schedules_.reset();
  if (count_schedules_.next()) due.total = static_cast<size_t>(count_schedules_.integer(0));
  count_schedules_.reset();
  if (!database_.ok()) return failed();
  return due;
}

}  // namespace weft
