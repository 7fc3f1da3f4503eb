// Formats of `weft`.
#include "client/cli/output.h"

#include <absl/strings/escaping.h>
#include <google/protobuf/util/time_util.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <utility>

#include <weft/client/text.h>

#include "client/cli/time_text.h"

namespace weft::cli {
namespace {

constexpr size_t kBufferBytes = 64 << 10;
constexpr size_t kShownBytes = 200;  // of anything longer, a table shows the size

using Json = nlohmann::ordered_json;

// On one line; long ones only by their size.
std::string table_value(const Json& value) {
  const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  if (text.size() > kShownBytes) return std::to_string(text.size()) + " bytes";
  return one_line(text);
}

void put_outcome(Json& object, const v1::Outcome& outcome) {
  if (outcome.error_code().empty()) {
    put_bytes(object, "result", outcome.result());
  } else {
    object["error"] = {{"code", outcome.error_code()}, {"message", outcome.error_message()}};
  }
}

// Of the terminal behind standard error.
size_t terminal_columns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

double seconds_of(const google::protobuf::Duration& duration) {
  return static_cast<double>(google::protobuf::util::TimeUtil::DurationToMilliseconds(duration)) /
         1000;
}

// "pause"
std::string policy_name(v1::StreamPolicy policy) {
  std::string name = v1::StreamPolicy_Name(policy).substr(sizeof("STREAM_POLICY_") - 1);
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

Json progress_json(const v1::Progress& progress) {
  return {{"fraction", progress.fraction()}, {"message", progress.message()}};
}

// When the job is to run, and how often.
void put_plan(Json& json, const v1::JobSpec& spec) {
  if (spec.has_run_at()) json["run_at"] = time_text(spec.run_at());
  if (spec.has_delay()) json["delay_seconds"] = seconds_of(spec.delay());
  if (spec.has_expire_at()) json["expire_at"] = time_text(spec.expire_at());
  if (spec.has_attempt_timeout()) json["timeout_seconds"] = seconds_of(spec.attempt_timeout());
  if (spec.has_total_timeout()) {
    json["total_timeout_seconds"] = seconds_of(spec.total_timeout());
  }
  const v1::RetryPolicy& retry = spec.retry();
  if (retry.max_attempts() > 0) json["max_attempts"] = retry.max_attempts();
  if (retry.backoff_case() != v1::RetryPolicy::BACKOFF_NOT_SET) {
    json["backoff"] = backoff_text(retry);
  }
  if (retry.has_jitter()) json["jitter"] = retry.jitter();
}

Json errors_json(const v1::Job& job) {
  Json errors = Json::array();
  for (const v1::AttemptError& error : job.errors()) {
    errors.push_back({{"attempt", error.attempt()},
                      {"start_time", time_text(error.start_time())},
                      {"end_time", time_text(error.end_time())},
                      {"worker", error.worker()},
                      {"code", error.error_code()},
                      {"message", error.error_message()}});
  }
  return errors;
}

}  // namespace

std::string one_line(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      out += c;
    } else {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
      out += c == '\n' ? "\\n" : c == '\t' ? "\\t" : escaped;
    }
  }
  return out;
}

Output::Output() { std::signal(SIGPIPE, SIG_IGN); }

void Output::add(std::string_view bytes) {
  if (error_ != 0) return;
  buffer_.append(bytes);
  if (buffer_.size() >= kBufferBytes) flush();
}

void Output::add_line(std::string_view bytes) {
  add(bytes);
  add("\n");
}

bool Output::flush() {
  size_t done = 0;
  while (error_ == 0 && done < buffer_.size()) {
    const ssize_t written = ::write(STDOUT_FILENO, buffer_.data() + done, buffer_.size() - done);
    if (written >= 0) {
      done += static_cast<size_t>(written);
    } else if (errno != EINTR) {
      error_ = errno;
      if (error_ != EPIPE) std::perror("weft: cannot write to standard output");
    }
  }
  buffer_.clear();
  return error_ == 0;
}

ExitCode Output::finish() {
  flush();
  return code();
}

ExitCode Output::code() const {
  return error_ == 0 ? kSucceeded : error_ == EPIPE ? kOutputClosed : kRefused;
}

std::string state_name(v1::JobState state) {
  std::string name = v1::JobState_Name(state).substr(sizeof("JOB_STATE_") - 1);
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

void put_bytes(Json& object, const std::string& name, const std::string& bytes) {
  if (is_utf8(bytes)) {
    object[name] = bytes;
  } else {
    object[name + "_base64"] = absl::Base64Escape(to_absl(bytes));
  }
}

Json job_json(const v1::Job& job) {
  Json json;
  json["id"] = job.spec().id();
  json["queue"] = job.spec().queue();
  json["type"] = job.spec().type();
  json["state"] = state_name(job.state());
  json["attempt"] = job.attempt();
  put_bytes(json, "payload", job.spec().payload());
  if (!job.spec().content_type().empty()) json["content_type"] = job.spec().content_type();
  if (job.spec().stream_policy() != v1::STREAM_POLICY_UNSPECIFIED) {
    json["stream_policy"] = policy_name(job.spec().stream_policy());
  }
  put_plan(json, job.spec());
  if (job.spec().has_retention()) json["retention_seconds"] = seconds_of(job.spec().retention());
  // The client's own key is the id, which is shown already.
  if (!job.spec().idempotency_key().empty() && job.spec().idempotency_key() != job.spec().id()) {
    json["idempotency_key"] = job.spec().idempotency_key();
  }
  if (job.failures() > 0) json["failures"] = job.failures();
  if (job.snoozes() > 0) json["snoozes"] = job.snoozes();
  if (job.crashes() > 0) json["crashes"] = job.crashes();
  if (!job.spec().metadata().empty()) {
    Json& metadata = json["metadata"];
    for (const auto& [key, value] : job.spec().metadata()) metadata[key] = value;
  }
  if (job.has_submit_time()) json["submit_time"] = time_text(job.submit_time());
  if (job.has_due_time()) json["due_time"] = time_text(job.due_time());
  if (job.has_deadline_time()) json["deadline_time"] = time_text(job.deadline_time());
  if (job.has_start_time()) json["start_time"] = time_text(job.start_time());
  if (job.has_finish_time()) json["finish_time"] = time_text(job.finish_time());
  if (!job.worker().empty()) json["worker"] = job.worker();
  if (job.has_progress()) json["progress"] = progress_json(job.progress());
  json["first_sequence"] = job.first_sequence();
  json["last_sequence"] = job.last_sequence();
  json["last_send"] = job.last_send();
  json["cancel_requested"] = job.cancel_requested();
  if (!job.cancel_reason().empty()) json["cancel_reason"] = job.cancel_reason();
  if (job.has_outcome()) put_outcome(json, job.outcome());
  if (job.errors_size() > 0) json["errors"] = errors_json(job);
  return json;
}

std::string job_table(const v1::Job& job) {
  Json json = job_json(job);
  json.erase("errors");
  std::string out;
  for (const auto& [key, value] : json.items()) {
    std::string name = key;
    name.resize(std::max<size_t>(name.size() + 2, 18), ' ');
    out += name + table_value(value) + "\n";
  }
  for (const v1::AttemptError& error : job.errors()) {
    out += "attempt " + std::to_string(error.attempt()) + " failed at " +
           time_text(error.end_time()) + ", begun at " + time_text(error.start_time()) + " by " +
           one_line(error.worker()) + ": " + one_line(error.error_code()) + ": " +
           one_line(error.error_message()) + "\n";
  }
  return out;
}

std::string document(const Json& json, Format format) {
  return json.dump(format == Format::kJson ? 2 : -1) + "\n";
}

std::string progress_bar(const v1::Progress& progress, size_t columns) {
  constexpr size_t kBar = 30;
  const double fraction = std::clamp(progress.fraction(), 0.0, 1.0);
  const auto done = static_cast<size_t>(fraction * static_cast<double>(kBar));
  char percent[8];
  std::snprintf(percent, sizeof percent, "%3.0f%%", fraction * 100);
  std::string line = "[" + std::string(done, '#') + std::string(kBar - done, '-') + "] " + percent;
  if (line.size() >= columns) return percent;
  // A message is somebody else's text: it must not move the cursor, nor wrap the line.
  line += ' ';
  size_t used = line.size();
  for (const char c : progress.message()) {
    const auto byte = static_cast<unsigned char>(c);
    const bool starts = (byte & 0xC0) != 0x80;
    if (starts && ++used >= columns) break;
    line += byte < 0x20 || byte == 0x7F ? ' ' : c;
  }
  return line;
}

EventPrinter::EventPrinter(Format format, std::string job_id, bool raw)
    : format_(format),
      job_id_(std::move(job_id)),
      raw_(raw),
      progress_line_(format == Format::kTable && ::isatty(STDERR_FILENO) == 1) {}

bool EventPrinter::print(const v1::Event& event) {
  if (format_ == Format::kJson && !std::exchange(begun_, true)) {
    out_.add("{\n  \"id\": " + Json(job_id_).dump() + ",\n  \"chunks\": [");
  }
  clear_progress();
  if (event.has_chunks()) {
    print_chunks(event.chunks());
  } else if (event.has_progress()) {
    print_progress(event.progress());
  } else if (event.has_attempt_started()) {
    const v1::AttemptStarted& attempt = event.attempt_started();
    if (format_ == Format::kJsonl) {
      out_.add(document({{"sequence", attempt.sequence()},
                         {"attempt", attempt.attempt()},
                         {"resumes_after", attempt.resumes_after()}},
                        format_));
    } else if (format_ == Format::kTable && chunks_ > 0) {
      out_.flush();
      std::fprintf(stderr,
                   "weft: attempt %llu begins: what follows replaces what came after chunk %llu\n",
                   static_cast<unsigned long long>(attempt.attempt()),
                   static_cast<unsigned long long>(attempt.resumes_after()));
    }
  } else if (event.has_finished()) {
    finished_ = event.finished();
    print_finished();
  }
  return out_.flush();
}

void EventPrinter::print_chunks(const v1::Chunks& chunks) {
  uint64_t sequence = chunks.first_sequence();
  for (const std::string& data : chunks.data()) {
    if (format_ == Format::kTable) {
      out_.add(data);
      if (!raw_) out_.add("\n");
    } else {
      Json json = {{"sequence", sequence}};
      put_bytes(json, "chunk", data);
      if (format_ == Format::kJsonl) {
        out_.add(document(json, format_));
      } else {
        out_.add((chunks_ == 0 ? "\n    " : ",\n    ") + json.dump());
      }
    }
    ++sequence;
    ++chunks_;
  }
}

void EventPrinter::print_progress(const v1::Progress& progress) {
  if (format_ == Format::kJsonl) {
    out_.add(document({{"progress", progress_json(progress)}}, format_));
  } else if (progress_line_) {
    std::fprintf(stderr, "\r\x1b[K%s", progress_bar(progress, terminal_columns()).c_str());
    progress_shown_ = true;
  }
}

void EventPrinter::clear_progress() {
  if (std::exchange(progress_shown_, false)) std::fputs("\r\x1b[K", stderr);
}

void EventPrinter::print_finished() {
  Json json = {{"state", state_name(finished_.state())},
               {"last_sequence", finished_.last_sequence()}};
  put_outcome(json, finished_.outcome());
  if (format_ == Format::kJsonl) {
    Json line = {{"id", job_id_}};
    line.update(json);
    out_.add(document(line, format_));
  } else if (format_ == Format::kJson) {
    out_.add(chunks_ == 0 ? "]" : "\n  ]");
    for (const auto& [key, value] : json.items()) {
      out_.add(",\n  " + Json(key).dump() + ": " + value.dump());
    }
    out_.add("\n}\n");
  } else if (finished_.state() != v1::JOB_STATE_SUCCEEDED) {
    out_.flush();
    const v1::Outcome& outcome = finished_.outcome();
    std::fprintf(stderr, "weft: job %s is %s: %s: %s\n", job_id_.c_str(),
                 state_name(finished_.state()).c_str(), outcome.error_code().c_str(),
                 outcome.error_message().c_str());
  } else if (!finished_.outcome().result().empty() && finished_.last_sequence() == 0) {
    // A job that streams shows its chunks; one that only returns shows what it returned.
    out_.add(finished_.outcome().result());
    if (!raw_) out_.add("\n");
  }
}

bool EventPrinter::finish() {
  clear_progress();
  if (format_ == Format::kJson && begun_ && finished_.state() == v1::JOB_STATE_UNSPECIFIED) {
    out_.add(std::string(chunks_ == 0 ? "]" : "\n  ]") + ",\n  \"state\": null\n}\n");
  }
  return out_.flush();
}

}  // namespace weft::cli
