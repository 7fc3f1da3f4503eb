// ServiceManager: what weftd hears from systemd, which may have started it, and tells it. Without
// systemd, as at a terminal or in a container, all of this is nothing.
#pragma once

#include <cstdint>
#include <string>

#include <weft/base/status.h>

namespace weft {

// Listening sockets that were opened for this process; -1: none.
struct InheritedSockets {
  int grpc = -1;
  int admin = -1;
};

// Reads LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES and removes them, so that no child takes them for
// its own. A socket named "grpc" or "admin" is that one; of those without such a name the first is
// the one that is missing first: grpc, then admin. Thread: main, before there is another.
// Errors: INVALID_ARGUMENT for other names, for two of a name and for more than two.
StatusOr<InheritedSockets> take_inherited_sockets();

// How often the watchdog wants to hear "WATCHDOG=1", from WATCHDOG_USEC and WATCHDOG_PID, which are
// removed; 0: there is no watchdog. Thread: main, before there is another.
int64_t take_watchdog_ms();

// Sends lines like "READY=1" to NOTIFY_SOCKET; without one it does nothing. Thread: any.
void notify_service_manager(const std::string& state);

}  // namespace weft
