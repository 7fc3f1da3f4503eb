// The stock handlers: count, digest, echo, sleep, fail. Each file says what its payload is.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <weft/worker/registry.h>

namespace weft {

struct StockOptions {
  std::vector<std::string> allow_roots;  // digest reads below these folders only
  size_t digest_names = 2'000'000;       // files and folders of one digest, kept in memory
};

// Adds every stock handler to `registry`.
void register_stock_handlers(Registry& registry, StockOptions options);

namespace handlers {

// Folders as digest compares them with a path: absolute, both as given and with symlinks resolved.
using Roots = std::shared_ptr<const std::vector<std::string>>;

Stream<std::string, nlohmann::json> count(Job job);
Stream<std::string> digest(Job job, Roots roots, size_t max_names);
Stream<std::string> echo(Job job);
Task<void> sleep(Job job);
Task<void> fail(Job job);

}  // namespace handlers
}  // namespace weft
