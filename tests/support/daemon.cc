// Starting weftd and weft.
#include "tests/support/daemon.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <utility>

namespace weft::testing {

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "weft-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "mkdtemp failed";
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void write_file(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

std::string weftd_path() { return WEFT_BIN_DIR "/weftd"; }
std::string weft_path() { return WEFT_BIN_DIR "/weft"; }

std::vector<std::string> daemon_command(const DaemonOptions& options) {
  std::vector<std::string> command = options.wrapper;
  command.insert(command.end(), {options.program, "--listen", options.listen, "--admin",
                                 options.admin, "--store", options.store});
  command.insert(command.end(), options.arguments.begin(), options.arguments.end());
  return command;
}

Daemon::Daemon(DaemonOptions options) : process_(daemon_command(options)) {
  const auto line = process_.read_line();
  const std::string prefix = "weftd ready grpc=";
  if (!line || !line->starts_with(prefix)) {
    ADD_FAILURE() << "weftd did not start: " << line.value_or("") << "\n" << process_.err();
    return;
  }
  ready_line_ = *line;
  address_ = field("grpc");
  admin_address_ = field("admin");
}

std::string Daemon::field(const std::string& name) const {
  const size_t begin = ready_line_.find(" " + name + "=") + name.size() + 2;
  return ready_line_.substr(begin, ready_line_.find(' ', begin) - begin);
}

Process Daemon::start_weft(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), weft_path());
  return Process(std::move(arguments),
                 {.environment = {{"WEFT_SERVER", address_}}, .directory = {}, .keep_stdin = true});
}

Ended Daemon::weft(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), weft_path());
  return run_process(std::move(arguments),
                     {.environment = {{"WEFT_SERVER", address_}}, .directory = {}});
}

std::string Daemon::submit(const std::string& type, const std::string& payload,
                           std::vector<std::string> more) const {
  std::vector<std::string> arguments = {"submit", type, "--payload", payload};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Ended ended = weft(arguments);
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  return ended.out.substr(0, ended.out.find('\n'));
}

}  // namespace weft::testing
