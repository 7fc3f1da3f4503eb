// `weft`: the command line of Weft.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <weft/base/suggest.h>
#include <weft/client/rpc_status.h>

#include "client/cli/cli.h"
#include "client/cli/exit_code.h"

namespace weft::cli {

Format Globals::output() const {
  return format == "json" ? Format::kJson : format == "jsonl" ? Format::kJsonl : Format::kTable;
}

ClientOptions Globals::client_options() const {
  return {.server = server, .retry_for_ms = 500, .reconnect_for_ms = 30'000};
}

int report(const Status& status) {
  std::fprintf(stderr, "weft: %s: %s\n", code_name(status.code()).c_str(),
               std::string(status.message()).c_str());
  if (is_unreached(status)) {
    std::fputs("weft: --server HOST:PORT or WEFT_SERVER names the server to use\n", stderr);
  }
  return exit_code_of(status);
}

int report_usage(const Status& status) {
  std::fprintf(stderr, "weft: %s\n", std::string(status.message()).c_str());
  return kUsage;
}

StatusOr<std::string> read_argument(const std::string& argument, size_t max_bytes) {
  if (argument != "-" && !argument.starts_with('@')) return argument;
  const std::string name = argument == "-" ? "standard input" : argument.substr(1);
  const int fd = argument == "-" ? ::dup(STDIN_FILENO) : ::open(name.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return make_status(StatusCode::kNotFound, "cannot read " + name + ": " + std::strerror(errno));
  }
  std::string bytes;
  char buffer[64 << 10];
  ssize_t got = 0;
  while (bytes.size() <= max_bytes && (got = ::read(fd, buffer, sizeof buffer)) > 0) {
    bytes.append(buffer, static_cast<size_t>(got));
  }
  const int error = errno;
  ::close(fd);
  if (got < 0) {
    return make_status(StatusCode::kNotFound, "cannot read " + name + ": " + std::strerror(error));
  }
  if (bytes.size() > max_bytes) {
    return make_status(StatusCode::kInvalidArgument,
                       name + " is larger than the limit of " + std::to_string(max_bytes) +
                           " bytes: put large input in a file and send its path");
  }
  return bytes;
}

namespace {

// A file or a socket opened later must not become standard input, output or error.
void open_standard_descriptors() {
  int fd;
  do {
    fd = ::open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) ::close(fd);
}

constexpr char kGlobalsHelp[] =
    "Also, with every command: --server HOST:PORT and --output,-o table|json|jsonl.\n"
    "weft --help explains them and the exit codes.\n";

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// One sentence for what CLI11 found wrong, with the word that was probably meant.
std::string explain(const CLI::App& app, const CLI::ParseError& error,
                    const std::vector<std::string>& arguments) {
  std::vector<std::string> commands;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    commands.push_back(command->get_name());
  }
  const std::vector<CLI::App*> parsed = app.get_subcommands();
  std::vector<std::string> known;
  for (const CLI::App* level = &app; level != nullptr;) {  // weft, bench, submit
    for (std::string& name : option_names(*level)) known.push_back(std::move(name));
    const std::vector<CLI::App*> below = level->get_subcommands();
    level = below.empty() ? nullptr : below.front();
  }
  for (const std::string& argument : arguments) {
    if (argument == "--") break;
    if (!argument.starts_with("--")) continue;
    const std::string name = argument.substr(0, argument.find('='));
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const std::string near = closest(name, known);
    if (near.empty() && !parsed.empty() && parsed.front()->get_name() == "send") {
      return "unknown option " + name + ": a value that begins with - comes after --, as in " +
             "weft send ID -- " + name;
    }
    return "unknown option " + name + (near.empty() ? "" : ": did you mean " + near + "?");
  }
  const std::string& last = arguments.empty() ? std::string() : arguments.back();
  if (error.get_name() == "ArgumentMismatch" && last.starts_with('-')) {
    return last + " needs a value";
  }
  if (error.get_name() == "ValidationError") return error.what();
  if (error.get_name() == "RequiredError" && !parsed.empty()) {
    std::string list;
    for (const CLI::App* one :
         parsed.front()->get_subcommands([](const CLI::App*) { return true; })) {
      list += (list.empty() ? "" : ", ") + one->get_name();
    }
    if (!list.empty() && parsed.front()->get_subcommands().empty()) {
      return parsed.front()->get_name() + " needs one of " + list;
    }
  }
  if (parsed.empty()) {
    bool value_follows = false;  // of --server or -o
    for (const std::string& argument : arguments) {
      if (std::exchange(value_follows, false)) continue;
      if (argument.starts_with('-')) {
        value_follows = argument.find('=') == std::string::npos;
        continue;
      }
      const std::string near = closest(argument, commands);
      return "unknown command '" + argument + "'" +
             (near.empty() ? "" : ": did you mean " + near + "?");
    }
    std::string list;
    for (const std::string& name : commands) list += (list.empty() ? "" : ", ") + name;
    return "a command is missing: one of " + list;
  }
  return error.what();
}

// Below `app`, at every depth.
void add_globals_help(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    const std::string more = command->get_footer();
    command->footer(more + (more.empty() ? "" : "\n") + kGlobalsHelp);
    add_globals_help(*command);
  }
}

int run_main(int argc, char** argv) {
  open_standard_descriptors();
  // gRPC's own log would repeat every failure in its words.
  ::setenv("GRPC_VERBOSITY", "NONE", 0);
  Globals globals;
  Command chosen;
  CLI::App app("Submit jobs to weftd, watch their results arrive, steer and cancel them.", "weft");
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--server", globals.server, "weftd's address")
      ->envname("WEFT_SERVER")
      ->type_name("HOST:PORT")
      ->check(host_port())
      ->capture_default_str();
  app.add_option("--output,-o", globals.format, "table, json or jsonl")
      ->check(CLI::IsMember({"table", "json", "jsonl"}))
      ->type_name("FORMAT")
      ->capture_default_str();
  app.set_version_flag("--version", "weft " WEFT_VERSION);
  app.footer(kExitCodesHelp);
  add_submit_commands(app, globals, chosen);
  add_read_commands(app, globals, chosen);
  add_steer_commands(app, globals, chosen);
  add_admin_commands(app, globals, chosen);
  add_worker_commands(app, globals, chosen);
  add_schedule_commands(app, globals, chosen);
  add_bench_command(app, globals, chosen);
  add_globals_help(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    const std::vector<CLI::App*> parsed = app.get_subcommands();
    std::fprintf(stderr, "weft: %s\nweft%s --help shows what is possible\n",
                 explain(app, error, std::vector<std::string>(argv + 1, argv + argc)).c_str(),
                 parsed.empty() ? "" : (" " + parsed.front()->get_name()).c_str());
    return kUsage;
  }
  return chosen();
}

}  // namespace
}  // namespace weft::cli

int main(int argc, char** argv) { return weft::cli::run_main(argc, argv); }
