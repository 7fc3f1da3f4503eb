// How answers are written down.
#include "tests/differential/answer.h"

#include <google/protobuf/text_format.h>

namespace weft::testing {
namespace {

constexpr int64_t kSecond_ns = 1'000'000'000;
constexpr size_t kShownBytes = 40;

std::string shorten(const std::string& bytes) {
  if (bytes.size() <= kShownBytes) return bytes;
  return std::to_string(bytes.size()) + " bytes, hash " +
         std::to_string(std::hash<std::string>()(bytes));
}

int64_t take_time(google::protobuf::Timestamp* time) {
  const int64_t ns = time->seconds() * kSecond_ns + time->nanos();
  time->Clear();
  return ns;
}

}  // namespace

Answer& Answer::add(const Status& status, const std::string& id) {
  unavailable_ = unavailable_ || status.code() == StatusCode::kUnavailable;
  add(absl::StatusCodeToString(status.code()));
  if (status.ok()) return *this;
  std::string message(status.message());
  if (const size_t at = id.empty() ? std::string::npos : message.find(id);
      at != std::string::npos) {
    message.insert(at + id.size(), 1, kAfter).insert(at, 1, kBefore);
  }
  add(" '" + message + "'");
  if (const std::string field = field_of(status); !field.empty()) add(" field " + field);
  if (const int ms = retry_ms_of(status); ms != 0) add(" retry " + std::to_string(ms));
  return *this;
}

Answer& Answer::add(const v1::Job& job) {
  v1::Job copy = job;
  add_id(job.spec().id()).add(" ");
  copy.mutable_spec()->clear_id();
  copy.mutable_spec()->set_payload(shorten(job.spec().payload()));
  if (job.has_outcome()) copy.mutable_outcome()->set_result(shorten(job.outcome().result()));
  // Cleared, not removed: whether it is there is compared as text.
  if (job.has_submit_time()) times_ns_.push_back(take_time(copy.mutable_submit_time()));
  if (job.has_start_time()) times_ns_.push_back(take_time(copy.mutable_start_time()));
  if (job.has_finish_time()) times_ns_.push_back(take_time(copy.mutable_finish_time()));
  if (job.has_due_time()) times_ns_.push_back(take_time(copy.mutable_due_time()));
  if (job.has_deadline_time()) times_ns_.push_back(take_time(copy.mutable_deadline_time()));
  for (v1::AttemptError& error : *copy.mutable_errors()) {
    times_ns_.push_back(take_time(error.mutable_start_time()));
    times_ns_.push_back(take_time(error.mutable_end_time()));
  }
  google::protobuf::TextFormat::Printer printer;
  printer.SetSingleLineMode(true);
  std::string text;
  printer.PrintToString(copy, &text);
  return add(text);
}

Answer& Answer::add(const StreamPage& page) {
  for (const ChunkBlockPtr& block : page.blocks) {
    for (size_t i = 0; i < block->count(); ++i) {
      const std::string chunk(block->chunk(i));
      add(" ").add(block->first_sequence + i);
      if (block->kind == ChunkBlock::Kind::kChunks) {
        add(":" + shorten(chunk));
        continue;
      }
      v1::AttemptStarted entry;
      add(entry.ParseFromString(chunk) ? ":{" + entry.ShortDebugString() + "}" : ":damaged");
    }
  }
  return *this;
}

void Answer::append(const Answer& other) {
  text_ += other.text_;
  times_ns_.insert(times_ns_.end(), other.times_ns_.begin(), other.times_ns_.end());
  taken.insert(taken.end(), other.taken.begin(), other.taken.end());
  unavailable_ = unavailable_ || other.unavailable_;
}

std::string Answer::to_text(const Names& names) const {
  std::string out;
  size_t at = 0;
  while (true) {
    const size_t begin = text_.find(kBefore, at);
    if (begin == std::string::npos) break;
    const size_t end = text_.find(kAfter, begin);
    out += text_.substr(at, begin - at) + names(text_.substr(begin + 1, end - begin - 1));
    at = end + 1;
  }
  return out + text_.substr(at);
}

}  // namespace weft::testing
