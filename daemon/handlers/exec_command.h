// What an exec job asks to have run, checked against what may be run.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <weft/worker/job.h>

#include "daemon/handlers/handlers.h"
#include "daemon/handlers/process.h"

namespace weft::handlers {

class ExecCommand {
 public:
  ProcessOptions process;
  std::optional<std::string> folder;  // to be checked where it may block; nothing: the default
  std::optional<std::chrono::milliseconds> timeout;
};

// Errors: throws Permanent (invalid_payload, not_allowed).
ExecCommand read_command(const Job& job, const ExecSettings& settings);

// Cuts bytes into lines, and a line that is too long into pieces.
class LineCutter {
 public:
  explicit LineCutter(size_t line_bytes_max) : max_(line_bytes_max) {}
  void add(std::string_view bytes);
  // The next line that is complete, without its newline, or piece of one. Nothing: add more.
  std::optional<std::string> next();
  // After the last add() and next(): a last line without a newline.
  std::optional<std::string> rest();

 private:
  std::string take(size_t bytes, size_t skip);
  const size_t max_;
  std::string bytes_;
  size_t begin_ = 0;    // of what is not taken yet
  size_t scanned_ = 0;  // no newline between begin_ and here
};

}  // namespace weft::handlers
