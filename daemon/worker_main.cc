// From the command line to a running daemon.
#include <fcntl.h>

#include <cstdio>
#include <string>
#include <vector>

#include <weft/worker.h>

#include "daemon/config.h"
#include "daemon/daemon.h"

namespace weft {
namespace {

// A descriptor 0, 1 or 2 that was closed would become one of our own, and take our messages.
void open_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (fcntl(fd, F_GETFD) < 0) open("/dev/null", O_RDWR);  // gets the lowest free one: this
  }
}

// Before libraries are initialized: some open descriptors then.
[[gnu::used,
  gnu::section(".preinit_array")]] void (*const kBeforeAll)() = &open_standard_descriptors;

}  // namespace

int Worker::main(int argc, char** argv) {
  const ParsedConfig parsed =
      parse_config(std::vector<std::string>(argv + 1, argv + argc), process_environment());
  for (int i = 1; i < argc; ++i) hide_password(argv[i]);
  if (!parsed.errors.empty()) {
    for (const std::string& error : parsed.errors) {
      std::fprintf(stderr, "weftd: %s\n", error.c_str());
    }
    return 2;
  }
  if (!parsed.text.empty()) {
    std::fputs(parsed.text.c_str(), stdout);
    return 0;
  }
  return run_daemon(parsed.config, [this](Registry& registry) {
    for (const auto& add : add_) add(registry);
  });
}

}  // namespace weft
