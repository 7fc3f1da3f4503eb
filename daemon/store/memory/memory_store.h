// MemoryStore: a store that forgets everything at its end; for tests and throw-away use.
#pragma once

#include <memory>

#include <weft/store/store.h>

namespace weft {

// Every verb gives up the thread once before it changes anything, as a commit would. Cancellation:
// a caller cancelled before its turn has changed nothing.
std::unique_ptr<Store> make_memory_store(StoreOptions options = {});

}  // namespace weft
