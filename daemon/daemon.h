// Daemon: builds the parts of weftd, runs them, and takes them down in the reverse order.
#pragma once

#include "daemon/config.h"

namespace weft {

// Serves until SIGTERM or SIGINT, then lets jobs end or hands them back, and answers everyone.
// Prints the ready line on stdout. Returns the exit code: 0; 1 when it could not start, with one
// sentence on stderr. Thread: main, the only one there is yet.
int run_daemon(const Config& config);

}  // namespace weft
