// Daemon: builds the parts of weftd, runs them, and takes them down in the reverse order.
#pragma once

#include <functional>

#include <weft/worker/registry.h>

#include "daemon/config.h"

namespace weft {

// Adds handlers to the stock ones, before anything asks for a type.
using AddHandlers = std::function<void(Registry&)>;

// Serves until SIGTERM or SIGINT, then lets jobs end or hands them back, and answers everyone.
// Prints the ready line on stdout. Returns the exit code: 0; 1 when it could not start, with one
// sentence on stderr. Thread: main, the only one there is yet.
int run_daemon(const Config& config, const AddHandlers& add_handlers);

}  // namespace weft
