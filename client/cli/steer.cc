// weft send, weft cancel.
#include <memory>

#include <weft/base/limits.h>

#include "client/cli/change.h"
#include "client/cli/cli.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"

namespace weft::cli {
namespace {

struct SteerOptions {
  std::string id;
  std::string value;
};

int send(const Globals& globals, const SteerOptions& options) {
  StatusOr<std::string> value = read_argument(options.value, limits::kSendBytes);
  if (!value.ok()) return report_usage(value.status());
  Client client(globals.client_options());
  StatusOr<uint64_t> number = client.send(options.id, *std::move(value));
  if (!number.ok()) return report(number.status());
  Output out;
  if (globals.output() != Format::kTable) {
    out.add(document({{"id", options.id}, {"number", *number}}, globals.output()));
  }
  return out.finish();
}

int cancel(const Globals& globals, const ChangeOptions& options) {
  Client client(globals.client_options());
  StatusOr<v1::CancelResponse> answer = client.cancel(options.id, options.reason);
  if (!answer.ok()) return report(answer.status());
  const std::string state = state_name(answer->state());
  std::string result = "cancelled";
  if (answer->result() == v1::CancelResponse::REQUESTED) result = "requested";
  if (answer->result() == v1::CancelResponse::ALREADY_FINISHED) result = "already finished";
  Output out;
  if (globals.output() == Format::kTable) {
    out.add_line(answer->result() == v1::CancelResponse::ALREADY_FINISHED ? "already " + state
                                                                          : result);
  } else {
    out.add(document({{"id", options.id}, {"result", result}, {"state", state}}, globals.output()));
  }
  return out.finish();
}

}  // namespace

void add_steer_commands(CLI::App& app, const Globals& globals, Command& chosen) {
  auto options = std::make_shared<SteerOptions>();

  CLI::App& send_command = *app.add_subcommand("send", "Give a value to a running job");
  send_command.add_option("id", options->id, "The job's id")
      ->type_name("ID")
      ->check(text())
      ->required();
  send_command.add_option("value", options->value, "TEXT, @FILE, or - for standard input")
      ->type_name("VALUE")
      ->required();
  send_command.callback([&globals, &chosen, options] {
    chosen = [&globals, options] { return send(globals, *options); };
  });

  auto changes = std::make_shared<ChangeOptions>();
  CLI::App& cancel_command = add_change_command(app, globals, chosen, "cancel", "Stop jobs",
                                                v1::ChangeJobsRequest::CANCEL, changes, cancel);
  cancel_command.add_option("--reason", changes->reason, "Why, kept with the job")
      ->type_name("TEXT")
      ->check(text());
}

}  // namespace weft::cli
