// weftd: front end and worker in one process.
#include <cstdio>
#include <string>
#include <vector>

#include "daemon/config.h"
#include "daemon/daemon.h"

int main(int argc, char** argv) {
  const weft::ParsedConfig parsed = weft::parse_config(
      std::vector<std::string>(argv + 1, argv + argc), weft::process_environment());
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
  return weft::run_daemon(parsed.config);
}
