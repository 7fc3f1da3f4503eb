// What the commands of `weft` share: global options, and how a failure is told.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include <weft/base/status.h>
#include <weft/client/client.h>

namespace weft::cli {

enum class Format { kTable, kJson, kJsonl };

struct Globals {
  std::string server = "127.0.0.1:7070";
  std::string format = "table";

  Format output() const;
  // A client that fails within a second when no server answers, but waits out a restart while it
  // reads a stream.
  ClientOptions client_options() const;
};

// The command that was chosen, to be run after parsing; returns the exit code.
using Command = std::function<int()>;

// Prints "weft: CODE: sentence" to standard error and returns the exit code.
int report(const Status& status);
// The same for an argument that cannot be used.
int report_usage(const Status& status);

// What the values of options must be; each explains itself in one sentence.
CLI::Validator text();       // UTF-8
CLI::Validator seconds();    // more than 0, and a number of milliseconds
CLI::Validator duration();   // as parse_duration() takes it
CLI::Validator time();       // as parse_time() takes it
CLI::Validator backoff();    // as parse_backoff() takes it
CLI::Validator sequence();   // a whole number from 1
CLI::Validator host_port();  // of a server
int64_t to_ms(double seconds);

// submit, run
void add_submit_commands(CLI::App& app, const Globals& globals, Command& chosen);
// get, watch, attach
void add_read_commands(CLI::App& app, const Globals& globals, Command& chosen);
// send, cancel
void add_steer_commands(CLI::App& app, const Globals& globals, Command& chosen);

// list, result, retry, delete
void add_admin_commands(CLI::App& app, const Globals& globals, Command& chosen);
// worker list, worker dump
void add_worker_commands(CLI::App& app, const Globals& globals, Command& chosen);
// schedule create, list, get, pause, resume, trigger, delete, next
void add_schedule_commands(CLI::App& app, const Globals& globals, Command& chosen);
// bench
void add_bench_command(CLI::App& app, const Globals& globals, Command& chosen);

inline constexpr char kRawHelp[] =
    "Chunks as they are, without a newline after each, as for the body of an http job";

// TEXT, @file or - (standard input). Errors: INVALID_ARGUMENT; NOT_FOUND for a file.
StatusOr<std::string> read_argument(const std::string& argument, size_t max_bytes);

}  // namespace weft::cli
