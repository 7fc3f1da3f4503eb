// Logging: what the daemon says about itself, on stderr, without ever holding up the loop.
#pragma once

#include <spdlog/formatter.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace weft {

// Text with colours for a person at a terminal, one JSON object per line for a program.
enum class LogFormat { kText, kJson };
LogFormat log_format_of(int fd);

// Makes the default logger: a thread writes, and when limits::kLogQueue lines wait for it the
// oldest one is dropped and counted. Thread: main, after signals are blocked. stop_logging() writes
// what is left, and how many lines were dropped; false: stderr takes nothing, a thread is stuck in
// it, and only _exit() ends the process.
void start_logging(const std::string& level, LogFormat format);
bool stop_logging();
uint64_t log_lines_dropped();
// Writes to stderr what the process has to say before it ends; gives up after
// limits::kLogFlushMs.
void write_last_words(std::string_view text);

// `text` as the inside of a JSON string. Bytes that are not UTF-8 become U+FFFD.
std::string json_escape(std::string_view text);
// {"time":"2024-01-01T00:00:00.000Z","level":"info","message":"…"}
std::unique_ptr<spdlog::formatter> make_json_formatter();

}  // namespace weft
