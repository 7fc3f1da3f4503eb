// CLI11 splits the command line; every value is checked here, so that all errors come at once.
#include "daemon/config.h"

#include <arpa/inet.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <thread>
#include <utility>

#include <weft/base/suggest.h>
#include <weft/store/redis/redis_server.h>
#include <weft/store/redis/redis_store.h>

namespace weft {
namespace {

constexpr size_t kExecutorThreadsMax = 256;
constexpr size_t kResidentMax = 10'000'000;
constexpr int64_t kGraceSecondsMax = 86'400;
constexpr int64_t kLeaseSecondsMax = 3600;
constexpr size_t kPasswordBytes = 512;  // as long as Redis takes them

struct Option {
  std::string flag;         // --listen
  std::string variable;     // WEFT_LISTEN
  std::string placeholder;  // HOST:PORT
  std::string help;
  std::function<void(const std::string& name, const std::string& text)> read;
};

// The part of a store's URL that is its password, with the colon before it: [begin, end).
std::pair<size_t, size_t> password_in(std::string_view url) {
  const size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return {0, 0};
  const size_t login = scheme + 3;
  const size_t end = url.substr(0, url.find('/', login)).rfind('@');
  const size_t colon = url.find(':', login);
  if (end == std::string_view::npos || colon > end) return {0, 0};
  return {colon, end};
}

std::string without_password(const std::string& url) {
  const auto [begin, end] = password_in(url);
  return std::string(url).erase(begin, end - begin);
}

class Parser {
 public:
  Parser(ParsedConfig& parsed, const Environment& environment)
      : parsed_(parsed), environment_(environment) {}

  void run(std::vector<std::string> arguments);

 private:
  void read_listen(const std::string& name, const std::string& text, std::string& address,
                   uint16_t& port);
  template <typename T>
  void read_number(const std::string& name, const std::string& text, T low, T high, T& number);
  void read_log_level(const std::string& name, const std::string& text);
  void read_role(const std::string& name, const std::string& text);
  void read_store(const std::string& name, const std::string& text);
  void read_prefix(const std::string& name, const std::string& text);
  void read_password_file(const std::string& name, const std::string& text);
  void check_together();
  void add_root(const std::string& name, const std::string& text);
  void add_host(const std::string& name, const std::string& text);
  void add_program(const std::string& name, const std::string& text);
  void add_variable(const std::string& name, const std::string& text);
  void error(std::string message) { parsed_.errors.push_back(std::move(message)); }
  void report_extras(const std::vector<std::string>& extras);
  std::string default_store() const;

  ParsedConfig& parsed_;
  const Environment& environment_;
  std::vector<Option> options_;
  bool password_file_ = false;  // one was given and read
};

std::string strip_dashes(const std::string& flag) {
  return flag.substr(std::min(flag.find_first_not_of('-'), flag.size()));
}

void Parser::read_listen(const std::string& name, const std::string& text, std::string& address,
                         uint16_t& port) {
  const size_t colon = text.rfind(':');
  std::string host = text.substr(0, colon == std::string::npos ? 0 : colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  if (host == "localhost") host = "127.0.0.1";
  in6_addr ignored;
  const bool is_address = inet_pton(AF_INET, host.c_str(), &ignored) == 1 ||
                          inet_pton(AF_INET6, host.c_str(), &ignored) == 1;
  const char* begin = text.data() + (colon == std::string::npos ? text.size() : colon + 1);
  const char* end = text.data() + text.size();
  uint16_t number = 0;
  const auto [rest, failure] = std::from_chars(begin, end, number);
  if (!is_address || failure != std::errc() || rest != end) {
    error(name + ": '" + text +
          "' is not an IP address and a port: write it like 127.0.0.1:7070 or [::1]:7070");
    return;
  }
  address = host;
  port = number;
}

template <typename T>
void Parser::read_number(const std::string& name, const std::string& text, T low, T high,
                         T& number) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data(), end, value);
  if (failure != std::errc() || rest != end || value < low || value > high) {
    error(name + ": '" + text + "' is not a whole number from " + std::to_string(low) + " to " +
          std::to_string(high));
    return;
  }
  number = value;
}

void Parser::read_log_level(const std::string& name, const std::string& text) {
  const std::vector<std::string> levels = {"trace", "debug", "info", "warn", "error", "off"};
  if (std::find(levels.begin(), levels.end(), text) != levels.end()) {
    parsed_.config.log_level = text;
    return;
  }
  const std::string close = closest(text, levels);
  error(name + ": '" + text + "' is not a level" +
        (close.empty() ? "" : " (did you mean " + close + "?)") +
        ": use trace, debug, info, warn, error or off");
}

void Parser::add_root(const std::string& name, const std::string& text) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(text, ignored)) {
    error(name + ": '" + text + "' is not a folder: name one that exists");
    return;
  }
  parsed_.config.allow_roots.push_back(text);
}

void Parser::read_role(const std::string& name, const std::string& text) {
  if (text != "all" && text != "frontend" && text != "worker") {
    return error(name + ": '" + text + "' is not a role: use all, frontend or worker");
  }
  parsed_.config.run_jobs = text != "frontend";
  parsed_.config.accept_jobs = text != "worker";
}

void Parser::read_store(const std::string& name, const std::string& text) {
  if (text.empty()) {
    return error(name + " needs a value: sqlite:PATH, memory: or redis://HOST:PORT");
  }
  parsed_.config.store = text;
  if (!is_shared_store(text)) return;
  if (text.starts_with("redis://") && text.find('@', text.find('/', 8)) != std::string::npos) {
    return error(name + ": the URL has a '/' before its '@': write one in a password as %2F");
  }
  parsed_.config.store = without_password(text);
  const StatusOr<RedisServer> server = parse_redis_url(text);
  if (!server.ok()) return error(name + ": " + std::string(from_absl(server.status().message())));
  parsed_.config.store_password = server->password;
}

void Parser::read_prefix(const std::string& name, const std::string& text) {
  const Status good = check_key_prefix(text);
  if (!good.ok()) return error(name + ": " + std::string(from_absl(good.message())));
  parsed_.config.store_prefix = text;
}

void Parser::read_password_file(const std::string& name, const std::string& text) {
  std::ifstream file(text, std::ios::binary);
  std::string password(kPasswordBytes + 2, '\0');  // and an end of line
  file.read(password.data(), static_cast<std::streamsize>(password.size()));
  if (file.bad() || (file.fail() && !file.eof())) {
    return error(name + ": '" + text + "' cannot be read: name a file with the password in it");
  }
  password.resize(static_cast<size_t>(file.gcount()));
  password.resize(password.find_last_not_of("\r\n") + 1);
  if (password.empty() || password.size() > kPasswordBytes) {
    return error(name + ": '" + text + "' holds no password of 1 to " +
                 std::to_string(kPasswordBytes) + " bytes");
  }
  parsed_.config.store_password = password;
  password_file_ = true;
}

// What is wrong only with options together.
void Parser::check_together() {
  Config& config = parsed_.config;
  const std::string password = environment_("WEFT_STORE_PASSWORD").value_or("");
  if (!password.empty() && !password_file_) config.store_password = password;
  if (!config.accept_jobs && !is_shared_store(config.store)) {
    error(
        "--role worker needs a store that daemons share, as no job comes in here: --store "
        "redis://HOST:PORT, or --role all");
  }
}

void Parser::add_host(const std::string& name, const std::string& text) {
  std::string host = text.starts_with("*.") ? text.substr(2) : text;
  const size_t colon = host.rfind(':');
  const bool v6 = host.starts_with("[");
  if (colon != std::string::npos && !(v6 && host.ends_with("]"))) {
    uint16_t port = 0;
    const char* end = host.data() + host.size();
    const auto [rest, failure] = std::from_chars(host.data() + colon + 1, end, port);
    if (failure != std::errc() || rest != end || port == 0) host.clear();
    host = host.substr(0, std::min(colon, host.size()));
  }
  const bool good = !host.empty() && host.find_first_not_of(
                                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "0123456789.-_:[]") == std::string::npos;
  if (!good) {
    return error(name + ": '" + text +
                 "' is not a host: write it like example.com, example.com:8080, [::1]:80 or "
                 "*.example.com");
  }
  parsed_.config.allow_hosts.push_back(text);
}

void Parser::add_program(const std::string& name, const std::string& text) {
  std::error_code ignored;
  const bool good = text.starts_with("/") && std::filesystem::is_regular_file(text, ignored) &&
                    access(text.c_str(), X_OK) == 0;
  if (!good) {
    return error(name + ": '" + text +
                 "' is not a program: name an executable file by its absolute path");
  }
  parsed_.config.allow_exec.push_back(text);
}

void Parser::add_variable(const std::string& name, const std::string& text) {
  const bool good = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return c > ' ' && c <= '~' && c != '=';
  });
  if (!good) {
    return error(name + ": '" + text + "' is not the name of a variable: write it like COLOUR");
  }
  parsed_.config.allow_exec_env.push_back(text);
}

std::string Parser::default_store() const {
  const auto folder = [this](const char* variable) { return environment_(variable).value_or(""); };
  if (const std::string state = folder("STATE_DIRECTORY"); !state.empty()) {
    // systemd gives several folders with colons between; the first one is the unit's own.
    return "sqlite:" + state.substr(0, state.find(':')) + "/weft.db";
  }
  if (const std::string state = folder("XDG_STATE_HOME"); !state.empty()) {
    return "sqlite:" + state + "/weft/weft.db";
  }
  const std::string home = folder("HOME");
  return "sqlite:" + (home.empty() ? std::string(".") : home) + "/.local/state/weft/weft.db";
}

void Parser::report_extras(const std::vector<std::string>& extras) {
  std::vector<std::string> known = {"help", "version"};
  for (const Option& option : options_) known.push_back(strip_dashes(option.flag));
  bool after_unknown = false;
  for (const std::string& extra : extras) {
    const bool is_flag = extra.starts_with("-") && extra.size() > 1;
    // The value of an unknown option is no error of its own.
    if (!is_flag && after_unknown) {
      after_unknown = false;
      continue;
    }
    after_unknown = is_flag;
    if (!is_flag) {
      error("'" + extra + "': weftd takes options only; weftd --help lists them");
      continue;
    }
    const std::string name = extra.substr(0, extra.find('='));
    const std::string close = closest(strip_dashes(name), known);
    error(name + " is not an option" +
          (close.empty() ? std::string("; weftd --help lists them")
                         : ": did you mean --" + close + "?"));
  }
}

void Parser::run(std::vector<std::string> arguments) {
  Config& config = parsed_.config;
  config.executor_threads = std::max(2u, std::thread::hardware_concurrency()) - 1;
  config.store = default_store();
  const auto add = [this](std::string name, std::string placeholder, std::string help,
                          std::function<void(const std::string&, const std::string&)> read) {
    std::string variable = "WEFT_" + name;
    std::transform(variable.begin(), variable.end(), variable.begin(),
                   [](char c) { return c == '-' ? '_' : static_cast<char>(std::toupper(c)); });
    options_.push_back(
        {"--" + name, variable, std::move(placeholder), std::move(help), std::move(read)});
  };
  using Text = const std::string&;
  add("listen", "HOST:PORT", "Where gRPC is served (default 127.0.0.1:7070; port 0: a free one)",
      [&](Text name, Text text) {
        read_listen(name, text, config.listen_address, config.listen_port);
      });
  add("admin", "HOST:PORT", "Where the admin pages are served (default 127.0.0.1:7071)",
      [&](Text name, Text text) {
        read_listen(name, text, config.admin_address, config.admin_port);
      });
  add("store", "URL",
      "Where jobs are kept: sqlite:PATH, memory:, or, shared by any number of daemons, "
      "redis://[USER@]HOST[:PORT][/DATABASE] or redis+unix://PATH[?db=DATABASE] (default " +
          config.store + ")",
      [&](Text name, Text text) { read_store(name, text); });
  add("store-password-file", "FILE",
      "The password of a shared store; also in WEFT_STORE_PASSWORD or, seen by more people, in the "
      "URL",
      [&](Text name, Text text) { read_password_file(name, text); });
  add("store-prefix", "NAME",
      "What every key in a shared store begins with: daemons with another prefix share nothing "
      "(default weft)",
      [&](Text name, Text text) { read_prefix(name, text); });
  add("lease", "SECONDS",
      "In a shared store: a daemon that is not heard of for so long is dead, and others run its "
      "jobs (default 15)",
      [&](Text name, Text text) {
        int64_t seconds = config.lease_ms / 1000;
        read_number<int64_t>(name, text, 1, kLeaseSecondsMax, seconds);
        config.lease_ms = seconds * 1000;
      });
  add("concurrency", "N", "Jobs that run at once (default 1000)", [&](Text name, Text text) {
    read_number<size_t>(name, text, 1, limits::kResidentJobs, config.concurrency);
  });
  add("executor-threads", "N", "Threads for CPU work (default: one less than there are cores)",
      [&](Text name, Text text) {
        read_number<size_t>(name, text, 1, kExecutorThreadsMax, config.executor_threads);
      });
  add("max-resident", "N",
      "Jobs held at once, those included that wait and hold no slot (default 100000)",
      [&](Text name, Text text) {
        read_number<size_t>(name, text, 1, kResidentMax, config.max_resident);
      });
  add("role", "ROLE",
      "all; frontend: accept jobs but run none; or worker: run jobs of a shared store but accept "
      "none (default all)",
      [&](Text name, Text text) { read_role(name, text); });
  add("allow-host", "HOST",
      "A host that http may reach: NAME (its ports 80 and 443), NAME:PORT, *.DOMAIN or "
      "*.DOMAIN:PORT; can be repeated",
      [&](Text name, Text text) { add_host(name, text); });
  add("allow-exec", "PROGRAM", "A program that exec may run, by its absolute path; can be repeated",
      [&](Text name, Text text) { add_program(name, text); });
  add("allow-exec-env", "NAME",
      "A variable that jobs may set for commands of exec; can be repeated. Danger: with PATH, "
      "LD_*, "
      "BASH_ENV, PERL5OPT, PYTHONPATH, NODE_OPTIONS and their like whoever submits jobs can run "
      "any code",
      [&](Text name, Text text) { add_variable(name, text); });
  add("exec-concurrency", "N", "Commands of exec that run at once (default 16)",
      [&](Text name, Text text) {
        read_number<size_t>(name, text, 1, limits::kConcurrency, config.exec_concurrency);
      });
  add("retention", "SECONDS",
      "How long finished jobs are kept that do not say (default 86400; 0: not at all)",
      [&](Text name, Text text) {
        int64_t seconds = config.retention_ms / 1000;
        read_number<int64_t>(name, text, 0, limits::kDurationSecondsMax, seconds);
        config.retention_ms = seconds * 1000;
      });
  add("free-disk", "BYTES",
      "Submissions are refused while the store's disk has less room (default 67108864)",
      [&](Text name, Text text) {
        read_number<uint64_t>(name, text, 0, uint64_t{1} << 50, config.free_disk_bytes);
      });
  add("stall", "MS", "A job that holds the loop longer is named in the log (default 100)",
      [&](Text name, Text text) {
        read_number<int64_t>(name, text, 1, 3'600'000, config.stall_ms);
      });
  add("allow-root", "DIR",
      "A folder that digest may read below, and that exec may run commands below; can be repeated",
      [&](Text name, Text text) { add_root(name, text); });
  add("grace", "SECONDS", "How long running jobs may go on after SIGTERM (default 30)",
      [&](Text name, Text text) {
        int64_t seconds = config.grace_ms / 1000;
        read_number<int64_t>(name, text, 0, kGraceSecondsMax, seconds);
        config.grace_ms = seconds * 1000;
      });
  add("log-level", "LEVEL", "trace, debug, info, warn, error or off (default info)",
      [&](Text name, Text text) { read_log_level(name, text); });

  CLI::App app(
      "weftd: runs jobs as coroutines, and streams their results.\n"
      "Each option can also be given as a variable: --listen as WEFT_LISTEN, and so on.\n"
      "Several values in one variable have colons between (WEFT_ALLOW_ROOT=/a:/b), those of\n"
      "WEFT_ALLOW_HOST commas.",
      "weftd");
  app.allow_extras();
  app.set_version_flag("--version", "weftd " WEFT_VERSION);
  std::vector<std::vector<std::string>> values(options_.size());
  for (size_t i = 0; i < options_.size(); ++i) {
    app.add_option(options_[i].flag, values[i], options_[i].help)
        ->option_text(options_[i].placeholder)
        ->allow_extra_args(false);
  }
  try {
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    parsed_.text = app.help();
    return;
  } catch (const CLI::CallForVersion&) {
    parsed_.text = "weftd " WEFT_VERSION "\n";
    return;
  } catch (const CLI::ArgumentMismatch& failure) {
    // It says "--store: 1 required URL missing".
    const std::string what = failure.what();
    const auto at_fault = std::find_if(options_.begin(), options_.end(), [&](const Option& option) {
      return what.starts_with(option.flag + ":");
    });
    error(at_fault == options_.end() ? what
                                     : at_fault->flag + " needs a value: " + at_fault->placeholder);
  } catch (const CLI::ParseError& failure) {
    error(failure.what());
  }
  report_extras(app.remaining());
  for (size_t i = 0; i < options_.size(); ++i) {
    const Option& option = options_[i];
    const bool repeatable = option.flag.starts_with("--allow-");
    if (!values[i].empty()) {
      // Given twice, the last one counts: scripts append to a command line.
      for (size_t k = repeatable ? 0 : values[i].size() - 1; k < values[i].size(); ++k) {
        option.read(option.flag, values[i][k]);
      }
      continue;
    }
    const std::string text = environment_(option.variable).value_or("");
    if (text.empty()) continue;
    if (!repeatable) {
      option.read(option.variable, text);
      continue;
    }
    // They stand apart by colons, as in PATH; hosts have colons of their own.
    const char separator = option.flag == "--allow-host" ? ',' : ':';
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find(separator, begin), text.size());
      if (end > begin) option.read(option.variable, text.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  check_together();
}

}  // namespace

bool is_shared_store(const std::string& url) {
  return url.starts_with("redis://") || url.starts_with("redis+unix://") ||
         url.starts_with("rediss://");
}

void hide_password(char* argument) {
  const std::string_view text(argument);
  const size_t url = text.find("redis");
  if (url == std::string_view::npos) return;
  const auto [begin, end] = password_in(text.substr(url));
  std::fill(argument + url + begin, argument + url + end, '*');
}

Environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return value;
  };
}

ParsedConfig parse_config(std::vector<std::string> arguments, const Environment& environment) {
  ParsedConfig parsed;
  Parser(parsed, environment).run(std::move(arguments));
  return parsed;
}

}  // namespace weft
