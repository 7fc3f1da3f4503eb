// Everything here reads what came from outside: lengths are checked before they are believed.
#include <weft/store/redis/redis_news_message.h>
#include <weft/store/redis/redis_record.h>

namespace weft {
namespace {

constexpr size_t kWatchBytes = 48;
constexpr uint8_t kFlagOutcome = 8;
constexpr size_t kFlagsAt = 9;  // in a record

// The first `size` bytes of `bytes`, which then begin behind them. False: there are fewer.
bool cut(std::string_view& bytes, size_t size, std::string_view& out) {
  if (bytes.size() < size) return false;
  out = bytes.substr(0, size);
  bytes.remove_prefix(size);
  return true;
}

bool cut_number(std::string_view& bytes, size_t size, uint64_t& out) {
  std::string_view text;
  if (!cut(bytes, size, text)) return false;
  out = to_number(text);
  return true;
}

// A length as ">I4", then so many bytes.
bool cut_text(std::string_view& bytes, std::string_view& out) {
  uint64_t size = 0;
  return cut_number(bytes, 4, size) && cut(bytes, size, out);
}

RemoteReaders to_readers(const std::string& job_id, std::string_view entry) {
  StreamReaders readers;
  readers.passive = static_cast<uint32_t>(to_number(entry.substr(16, 4)));
  readers.attached = static_cast<uint32_t>(to_number(entry.substr(20, 4)));
  readers.credit = to_number(entry.substr(24, 8));
  readers.cursor = to_number(entry.substr(32, 8));
  return RemoteReaders(job_id, to_incarnation(entry.substr(0, 16)), readers,
                       to_number(entry.substr(40, 8)));
}

// A record, and an outcome if there is one. Nothing but what these hold is set.
NewsResult read_job(const std::string& job_id, std::string_view body, v1::Job& job) {
  std::string_view record;
  std::string_view outcome;
  if (!cut_text(body, record) || !cut_text(body, outcome) || !body.empty()) {
    return NewsResult::kNotNews;
  }
  if (!apply_record(record, job)) return NewsResult::kNotNews;
  job.mutable_spec()->set_id(job_id);
  if (outcome.empty()) {
    const bool left_out = (static_cast<uint8_t>(record[kFlagsAt]) & kFlagOutcome) != 0;
    return left_out ? NewsResult::kAskForEnd : NewsResult::kTold;
  }
  const bool read =
      job.mutable_outcome()->ParseFromArray(outcome.data(), static_cast<int>(outcome.size()));
  return read ? NewsResult::kTold : NewsResult::kNotNews;
}

NewsResult tell_job(const std::string& job_id, std::string_view body, bool ended,
                    StoreListener& listener) {
  v1::Job job;
  const NewsResult result = read_job(job_id, body, job);
  if (result == NewsResult::kNotNews || job.has_outcome() != ended) return NewsResult::kNotNews;
  if (result == NewsResult::kAskForEnd) return result;
  if (ended) {
    listener.on_finished(job);
  } else {
    listener.on_retried(job);
  }
  return NewsResult::kTold;
}

}  // namespace

NewsResult tell_news(std::string_view message, StoreListener& listener, std::string& job_id) {
  std::string_view letter;
  std::string_view id;
  uint64_t id_bytes = 0;
  if (!cut(message, 1, letter) || !cut_number(message, 1, id_bytes) ||
      !cut(message, id_bytes, id)) {
    return NewsResult::kNotNews;
  }
  job_id = id;
  uint64_t number = 0;
  switch (letter[0]) {
    case 'w':
      listener.on_work();
      return NewsResult::kTold;
    case 'c':
      listener.on_cancel_requested(job_id, std::string(message));
      return NewsResult::kTold;
    case 's':
      if (!cut_number(message, 8, number)) return NewsResult::kNotNews;
      listener.on_send(job_id, number, std::string(message));
      return NewsResult::kTold;
    case 'e': {
      const ChunkBlockPtr block = to_block(message);
      if (block == nullptr || block->count() == 0) return NewsResult::kNotNews;
      listener.on_entries(job_id, block);
      return NewsResult::kTold;
    }
    case 'n':
      if (message.size() != 8) return NewsResult::kNotNews;
      listener.on_stored(job_id, to_number(message));
      return NewsResult::kTold;
    case 'f':
      return tell_job(job_id, message, true, listener);
    case 'r':
      return tell_job(job_id, message, false, listener);
    case 'p': {
      v1::Progress progress;
      if (!progress.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
        return NewsResult::kNotNews;
      }
      listener.on_progress(job_id, progress);
      return NewsResult::kTold;
    }
    case 'x':
      listener.on_removed(job_id);
      return NewsResult::kTold;
    case 'R':
      if (message.size() != kWatchBytes) return NewsResult::kNotNews;
      listener.on_readers(to_readers(job_id, message));
      return NewsResult::kTold;
    case 'D':
      if (message.size() != 8) return NewsResult::kNotNews;
      listener.on_readers_detached(job_id, to_number(message));
      return NewsResult::kTold;
    default:
      return NewsResult::kNotNews;
  }
}

std::string watch_entry(Incarnation from, const StreamReaders& readers) {
  std::string out = to_bytes(from);
  out += to_bytes(static_cast<uint64_t>(readers.passive) << 32 | readers.attached);
  out += to_bytes(readers.credit);
  out += to_bytes(readers.cursor);
  out.resize(kWatchBytes);
  return out;
}

void add_remote_readers(const std::string& job_id, std::string_view watch, Incarnation self,
                        uint64_t attempt, std::vector<RemoteReaders>& readers) {
  for (; watch.size() >= kWatchBytes; watch.remove_prefix(kWatchBytes)) {
    RemoteReaders one = to_readers(job_id, watch.substr(0, kWatchBytes));
    one.attempt = attempt;
    if (!(one.from == self)) readers.push_back(std::move(one));
  }
}

}  // namespace weft
