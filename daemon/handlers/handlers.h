// The stock handlers: count, digest, echo, sleep, fail.
#pragma once

#include <string>
#include <vector>

#include <weft/worker/registry.h>

namespace weft {

struct StockOptions {
  std::vector<std::string> allow_roots;  // digest reads below these folders only
};

// Adds every stock handler to `registry`. See docs in each handler's file for payloads.
void register_stock_handlers(Registry& registry, StockOptions options);

}  // namespace weft
