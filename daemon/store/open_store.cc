// Chooses the store that a URL names.
#include <weft/store/memory/memory_store.h>
#include <weft/store/redis/redis_store.h>
#include <weft/store/sqlite/sqlite_store.h>
#include <weft/store/store.h>

namespace weft {

StatusOr<std::unique_ptr<Store>> open_store(const std::string& url, StoreOptions options) {
  constexpr std::string_view kSqlite = "sqlite:";
  if (url == "memory:") return make_memory_store(options);
  if (url.starts_with(kSqlite) && url.size() > kSqlite.size()) {
    return open_sqlite_store(url.substr(kSqlite.size()), options);
  }
  if (url.starts_with("redis://") || url.starts_with("redis+unix://") ||
      url.starts_with("rediss://")) {
    return open_redis_store(url, options);
  }
  return field_error("store", "store '" + url +
                                  "' is not known: use memory:, sqlite:PATH, "
                                  "redis://HOST:PORT/DATABASE or redis+unix://PATH");
}

}  // namespace weft
