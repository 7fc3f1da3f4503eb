// The store in one SQLite file: the default of a single weftd.
#pragma once

#include <memory>
#include <string>

#include <weft/store/store.h>

namespace weft {

// Two threads of its own: one commits in groups, one reads. Submits, settles, cancels, sends,
// releases and progress survive power loss; transactions of only chunks and takes survive kill -9.
// Jobs that ran when the last process died are given back at once.
// Errors: as open_store.
StatusOr<std::unique_ptr<Store>> open_sqlite_store(const std::string& path,
                                                   StoreOptions options = {});

}  // namespace weft
