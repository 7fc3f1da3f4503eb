// weft submit, weft run.
#include <google/protobuf/util/time_util.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <weft/base/clock.h>
#include <weft/base/id.h>
#include <weft/base/limits.h>
#include <weft/client/rpc_status.h>

#include "client/cli/cli.h"
#include "client/cli/exit_code.h"
#include "client/cli/follow.h"
#include "client/cli/output.h"
#include "client/cli/time_text.h"

namespace weft::cli {
namespace {

constexpr char kStockHelp[] =
    "Stock types and their payloads:\n"
    "  count   {\"to\":N}, also \"from\", \"step\", \"delay_ms\": numbers; a send {\"step\":S} "
    "steers it\n"
    "  digest  {\"path\":FOLDER}: the SHA-256 of every file below it\n"
    "  echo    anything: the same again\n"
    "  sleep   {\"ms\":N}\n"
    "  fail    {\"message\":TEXT}, also \"times\": how often, before it succeeds\n"
    "  spin    {\"ms\":N}: CPU work\n"
    "  http    {\"url\":URL}, also \"method\", \"headers\", \"body\", \"timeout_ms\", "
    "\"max_bytes\",\n"
    "          \"follow\", \"fail_on_status\"; weftd --allow-host allows it\n"
    "  exec    {\"argv\":[PROGRAM, …]}, also \"env\", \"cwd\", \"timeout_ms\"; a send is a line "
    "of\n"
    "          its input, an empty one ends that; weftd --allow-exec allows it\n";

struct SubmitOptions {
  std::string type;
  std::string payload;
  std::string queue;
  std::string id;
  std::string content_type;
  std::vector<std::string> metadata;
  std::string policy = "run";
  double deadline_s = 0;
  bool raw = false;
  std::string key;
  double retention_s = -1;
  // As written; checked when the command line was parsed.
  std::string timeout;
  std::string total_timeout;
  std::string delay;
  std::string run_at;
  std::string expire_at;
  std::string expire_in;
  std::string backoff;
  uint32_t max_attempts = 0;
  double jitter = -1;
};

void add_time_options(CLI::App& command, SubmitOptions& options) {
  CLI::Option* delay = command.add_option("--delay", options.delay, "Start it so much later")
                           ->type_name("DURATION")
                           ->check(duration());
  command.add_option("--run-at", options.run_at, "Start it at this time, as 2026-01-01T10:00:00Z")
      ->type_name("TIME")
      ->check(time())
      ->excludes(delay);
  CLI::Option* expire_at =
      command
          .add_option("--expire-at", options.expire_at,
                      "Do not start it any more after this time: it is expired then")
          ->type_name("TIME")
          ->check(time());
  command.add_option("--expire-in", options.expire_in, "The same, so much from now")
      ->type_name("DURATION")
      ->check(duration())
      ->excludes(expire_at);
  command.add_option("--timeout", options.timeout, "An attempt that runs longer fails")
      ->type_name("DURATION")
      ->check(duration());
  command
      .add_option("--total-timeout", options.total_timeout,
                  "A job that is not done so long after it was submitted is dead")
      ->type_name("DURATION")
      ->check(duration());
}

void add_retry_options(CLI::App& command, SubmitOptions& options) {
  command
      .add_option("--max-attempts", options.max_attempts,
                  "Failures after which it is dead; 1: no retry (default: the handler's, 3)")
      ->type_name("N")
      ->check(CLI::Range(uint32_t{1}, limits::kAttemptsMax));
  command
      .add_option("--backoff", options.backoff,
                  "Pauses before retries: exp:FIRST[,FACTOR[,LONGEST]], fixed:PAUSE or "
                  "list:PAUSE,… (default: the handler's, exp:2s,2,1h)")
      ->type_name("BACKOFF")
      ->check(backoff());
  command
      .add_option("--jitter", options.jitter,
                  "By how much of itself a pause may be shorter or longer: 0 to 1 (default: the "
                  "handler's, 0.5)")
      ->type_name("PART")
      ->check(CLI::Range(0.0, 1.0));
}

void add_job_options(CLI::App& command, SubmitOptions& options) {
  command.add_option("type", options.type, "The handler's name: count, digest, echo…")
      ->type_name("TYPE")
      ->check(text())
      ->required();
  command.add_option("--payload,-p", options.payload, "TEXT, @FILE, or - for standard input")
      ->type_name("TEXT|@FILE|-");
  command.add_option("--queue,-q", options.queue, "Queue (default: \"default\")")
      ->type_name("NAME")
      ->check(text());
  command
      .add_option(
          "--id", options.id,
          "The job's id, 10 to 64 characters of A-Z a-z 0-9 _ -; repeating a submission with "
          "its id is safe")
      ->type_name("ID")
      ->check(text());
  command.add_option("--content-type", options.content_type, "Kind of the payload, informative")
      ->type_name("MIME")
      ->check(text());
  command.add_option("--metadata,-m", options.metadata, "A label of the job; may be repeated")
      ->type_name("KEY=VALUE")
      ->check(text())
      ->allow_extra_args(false);
  command
      .add_option("--idempotency-key", options.key,
                  "The same key in the same queue is the same job, for a day at least (default: "
                  "the id)")
      ->type_name("KEY")
      ->check(text());
  add_time_options(command, options);
  add_retry_options(command, options);
  command
      .add_option("--retention", options.retention_s,
                  "How long the job is kept after its end; 0: not at all (default: the daemon's)")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, static_cast<double>(limits::kDurationSecondsMax)));
  command.footer(kStockHelp);
}

google::protobuf::Duration to_duration(double seconds) {
  return google::protobuf::util::TimeUtil::NanosecondsToDuration(
      static_cast<int64_t>(seconds * 1e9));
}

// Into the field that `field` gives, when there is a text.
template <typename Parse, typename Field>
Status put(const std::string& text, Parse parse, Field field) {
  if (text.empty()) return absl::OkStatus();
  auto parsed = parse(text);
  WEFT_RETURN_IF_ERROR(parsed.status());
  *field() = *std::move(parsed);
  return absl::OkStatus();
}

Status put_times(const SubmitOptions& options, v1::JobSpec& spec) {
  WEFT_RETURN_IF_ERROR(
      put(options.timeout, parse_duration, [&] { return spec.mutable_attempt_timeout(); }));
  WEFT_RETURN_IF_ERROR(
      put(options.total_timeout, parse_duration, [&] { return spec.mutable_total_timeout(); }));
  WEFT_RETURN_IF_ERROR(put(options.delay, parse_duration, [&] { return spec.mutable_delay(); }));
  WEFT_RETURN_IF_ERROR(put(options.run_at, parse_time, [&] { return spec.mutable_run_at(); }));
  WEFT_RETURN_IF_ERROR(
      put(options.expire_at, parse_time, [&] { return spec.mutable_expire_at(); }));
  google::protobuf::Duration expire_in;
  WEFT_RETURN_IF_ERROR(put(options.expire_in, parse_duration, [&] { return &expire_in; }));
  if (!options.expire_in.empty()) {
    using google::protobuf::util::TimeUtil;
    *spec.mutable_expire_at() =
        TimeUtil::NanosecondsToTimestamp(RealClock::instance().wall_ns()) + expire_in;
  }
  return absl::OkStatus();
}

Status put_retry(const SubmitOptions& options, v1::JobSpec& spec) {
  if (options.max_attempts > 0) spec.mutable_retry()->set_max_attempts(options.max_attempts);
  if (options.jitter >= 0) spec.mutable_retry()->set_jitter(options.jitter);
  if (options.backoff.empty()) return absl::OkStatus();
  return parse_backoff(options.backoff, spec.mutable_retry());
}

StatusOr<v1::JobSpec> make_spec(const SubmitOptions& options) {
  v1::JobSpec spec;
  spec.set_type(options.type);
  spec.set_queue(options.queue);
  spec.set_id(options.id);
  if (options.id.empty()) {
    // Made here, so that the job can be named even when the server's answer is lost.
    Random random = Random::from_system();
    spec.set_id(make_job_id(RealClock::instance().wall_ns() / 1'000'000, random));
  }
  spec.set_content_type(options.content_type);
  spec.set_idempotency_key(options.key);
  if (options.retention_s >= 0) *spec.mutable_retention() = to_duration(options.retention_s);
  WEFT_RETURN_IF_ERROR(put_times(options, spec));
  WEFT_RETURN_IF_ERROR(put_retry(options, spec));
  for (const std::string& label : options.metadata) {
    const size_t equals = label.find('=');
    if (equals == std::string::npos || equals == 0) {
      return field_error("--metadata", "--metadata '" + label + "' is not KEY=VALUE");
    }
    (*spec.mutable_metadata())[label.substr(0, equals)] = label.substr(equals + 1);
  }
  StatusOr<std::string> payload = read_argument(options.payload, limits::kPayloadBytes);
  WEFT_RETURN_IF_ERROR(payload.status());
  spec.set_payload(*std::move(payload));
  return spec;
}

// Submits so that Ctrl-C ends it. Sets `code` and says what is known of the job unless it is
// stored.
std::optional<v1::SubmitResponse> submit_spec(Client& client, v1::JobSpec spec,
                                              Interrupt& interrupt, int* code) {
  const std::string id = spec.id();
  // Counted from now, it would be another time in the next submission.
  const std::string expiry =
      spec.has_expire_at() ? " and --expire-at " + time_text(spec.expire_at()) : "";
  interrupt.on_signal([&client] { client.stop(); });
  StatusOr<v1::SubmitResponse> answer = client.submit(std::move(spec));
  interrupt.on_signal(nullptr);
  if (answer.ok()) return *std::move(answer);
  *code = interrupt.received() ? kInterrupted : report(answer.status());
  const bool open = *code == kInterrupted || *code == kDeadline || *code == kUnavailable;
  if (open && !is_unreached(answer.status())) {
    std::fprintf(stderr,
                 "weft: job %s may have been stored\n"
                 "  see:     weft get %s\n"
                 "  repeat:  the same command with --id %s%s, which is safe\n",
                 id.c_str(), id.c_str(), id.c_str(), expiry.c_str());
  }
  return std::nullopt;
}

int submit(const Globals& globals, const SubmitOptions& options) {
  StatusOr<v1::JobSpec> spec = make_spec(options);
  if (!spec.ok()) return report_usage(spec.status());
  spec->set_stream_policy(options.policy == "pause"    ? v1::STREAM_POLICY_PAUSE
                          : options.policy == "cancel" ? v1::STREAM_POLICY_CANCEL
                                                       : v1::STREAM_POLICY_RUN);
  Interrupt interrupt;
  Client client(globals.client_options());
  int code = kSucceeded;
  const auto answer = submit_spec(client, *std::move(spec), interrupt, &code);
  if (!answer) return code;
  Output out;
  if (globals.output() == Format::kTable) {
    out.add_line(answer->id());
  } else {
    out.add(document({{"id", answer->id()}, {"existing", answer->existing()}}, globals.output()));
  }
  return out.finish();
}

int run(const Globals& globals, const SubmitOptions& options) {
  StatusOr<v1::JobSpec> spec = make_spec(options);
  if (!spec.ok()) return report_usage(spec.status());
  spec->set_stream_policy(v1::STREAM_POLICY_PAUSE);
  const std::string id = spec->id();

  Interrupt interrupt;
  Client client(globals.client_options());
  int code = kSucceeded;
  if (!submit_spec(client, *std::move(spec), interrupt, &code)) return code;
  Attachment attachment = client.attach({.job_id = id, .deadline_ms = to_ms(options.deadline_s)});
  code = follow(client, attachment, id, globals.output(), interrupt, options.raw);
  if (code == kOutputClosed) {
    // Nobody wants the rest.
    static_cast<void>(client.cancel(id, "the reader of its output has left"));
  } else if (code == kInterrupted || code == kDeadline || code == kUnavailable ||
             code == kRefused) {
    std::fprintf(stderr,
                 "weft: job %s waits for a reader and is cancelled after 10 minutes without one\n"
                 "  go on:  weft attach %s --from %llu\n"
                 "  stop:   weft cancel %s\n",
                 id.c_str(), id.c_str(),
                 static_cast<unsigned long long>(std::max<uint64_t>(attachment.next_sequence(), 1)),
                 id.c_str());
  }
  return code;
}

}  // namespace

void add_submit_commands(CLI::App& app, const Globals& globals, Command& chosen) {
  auto options = std::make_shared<SubmitOptions>();

  CLI::App& submit_command = *app.add_subcommand("submit", "Store a job and print its id");
  add_job_options(submit_command, *options);
  submit_command
      .add_option("--stream-policy", options->policy,
                  "What the job does without a reader: run, pause or cancel (default: run)")
      ->check(CLI::IsMember({"run", "pause", "cancel"}))
      ->type_name("POLICY");
  submit_command.callback([&globals, &chosen, options] {
    chosen = [&globals, options] { return submit(globals, *options); };
  });

  CLI::App& run_command = *app.add_subcommand(
      "run", "Submit a job, print its chunks as they come, and exit with its outcome");
  add_job_options(run_command, *options);
  run_command.add_flag("--raw", options->raw, kRawHelp);
  run_command.add_option("--deadline", options->deadline_s, "Give up reading after so long")
      ->type_name("SECONDS")
      ->check(seconds());
  run_command.callback([&globals, &chosen, options] {
    chosen = [&globals, options] { return run(globals, *options); };
  });
}

}  // namespace weft::cli
