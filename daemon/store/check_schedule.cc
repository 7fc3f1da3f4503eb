// The bounds of a schedule, and the names that its jobs carry.
#include <google/protobuf/util/message_differencer.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <cctype>

#include <weft/base/limits.h>
#include <weft/store/check_schedule.h>
#include <weft/store/check_spec.h>

namespace weft {
namespace {

using google::protobuf::util::TimeUtil;

constexpr char kNameKey[] = "weft.schedule";
constexpr char kTickKey[] = "weft.tick";
constexpr size_t kTickBytes = 40;  // of a time as text
constexpr int32_t kNanosPerSecond = 1'000'000'000;
constexpr int64_t kNanosPerMs = 1'000'000;

Status check_interval(const google::protobuf::Duration& interval) {
  const int64_t seconds = interval.seconds();
  const int32_t nanos = interval.nanos();
  const bool formed = nanos >= 0 && nanos < kNanosPerSecond && nanos % kNanosPerMs == 0;
  const bool inside =
      seconds >= limits::kIntervalMsMin / 1000 &&
      (seconds < limits::kRunAtSecondsMax || (seconds == limits::kRunAtSecondsMax && nanos == 0));
  if (formed && inside) return absl::OkStatus();
  return field_error("interval", "interval is out of bounds: use whole milliseconds from " +
                                     std::to_string(limits::kIntervalMsMin / 1000) + " s to " +
                                     std::to_string(limits::kRunAtSecondsMax) + " s (366 days)");
}

Status check_job(const v1::Schedule& schedule, v1::JobSpec& job, int64_t wall_ns) {
  const auto no = [](const char* field, const char* why) {
    return field_error(field, std::string(field) + " is not for a schedule: leave it out, " + why);
  };
  if (!job.id().empty()) return no("id", "each of its jobs gets one");
  if (!job.idempotency_key().empty()) return no("idempotency_key", "each of its jobs gets one");
  if (job.has_run_at()) return no("run_at", "its ticks say when");
  if (job.has_delay()) return no("delay", "its ticks say when");
  if (job.has_expire_at()) return no("expire_at", "it would be over for all later jobs");
  size_t metadata_bytes = sizeof kNameKey + schedule.name().size() + sizeof kTickKey + kTickBytes;
  for (const auto& [key, value] : job.metadata()) {
    if (key == kNameKey || key == kTickKey) {
      return field_error("metadata", "metadata has the key " + key +
                                         ", which a schedule's jobs get anyway: use another");
    }
    metadata_bytes += key.size() + value.size();
  }
  if (metadata_bytes > limits::kMetadataBytes) {
    return field_error("metadata", "metadata has " + std::to_string(metadata_bytes) +
                                       " bytes with what its ticks add, but at most " +
                                       std::to_string(limits::kMetadataBytes) +
                                       " are allowed: put larger data into the payload");
  }
  if (job.payload().size() > kSchedulePayloadBytes) {
    return field_error("payload", "payload has " + std::to_string(job.payload().size()) +
                                      " bytes, but at most " +
                                      std::to_string(kSchedulePayloadBytes) +
                                      " are allowed in a schedule: put larger input into a file");
  }
  return check_spec(job, wall_ns);
}

}  // namespace

Status check_schedule_name(std::string_view field, std::string_view name) {
  const auto allowed = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-';
  };
  if (!name.empty() && name.size() <= limits::kScheduleNameBytes &&
      std::ranges::all_of(name, allowed)) {
    return absl::OkStatus();
  }
  return field_error(field, std::string(field) + " is not a schedule's name: use 1 to " +
                                std::to_string(limits::kScheduleNameBytes) +
                                " characters of A-Z a-z 0-9 . _ -");
}

Status check_schedule(v1::Schedule& schedule, int64_t wall_ns) {
  WEFT_RETURN_IF_ERROR(check_schedule_name("name", schedule.name()));
  if (schedule.timetable_case() == v1::Schedule::TIMETABLE_NOT_SET) {
    return field_error("cron", "nothing says when: give it cron or interval");
  }
  if (schedule.has_interval()) {
    WEFT_RETURN_IF_ERROR(check_interval(schedule.interval()));
    if (!schedule.time_zone().empty()) {
      return field_error("time_zone", "an interval has no time zone: leave it out, or use cron");
    }
  } else {
    WEFT_RETURN_IF_ERROR(timetable_of(schedule).status());
  }
  if (!v1::OverlapPolicy_IsValid(schedule.overlap())) {
    return field_error("overlap", "overlap " + std::to_string(schedule.overlap()) +
                                      " is not known here: use SKIP, QUEUE or CANCEL_PREVIOUS");
  }
  if (!v1::CatchUpPolicy_IsValid(schedule.catch_up())) {
    return field_error("catch_up", "catch_up " + std::to_string(schedule.catch_up()) +
                                       " is not known here: use SKIP, ONE or ALL");
  }
  if (schedule.overlap() == v1::OVERLAP_POLICY_UNSPECIFIED) {
    schedule.set_overlap(v1::OVERLAP_POLICY_SKIP);
  }
  if (schedule.catch_up() == v1::CATCH_UP_POLICY_UNSPECIFIED) {
    schedule.set_catch_up(v1::CATCH_UP_POLICY_SKIP);
  }
  if (const Status job = check_job(schedule, *schedule.mutable_job(), wall_ns); !job.ok()) {
    const std::string field = field_of(job);
    return field.empty() ? job : field_error("job." + field, from_absl(job.message()));
  }
  schedule.clear_create_time();
  schedule.clear_next_time();
  schedule.clear_last_time();
  schedule.clear_last_job_id();
  schedule.clear_fired();
  schedule.clear_skipped();
  schedule.clear_pending();
  schedule.clear_last_error();
  return absl::OkStatus();
}

bool same_schedule(const v1::Schedule& a, const v1::Schedule& b) {
  const bool same_ticks = a.timetable_case() == b.timetable_case() && a.cron() == b.cron() &&
                          a.time_zone() == b.time_zone() &&
                          a.interval().seconds() == b.interval().seconds() &&
                          a.interval().nanos() == b.interval().nanos();
  return same_ticks && a.overlap() == b.overlap() && a.catch_up() == b.catch_up() &&
         google::protobuf::util::MessageDifferencer::Equals(a.job(), b.job());
}

StatusOr<Timetable> timetable_of(const v1::Schedule& schedule) {
  if (schedule.has_interval()) {
    return Timetable(TimeUtil::TimestampToMilliseconds(schedule.create_time()),
                     TimeUtil::DurationToMilliseconds(schedule.interval()));
  }
  const StatusOr<Cron> cron = Cron::parse("cron", schedule.cron());
  if (!cron.ok()) return cron.status();
  const StatusOr<absl::TimeZone> zone = find_time_zone("time_zone", schedule.time_zone());
  if (!zone.ok()) return zone.status();
  return Timetable(*cron, *zone);
}

v1::JobSpec pending_job(const v1::Schedule& schedule) {
  const v1::PendingTick& pending = schedule.pending();
  v1::JobSpec spec = pending.has_job() ? pending.job() : schedule.job();
  spec.set_id(pending.job_id());
  spec.set_idempotency_key(pending.job_id());
  (*spec.mutable_metadata())[kNameKey] = schedule.name();
  (*spec.mutable_metadata())[kTickKey] = TimeUtil::ToString(pending.time());
  return spec;
}

bool is_job_of(const v1::JobSpec& job, const std::string& schedule_name) {
  const auto found = job.metadata().find(kNameKey);
  return found != job.metadata().end() && found->second == schedule_name;
}

}  // namespace weft
