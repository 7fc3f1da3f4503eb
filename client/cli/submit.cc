// weft submit, weft run.
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include <weft/base/clock.h>
#include <weft/base/id.h>
#include <weft/base/limits.h>

#include "client/cli/cli.h"
#include "client/cli/exit_code.h"
#include "client/cli/follow.h"
#include "client/cli/output.h"

namespace weft::cli {
namespace {

struct SubmitOptions {
  std::string type;
  std::string payload;
  std::string queue;
  std::string id;
  std::string content_type;
  std::vector<std::string> metadata;
  std::string policy = "run";
  double deadline_s = 0;
};

void add_job_options(CLI::App& command, SubmitOptions& options) {
  command.add_option("type", options.type, "The handler's name: count, digest, echo…")
      ->type_name("TYPE")
      ->required();
  command.add_option("--payload,-p", options.payload, "TEXT, @FILE, or - for standard input")
      ->type_name("TEXT|@FILE|-");
  command.add_option("--queue,-q", options.queue, "Queue (default: \"default\")")
      ->type_name("NAME");
  command
      .add_option(
          "--id", options.id,
          "The job's id, 10 to 64 characters of A-Z a-z 0-9 _ -; repeating a submission with "
          "its id is safe")
      ->type_name("ID");
  command.add_option("--content-type", options.content_type, "Kind of the payload, informative")
      ->type_name("MIME");
  command.add_option("--metadata,-m", options.metadata, "A label of the job; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
}

StatusOr<v1::JobSpec> make_spec(const SubmitOptions& options) {
  v1::JobSpec spec;
  spec.set_type(options.type);
  spec.set_queue(options.queue);
  spec.set_id(options.id);
  spec.set_content_type(options.content_type);
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

int submit(const Globals& globals, const SubmitOptions& options) {
  StatusOr<v1::JobSpec> spec = make_spec(options);
  if (!spec.ok()) return report_usage(spec.status());
  spec->set_stream_policy(options.policy == "pause"    ? v1::STREAM_POLICY_PAUSE
                          : options.policy == "cancel" ? v1::STREAM_POLICY_CANCEL
                                                       : v1::STREAM_POLICY_RUN);
  Client client(globals.client_options());
  StatusOr<v1::SubmitResponse> answer = client.submit(*std::move(spec));
  if (!answer.ok()) return report(answer.status());
  Output out;
  if (globals.output() == Format::kTable) {
    out.add_line(answer->id());
  } else {
    out.add(document({{"id", answer->id()}, {"existing", answer->existing()}}, globals.output()));
  }
  return out.flush() ? kSucceeded : kOutputClosed;
}

int run(const Globals& globals, const SubmitOptions& options) {
  StatusOr<v1::JobSpec> spec = make_spec(options);
  if (!spec.ok()) return report_usage(spec.status());
  if (spec->id().empty()) {
    // Made here, so that Ctrl-C can name the job even before the server has answered.
    Random random = Random::from_system();
    spec->set_id(make_job_id(RealClock::instance().wall_ns() / 1'000'000, random));
  }
  spec->set_stream_policy(v1::STREAM_POLICY_PAUSE);
  const std::string id = spec->id();

  Interrupt interrupt;
  Client client(globals.client_options());
  StatusOr<v1::SubmitResponse> answer = client.submit(*std::move(spec));
  if (!answer.ok()) return report(answer.status());
  Attachment attachment =
      client.attach({.job_id = id, .deadline_ms = static_cast<int64_t>(options.deadline_s * 1000)});
  const int code = follow(attachment, id, globals.output(), interrupt);
  if (code == kOutputClosed) {
    // Nobody wants the rest.
    static_cast<void>(client.cancel(id, "the reader of its output has left"));
  } else if (code == kInterrupted || code == kDeadline) {
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
  run_command.add_option("--deadline", options->deadline_s, "Give up reading after so long")
      ->type_name("SECONDS")
      ->check(CLI::PositiveNumber);
  run_command.callback([&globals, &chosen, options] {
    chosen = [&globals, options] { return run(globals, *options); };
  });
}

}  // namespace weft::cli
