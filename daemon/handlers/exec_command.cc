// The payload of exec, strictly, and the list of programs.
#include "daemon/handlers/exec_command.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include <weft/base/limits.h>

#include "daemon/handlers/payload.h"

namespace weft::handlers {
namespace {

constexpr size_t kShownBytes = 100;  // of a name, in a message
constexpr int64_t kTimeoutMsMax = limits::kDurationSecondsMax * 1000;

[[noreturn]] void bad_field(const std::string& name, const std::string& what) {
  throw std::invalid_argument("the payload has a bad field '" + name + "': " + what);
}

bool has_nul(const std::string& text) { return text.find('\0') != std::string::npos; }

void check_arguments(const std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments[0].empty()) {
    bad_field("argv", "it must begin with a program");
  }
  if (arguments.size() > limits::kExecArguments) {
    bad_field("argv", "it must have at most " + std::to_string(limits::kExecArguments) +
                          " strings, not " + std::to_string(arguments.size()));
  }
  if (std::any_of(arguments.begin(), arguments.end(), has_nul)) {
    bad_field("argv", "a string must not hold a zero byte");
  }
}

void check_variables(const std::map<std::string, std::string>& variables) {
  for (const auto& [name, value] : variables) {
    if (name.empty() || name.find('=') != std::string::npos || has_nul(name) || has_nul(value)) {
      bad_field("env", "a name must not be empty or hold '=', and nothing a zero byte");
    }
    if (name == "WEFT_JOB_ID") bad_field("env", "WEFT_JOB_ID is set by weftd");
  }
}

// Only by name: a list of the harmful ones would never be complete. Many make a loader, a shell or
// an interpreter run code of the client's choice within an allowed program.
void check_allowed(const std::map<std::string, std::string>& variables,
                   const std::vector<std::string>& allowed) {
  for (const auto& [name, value] : variables) {
    if (std::find(allowed.begin(), allowed.end(), name) != allowed.end()) continue;
    throw Permanent("the variable '" + name.substr(0, kShownBytes) +
                        "' is not allowed here: leave it out of 'env', or start weftd with "
                        "--allow-exec-env NAME",
                    "not_allowed");
  }
}

ExecCommand read_fields(const Fields& fields, const std::string& job_id,
                        const std::vector<std::string>& allowed_variables) {
  ExecCommand command;
  command.process.arguments = fields.texts("argv");
  check_arguments(command.process.arguments);
  std::map<std::string, std::string> variables = fields.text_map("env");
  check_variables(variables);
  check_allowed(variables, allowed_variables);
  variables.emplace("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  variables.emplace("LANG", "C.UTF-8");
  variables.emplace("WEFT_JOB_ID", job_id);
  size_t bytes = 0;
  for (const std::string& argument : command.process.arguments) bytes += argument.size() + 1;
  for (const auto& [name, value] : variables) {
    command.process.environment.push_back(name + "=" + value);
    bytes += command.process.environment.back().size() + 1;
  }
  if (bytes > limits::kExecArgumentBytes) {
    bad_field("argv", "with the environment it must have at most " +
                          std::to_string(limits::kExecArgumentBytes) + " bytes, not " +
                          std::to_string(bytes) + ", so send the command its input");
  }
  command.folder = fields.text("cwd");
  if (command.folder && (!command.folder->starts_with("/") || has_nul(*command.folder))) {
    bad_field("cwd", "it must be an absolute path");
  }
  if (command.folder == command.process.directory) command.folder.reset();
  const std::optional<int64_t> timeout_ms = fields.integer("timeout_ms", 1, kTimeoutMsMax);
  if (timeout_ms) command.timeout = std::chrono::milliseconds(*timeout_ms);
  return command;
}

// The allowed program that `name` means.
std::string find_program(const std::string& name, const std::vector<std::string>& allowed) {
  std::vector<std::string> found;
  for (const std::string& program : allowed) {
    const bool same = name.find('/') == std::string::npos
                          ? std::filesystem::path(program).filename() == name
                          : program == name;
    if (same && std::find(found.begin(), found.end(), program) == found.end()) {
      found.push_back(program);
    }
  }
  if (found.size() == 1) return found[0];
  if (found.empty()) {
    const std::string path = name.starts_with("/") ? name : "/path/of/" + name;
    throw Permanent("the program '" + name +
                        "' is not allowed here: start weftd with --allow-exec " + path +
                        ", or use one that is allowed",
                    "not_allowed");
  }
  throw Permanent("the program '" + name + "' could be " + found[0] + " or " + found[1] +
                      ": give the absolute path of one that --allow-exec names",
                  "not_allowed");
}

}  // namespace

ExecCommand read_command(const Job& job, const ExecSettings& settings) {
  ExecCommand command = read_payload(
      job, {"argv", "env", "cwd", "timeout_ms"},
      [&](const Fields& fields) { return read_fields(fields, job.id(), settings.allowed_env); });
  command.process.program = find_program(command.process.arguments[0], settings.allowed);
  return command;
}

void LineCutter::add(std::string_view bytes) {
  bytes_.erase(0, begin_);
  scanned_ -= begin_;
  begin_ = 0;
  bytes_.append(bytes);
}

std::string LineCutter::take(size_t bytes, size_t skip) {
  std::string piece = bytes_.substr(begin_, bytes);
  begin_ += bytes + skip;
  scanned_ = std::max(scanned_, begin_);
  return piece;
}

std::optional<std::string> LineCutter::next() {
  const size_t newline = bytes_.find('\n', scanned_);
  scanned_ = std::min(newline, bytes_.size());
  if (scanned_ - begin_ > max_) return take(max_, 0);
  if (newline == std::string::npos) return std::nullopt;
  return take(newline - begin_, 1);
}

std::optional<std::string> LineCutter::rest() {
  if (begin_ == bytes_.size()) return std::nullopt;
  return take(bytes_.size() - begin_, 0);
}

}  // namespace weft::handlers
