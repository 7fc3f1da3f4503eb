// Chooses the store that a URL names.
#include <string_view>

#include <weft/store/memory/memory_store.h>
#include <weft/store/store.h>

namespace weft {

StatusOr<std::unique_ptr<Store>> open_store(const std::string& url, StoreOptions options) {
  if (url == "memory:") return make_memory_store(options);
  return field_error("store", "store '" + url + "' is not known: use memory: or sqlite:PATH");
}

}  // namespace weft
