// The kinds of stores.
#include "tests/store_contract/fixture.h"

#include <stdlib.h>

#include <filesystem>

#include <weft/store/memory/memory_store.h>
#include <weft/store/sqlite/sqlite_store.h>

namespace weft::testing {

std::vector<StoreKind> store_kinds() {
  return {
      {"memory",
       [](const std::string&, StoreOptions options) -> StatusOr<std::unique_ptr<Store>> {
         return make_memory_store(options);
       }},
      {"sqlite",
       [](const std::string& folder, StoreOptions options) {
         return open_sqlite_store(folder + "/weft.db", options);
       }},
  };
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreContract, ::testing::ValuesIn(store_kinds()),
                         [](const auto& kind) { return kind.param.name; });

void StoreContract::run(Body body, StoreOptions options) {
  std::string folder = ::testing::TempDir() + "weft_contract_XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  {
    StatusOr<std::unique_ptr<Store>> opened = GetParam().open(folder, options);
    ASSERT_TRUE(opened.ok()) << opened.status();
    Harness harness(*std::move(opened));
    run_coro_test([&]() -> Task<void> {
      return [](Harness& h, Body test) -> Task<void> {
        co_await test(h);
        co_await h.store().close();
      }(harness, body);
    });
  }
  std::filesystem::remove_all(folder);
}

}  // namespace weft::testing
