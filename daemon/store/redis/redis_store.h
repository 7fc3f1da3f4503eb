// The store in Redis: many daemons share one.
#pragma once

#include <memory>
#include <string>

#include <weft/base/status.h>
#include <weft/store/store.h>

namespace weft {

// Every verb is one script call (scripts/, where the layout is told), so it happens whole or not at
// all; run() has to be running for anything to be answered. What is answered has the durability of
// the server's append-only file.
// Errors: as open_store.
StatusOr<std::unique_ptr<Store>> open_redis_store(const std::string& url,
                                                  StoreOptions options = {});

// What every key of a store begins with has to be simple. Errors: INVALID_ARGUMENT.
Status check_key_prefix(const std::string& prefix);

}  // namespace weft
