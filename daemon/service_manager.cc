// libsystemd reads the variables and knows the socket.
#include "daemon/service_manager.h"

#include <systemd/sd-daemon.h>

#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

namespace weft {
namespace {

// Names that mean nothing: there was no list of names, or the unit gave none and systemd took its.
bool is_unnamed(std::string_view name) {
  return name.empty() || name == "unknown" || name == "stored" || name.ends_with(".socket");
}

Status refuse(const std::string& what) {
  return make_status(StatusCode::kInvalidArgument,
                     what +
                         ": pass at most two sockets, named 'grpc' and 'admin' "
                         "(FileDescriptorName= in their .socket units)");
}

Status assign(int fd, const std::string& name, InheritedSockets& sockets) {
  int* place = nullptr;
  if (name == "grpc") {
    place = &sockets.grpc;
  } else if (name == "admin") {
    place = &sockets.admin;
  } else if (is_unnamed(name)) {
    place = sockets.grpc < 0 ? &sockets.grpc : &sockets.admin;
  } else {
    return refuse("there is no use for an inherited socket named '" + name + "'");
  }
  if (*place >= 0) return refuse("more than one inherited socket is for the same use");
  *place = fd;
  return absl::OkStatus();
}

}  // namespace

StatusOr<InheritedSockets> take_inherited_sockets() {
  char** names = nullptr;
  const int count = sd_listen_fds_with_names(/*unset_environment=*/1, &names);
  if (count < 0)
    return refuse("the inherited sockets cannot be used: " + std::string(strerror(-count)));
  std::vector<std::string> list;
  for (int i = 0; i < count; ++i) {
    list.emplace_back(names[i]);
    std::free(names[i]);
  }
  std::free(names);
  InheritedSockets sockets;
  // Those with names first: the others take what is left.
  for (const bool unnamed : {false, true}) {
    for (int i = 0; i < count; ++i) {
      if (is_unnamed(list[i]) != unnamed) continue;
      const Status status = assign(SD_LISTEN_FDS_START + i, list[i], sockets);
      if (!status.ok()) return status;
    }
  }
  return sockets;
}

int64_t take_watchdog_ms() {
  uint64_t us = 0;
  if (sd_watchdog_enabled(/*unset_environment=*/1, &us) <= 0) return 0;
  return us < 1000 ? 1 : static_cast<int64_t>(us / 1000);
}

void notify_service_manager(const std::string& state) {
  sd_notify(/*unset_environment=*/0, state.c_str());  // nobody there to hear of a failure
}

}  // namespace weft
