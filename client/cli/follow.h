// follow(): prints a job's events until it ends, Ctrl-C, or the reader of standard output leaves.
#pragma once

#include <cstdio>
#include <string>

#include "client/cli/cli.h"
#include "client/cli/exit_code.h"
#include "client/cli/interrupt.h"
#include "client/cli/output.h"

namespace weft::cli {

// Says why the attempt before this one was not the last.
void tell_failure(Client& client, const std::string& job_id, uint64_t attempt);

// `stream` is a ResultStream or an Attachment of `client`'s. Returns the exit code.
template <typename Stream>
int follow(Client& client, Stream& stream, const std::string& job_id, Format format,
           Interrupt& interrupt, bool raw = false) {
  EventPrinter printer(format, job_id, raw);
  interrupt.on_signal([&stream] { stream.stop(); });
  int code = kSucceeded;
  for (;;) {
    StatusOr<std::optional<v1::Event>> event = stream.next();
    if (!event.ok()) {
      printer.finish();
      code = interrupt.received() ? kInterrupted : report(event.status());
      break;
    }
    if (!event->has_value()) {
      code = printer.finish() ? exit_code_of(printer.finished().state()) : printer.output_code();
      break;
    }
    if (format == Format::kTable && (*event)->has_attempt_started()) {
      tell_failure(client, job_id, (*event)->attempt_started().attempt());
    }
    if (!printer.print(**event)) {
      code = printer.output_code();
      break;
    }
  }
  interrupt.on_signal(nullptr);
  return code;
}

}  // namespace weft::cli
