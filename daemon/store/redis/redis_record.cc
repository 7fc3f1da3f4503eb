// Records are cut by hand: they are read for every job.
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include <weft/base/limits.h>
#include <weft/store/job_record.h>
#include <weft/store/redis/redis_record.h>

namespace weft {
namespace {

constexpr int64_t kSecond_us = 1'000'000;
constexpr int64_t kMicrosecond_ns = 1000;
constexpr uint8_t kFlagCancel = 1;
constexpr char kFlagLarge = 2;
constexpr char kFlagMore = 16;
constexpr char kFlagTimes = 32;
constexpr char kFlagTimed = 32;  // in a spec
constexpr size_t kFlagsAt = 9;
// From the flags on.
constexpr size_t kMoreAt = 30;
constexpr size_t kLastAt = 46;
constexpr size_t kReasonAt = 70;  // its length
constexpr size_t kPlaceAt = 8;    // in the times

template <typename Number>
void put(std::string& out, Number number) {
  for (int shift = (sizeof(Number) - 1) * 8; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(number >> shift));
  }
}
void put_text(std::string& out, std::string_view text) {
  put(out, static_cast<uint8_t>(text.size()));
  out.append(text);
}

// Reads from the front; what is not there reads as nothing, and ok() says so.
class Cutter {
 public:
  explicit Cutter(std::string_view bytes) : bytes_(bytes) {}
  bool ok() const { return ok_; }

  std::string_view text(size_t size) {
    if (bytes_.size() < size) {
      ok_ = false;
      bytes_ = {};
      return {};
    }
    const std::string_view out = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return out;
  }
  std::string_view rest() { return text(bytes_.size()); }
  template <typename Number>
  Number number() {
    return static_cast<Number>(to_number(text(sizeof(Number))));
  }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

void set_time(google::protobuf::Timestamp& time, int64_t us) {
  time.set_seconds(us / kSecond_us);
  time.set_nanos(static_cast<int32_t>(us % kSecond_us * kMicrosecond_ns));
}

// What a record and P job both have of them, and what follows from that.
struct Times {
  int64_t due = 0;
  int64_t deadline = 0;  // 0: that of the submission
  uint32_t failures = 0;
  uint32_t snoozes = 0;
};
Times cut_times(Cutter& cut) {
  Times times;
  times.due = cut.number<int64_t>();
  cut.number<uint64_t>();  // the place
  times.deadline = cut.number<int64_t>();
  times.failures = cut.number<uint32_t>();
  times.snoozes = cut.number<uint32_t>();
  return times;
}
void set_times(v1::Job& job, const Times& times, int64_t submit_us, int64_t timeout_us) {
  job.set_failures(times.failures);
  job.set_snoozes(times.snoozes);
  if (times.due != 0) {
    set_time(*job.mutable_due_time(), times.due);
  } else {
    job.clear_due_time();
  }
  if (timeout_us == 0) return;
  set_time(*job.mutable_deadline_time(),
           times.deadline != 0 ? times.deadline : submit_us + timeout_us);
}

// Where the times begin in what P job has from its flags on; 0: it has none.
size_t times_at(std::string_view from_flags) {
  if (from_flags.empty() || (from_flags[0] & kFlagTimes) == 0) return 0;
  if ((from_flags[0] & kFlagMore) == 0) return kMoreAt;
  if (from_flags.size() < kReasonAt + sizeof(uint16_t)) return 0;
  return kReasonAt + sizeof(uint16_t) + to_number(from_flags.substr(kReasonAt, sizeof(uint16_t)));
}

bool is_ended(uint8_t state) {
  return state >= v1::JOB_STATE_SUCCEEDED && state <= v1::JOB_STATE_EXPIRED;
}

}  // namespace

std::string to_bytes(uint64_t number) {
  std::string out;
  put(out, number);
  return out;
}

uint64_t to_number(std::string_view bytes) {
  uint64_t out = 0;
  for (const char byte : bytes) out = out << 8 | static_cast<uint8_t>(byte);
  return out;
}

std::string to_bytes(Incarnation incarnation) {
  std::string out;
  put(out, incarnation.high);
  put(out, incarnation.low);
  return out;
}

std::string to_hex(Incarnation incarnation) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const char byte : to_bytes(incarnation)) {
    out.push_back(kDigits[static_cast<uint8_t>(byte) >> 4]);
    out.push_back(kDigits[static_cast<uint8_t>(byte) & 15]);
  }
  return out;
}

Incarnation to_incarnation(std::string_view bytes) {
  Cutter cut(bytes);
  Incarnation incarnation;
  incarnation.high = cut.number<uint64_t>();
  incarnation.low = cut.number<uint64_t>();
  return incarnation;
}

std::optional<Incarnation> parse_hex(std::string_view digits) {
  if (digits.size() != 32) return std::nullopt;
  Incarnation out;
  const auto parse = [](std::string_view half, uint64_t& number) {
    const auto [end, error] = std::from_chars(half.data(), half.data() + half.size(), number, 16);
    return error == std::errc() && end == half.data() + half.size();
  };
  if (!parse(digits.substr(0, 16), out.high) || !parse(digits.substr(16), out.low)) {
    return std::nullopt;
  }
  return out;
}

int64_t to_us(const google::protobuf::Timestamp& time) {
  return time.seconds() * kSecond_us + (time.nanos() + kMicrosecond_ns - 1) / kMicrosecond_ns;
}

int64_t to_us(const google::protobuf::Duration& duration) {
  return duration.seconds() * kSecond_us +
         (duration.nanos() + kMicrosecond_ns - 1) / kMicrosecond_ns;
}

std::string token_bytes(const Token& token) {
  std::string out = to_bytes(token.worker);
  put(out, static_cast<uint32_t>(token.attempt));
  return out;
}

bool is_large(const v1::JobSpec& spec) {
  return spec.payload().size() > limits::kRedisInlinePayload;
}

std::string stored_spec(v1::JobSpec& spec, int64_t retention_ms) {
  std::string payload;
  const bool large = is_large(spec);
  if (large) payload.swap(*spec.mutable_payload());
  std::string out;
  put(out, retention_ms);
  const bool timed = spec.has_expire_at() || spec.has_total_timeout();
  out.push_back(static_cast<char>((large ? kFlagLarge : 0) | (timed ? kFlagTimed : 0)));
  put_text(out, spec.idempotency_key());
  put_text(out, spec.queue());
  put_text(out, spec.type());
  if (timed) {
    // 0 is none, and what was before is unsigned there.
    put(out, spec.has_expire_at() ? std::max<int64_t>(1, to_us(spec.expire_at())) : int64_t{0});
    put(out, spec.has_total_timeout() ? to_us(spec.total_timeout()) : int64_t{0});
  }
  if (spec.metadata().size() <= 1) {
    spec.AppendToString(&out);
  } else {
    google::protobuf::io::StringOutputStream stream(&out);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    spec.SerializeToCodedStream(&coded);
    coded.Trim();
  }
  if (large) payload.swap(*spec.mutable_payload());
  return out;
}

bool apply_record(std::string_view record, v1::Job& job) {
  Cutter cut(record);
  const auto state = cut.number<uint8_t>();
  const auto finish = cut.number<int64_t>();
  const auto flags = cut.number<uint8_t>();
  job.set_state(static_cast<v1::JobState>(state));
  job.set_crashes(cut.number<uint8_t>());
  cut.text(16);  // the worker
  job.set_attempt(cut.number<uint32_t>());
  const auto start = cut.number<int64_t>();
  cut.number<uint64_t>();  // consumed
  cut.number<uint64_t>();  // age
  const auto submit = cut.number<int64_t>();
  cut.number<uint64_t>();  // retention
  job.set_first_sequence(cut.number<uint64_t>());
  job.set_last_sequence(cut.number<uint64_t>());
  job.set_attempt_sequence(cut.number<uint64_t>());
  job.set_last_send(cut.number<uint64_t>());
  const Times times = cut_times(cut);
  cut.number<uint64_t>();  // expire_at
  const auto timeout = cut.number<int64_t>();
  cut.text(cut.number<uint8_t>());  // the key
  const std::string_view reason = cut.text(cut.number<uint16_t>());
  cut.text(cut.number<uint8_t>());  // queue and type are in the spec
  cut.text(cut.number<uint8_t>());
  job.set_worker(std::string(cut.rest()));
  job.set_cancel_requested((flags & kFlagCancel) != 0);
  job.set_cancel_reason(std::string(reason));
  set_time(*job.mutable_submit_time(), submit);
  set_times(job, times, submit, timeout);
  if (start != 0) {
    set_time(*job.mutable_start_time(), start);
  } else {
    job.clear_start_time();
  }
  if (finish != 0) {
    set_time(*job.mutable_finish_time(), finish);
  } else {
    job.clear_finish_time();
  }
  if (is_ended(state)) job.mutable_outcome();
  return cut.ok() && state >= v1::JOB_STATE_SCHEDULED && state <= v1::JOB_STATE_EXPIRED;
}

bool read_spec(std::string_view bytes, v1::JobSpec& spec, StoredSpec& stored) {
  Cutter cut(bytes);
  stored.age = cut.number<uint64_t>();
  stored.submit_us = cut.number<int64_t>();
  stored.retention_ms = cut.number<int64_t>();
  const auto flags = cut.number<uint8_t>();
  for (int i = 0; i < 3; ++i) cut.text(cut.number<uint8_t>());  // they are in the spec
  stored.timed = (flags & kFlagTimed) != 0;
  if (stored.timed) {
    cut.number<uint64_t>();  // expire_at
    stored.timeout_us = cut.number<int64_t>();
  }
  const std::string_view rest = cut.rest();
  return cut.ok() && spec.ParseFromArray(rest.data(), static_cast<int>(rest.size()));
}

bool read_running(std::string_view bytes, const StoredSpec& stored, v1::Job& job) {
  Cutter cut(bytes);
  const auto state = cut.number<uint8_t>();
  cut.text(8);  // finish
  const auto flags = cut.number<uint8_t>();
  job.set_state(static_cast<v1::JobState>(state));
  job.set_crashes(cut.number<uint8_t>());
  cut.text(16);  // the worker
  job.set_attempt(cut.number<uint32_t>());
  const auto start = cut.number<int64_t>();
  if ((flags & kFlagMore) != 0) {
    cut.number<uint64_t>();  // consumed
    job.set_first_sequence(cut.number<uint64_t>());
    job.set_last_sequence(cut.number<uint64_t>());
    job.set_attempt_sequence(cut.number<uint64_t>());
    job.set_last_send(cut.number<uint64_t>());
    job.set_cancel_reason(std::string(cut.text(cut.number<uint16_t>())));
  } else {
    job.set_first_sequence(1);
  }
  const Times times = (flags & kFlagTimes) != 0 ? cut_times(cut) : Times();
  if ((flags & kFlagTimes) != 0 || stored.timed) {
    set_times(job, times, stored.submit_us, stored.timeout_us);
  }
  job.set_cancel_requested((flags & kFlagCancel) != 0);  // also without a reason
  job.set_worker(std::string(cut.rest()));
  set_time(*job.mutable_submit_time(), stored.submit_us);
  set_time(*job.mutable_start_time(), start);
  return cut.ok() && state == v1::JOB_STATE_RUNNING;
}

std::string from_flags(std::string_view job) {
  std::string out(job.size() < kFlagsAt ? std::string_view() : job.substr(kFlagsAt));
  const size_t at = times_at(out) + kPlaceAt;
  if (has_place(job)) out.replace(at, sizeof(uint64_t), sizeof(uint64_t), '\0');
  return out;
}

bool has_place(std::string_view job) {
  const std::string_view flags = job.substr(std::min(job.size(), kFlagsAt));
  const size_t at = times_at(flags);
  if (at == 0 || flags.size() < at + kPlaceAt + sizeof(uint64_t)) return false;
  return to_number(flags.substr(at + kPlaceAt, sizeof(uint64_t))) != 0;
}

void set_last_sequence(std::string& from_flags, uint64_t last) {
  if (from_flags.size() < kMoreAt) return;
  if ((from_flags[0] & kFlagMore) == 0) {
    from_flags[0] = static_cast<char>(from_flags[0] | kFlagMore);
    std::string more = to_bytes(uint64_t{0}) + to_bytes(uint64_t{1});  // consumed, first
    more.append(3 * sizeof(uint64_t) + sizeof(uint16_t), '\0');
    from_flags.insert(kMoreAt, more);
  }
  if (from_flags.size() < kLastAt + sizeof last) return;
  from_flags.replace(kLastAt, sizeof last, to_bytes(last));
}

std::string error_of(const v1::Outcome& outcome) {
  v1::AttemptError error = attempt_error(v1::Job(), outcome, 0);
  error.clear_start_time();
  error.clear_end_time();
  return error.SerializeAsString();
}

Status damaged_job(std::string_view what) {
  return make_status(
      StatusCode::kDataLoss,
      "what Redis keeps of " + std::string(what) +
          " is not what Weft has written: give Weft a prefix of its own (--store-prefix), "
          "or restore the database from a backup");
}

StatusOr<v1::Job> to_job(const RedisReply& record, const RedisReply& spec,
                         const RedisReply& outcome, const RedisReply& progress,
                         const RedisReply& payload, const RedisReply& errors) {
  v1::Job job;
  const bool good =
      !record.is_nil() && !spec.is_nil() && job.mutable_spec()->ParseFromString(spec.text()) &&
      (outcome.is_nil() || job.mutable_outcome()->ParseFromString(outcome.text())) &&
      (progress.is_nil() || job.mutable_progress()->ParseFromString(progress.text())) &&
      apply_record(record.text(), job);
  if (!good) return damaged_job("a job");
  for (size_t i = 0; !errors.is_nil() && i < errors.size(); ++i) {
    if (!job.add_errors()->ParseFromString(errors[i].text())) return damaged_job("a job");
  }
  if (!payload.is_nil()) job.mutable_spec()->set_payload(payload.text());
  return job;
}

std::string to_bytes(const ChunkBlock& block) {
  std::string out;
  out.reserve(13 + 4 * block.count() + block.bytes.size());
  put(out, block.first_sequence);
  put(out, static_cast<uint8_t>(block.kind));
  put(out, static_cast<uint32_t>(block.count()));
  for (const uint32_t end : block.ends) {
    for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(end >> shift));
  }
  out.append(block.bytes);
  return out;
}

ChunkBlockPtr to_block(std::string_view bytes) {
  Cutter cut(bytes);
  const auto first = cut.number<uint64_t>();
  const auto kind = cut.number<uint8_t>();
  const size_t count = cut.number<uint32_t>();
  if (!cut.ok() || kind > static_cast<uint8_t>(ChunkBlock::Kind::kAttemptStarted)) return nullptr;
  const std::string_view ends = cut.text(4 * count);
  const std::string_view chunks = bytes.substr(std::min(bytes.size(), 13 + 4 * count));
  if (!cut.ok()) return nullptr;
  auto block = std::make_shared<ChunkBlock>(first, static_cast<ChunkBlock::Kind>(kind));
  block->bytes = chunks;
  block->ends.reserve(count);
  uint32_t before = 0;
  for (size_t i = 0; i < count; ++i) {
    uint32_t end = 0;
    for (size_t byte = 4; byte-- > 0;) end = end << 8 | static_cast<uint8_t>(ends[4 * i + byte]);
    if (end < before || end > chunks.size()) return nullptr;
    before = end;
    block->ends.push_back(end);
  }
  return before == chunks.size() ? block : nullptr;
}

}  // namespace weft
