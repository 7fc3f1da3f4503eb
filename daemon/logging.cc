// spdlog's asynchronous logger with a JSON formatter of our own.
#include "daemon/logging.h"

#include <grpc/support/log.h>
#include <poll.h>
#include <spdlog/async.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <ctime>
#include <future>
#include <thread>

#include <weft/base/limits.h>

namespace weft {
namespace {

// The length of the UTF-8 character that `text` begins with; 0: it begins with none. Overlong
// forms, surrogates and values beyond U+10FFFF are none.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  size_t length = 0;
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  }
  if (length == 0 || text.size() < length || byte(1) < low || byte(1) > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xBF) return 0;
  }
  return length;
}

void append(spdlog::memory_buf_t& out, std::string_view text) {
  out.append(text.data(), text.data() + text.size());
}

class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    using std::chrono::duration_cast;
    const auto since_epoch = message.time.time_since_epoch();
    const std::time_t seconds = duration_cast<std::chrono::seconds>(since_epoch).count();
    const auto millis = duration_cast<std::chrono::milliseconds>(since_epoch).count() % 1000;
    std::tm utc{};
    gmtime_r(&seconds, &utc);
    char time[64];
    const size_t length = std::strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%S", &utc);
    append(out, R"({"time":")");
    append(out, {time, length});
    char fraction[8];
    std::snprintf(fraction, sizeof(fraction), ".%03dZ", static_cast<int>(millis));
    append(out, fraction);
    append(out, R"(","level":")");
    const auto level = spdlog::level::to_string_view(message.level);
    append(out, {level.data(), level.size()});
    append(out, R"(","message":")");
    append(out, json_escape({message.payload.data(), message.payload.size()}));
    append(out, "\"}\n");
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>();
  }
};

// gRPC's own messages, which it would write to stderr in a form of its own.
void log_for_grpc(gpr_log_func_args* message) {
  const auto level = message->severity == GPR_LOG_SEVERITY_ERROR  ? spdlog::level::warn
                     : message->severity == GPR_LOG_SEVERITY_INFO ? spdlog::level::info
                                                                  : spdlog::level::debug;
  spdlog::log(level, "grpc: {}", message->message);
}

}  // namespace

std::string json_escape(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size() + 2);
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    const char c = text.front();
    if (length == 0) {
      escaped += "\\ufffd";
    } else if (c == '"' || c == '\\') {
      escaped += '\\';
      escaped += c;
    } else if (c == '\n') {
      escaped += "\\n";
    } else if (length == 1 && (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)) {
      char code[8];
      std::snprintf(code, sizeof(code), "\\u%04x", static_cast<unsigned>(c));
      escaped += code;
    } else {
      escaped += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return escaped;
}

std::unique_ptr<spdlog::formatter> make_json_formatter() {
  return std::make_unique<JsonFormatter>();
}

LogFormat log_format_of(int fd) { return isatty(fd) == 1 ? LogFormat::kText : LogFormat::kJson; }

void start_logging(const std::string& level, LogFormat format) {
  spdlog::init_thread_pool(limits::kLogQueue, 1);
  spdlog::sink_ptr sink;
  if (format == LogFormat::kText) {
    sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
    sink->set_pattern("%H:%M:%S.%e %^%-5l%$ %v");
  } else {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    sink->set_formatter(make_json_formatter());
  }
  auto logger =
      std::make_shared<spdlog::async_logger>("weft", std::move(sink), spdlog::thread_pool(),
                                             spdlog::async_overflow_policy::overrun_oldest);
  logger->set_level(spdlog::level::from_str(level));
  spdlog::set_default_logger(std::move(logger));
  gpr_set_log_function(&log_for_grpc);
}

uint64_t log_lines_dropped() { return spdlog::thread_pool()->overrun_counter(); }

bool stop_logging() {
  if (const uint64_t dropped = log_lines_dropped(); dropped > 0) {
    spdlog::warn("{} log lines were dropped because stderr was not read fast enough", dropped);
  }
  gpr_set_log_function(nullptr);
  // Only the thread: whoever still logs finds a logger that drops the line.
  // Its end waits for the thread that writes, so that is waited for with a bound.
  auto pool = spdlog::thread_pool();
  spdlog::details::registry::instance().set_tp(nullptr);
  std::promise<void> written;
  std::future<void> done = written.get_future();
  std::thread flush([pool = std::move(pool), written = std::move(written)]() mutable {
    pool.reset();
    written.set_value();
  });
  if (done.wait_for(std::chrono::milliseconds(limits::kLogFlushMs)) == std::future_status::ready) {
    flush.join();
    return true;
  }
  flush.detach();
  return false;
}

void write_last_words(std::string_view text) {
  const auto until =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(limits::kLogFlushMs);
  while (!text.empty()) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    pollfd out{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
    if (poll(&out, 1, std::max(0, static_cast<int>(left.count()))) <= 0) return;
    // So much a pipe that is writable takes without blocking.
    const ssize_t count =
        write(STDERR_FILENO, text.data(), std::min<size_t>(text.size(), PIPE_BUF));
    if (count <= 0) return;
    text.remove_prefix(static_cast<size_t>(count));
  }
}

}  // namespace weft
