// The kinds of stores.
#include "tests/store_contract/fixture.h"

#include <stdlib.h>

#include <chrono>
#include <filesystem>

#include <weft/runtime/task_group.h>
#include <weft/store/memory/memory_store.h>
#include <weft/store/redis/redis_store.h>
#include <weft/store/sqlite/sqlite_store.h>

#include "tests/support/redis_server.h"

namespace weft::testing {
namespace {

constexpr int64_t kYear_ms = 365LL * 24 * 3600 * 1000;

// One server for all tests of this process, with other keys for each.
StatusOr<std::unique_ptr<Store>> open_in_redis(const std::string&, StoreOptions options) {
  static RedisProcess server;
  static int opened = 0;
  options.prefix = "contract-" + std::to_string(++opened);
  // Tests let days pass: nothing shall be renewed meanwhile.
  options.renew_ms = kYear_ms;
  options.lease_ms = 3 * kYear_ms;
  return open_redis_store(server.unix_url(), options);
}

}  // namespace

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
      {"redis", open_in_redis},
  };
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreContract, ::testing::ValuesIn(store_kinds()),
                         [](const auto& kind) { return kind.param.name; });

// A shared store answers while it runs.
static Task<void> run_beside_store(Harness& harness, Task<void> (*body)(Harness&)) {
  Store* store = &harness.store();
  auto beside = [&](TaskGroup& group) -> Task<void> {
    group.start([](Store* running) { return running->run(); }, store);
    while (!store->stats().health.ok()) co_await sleep_for(std::chrono::milliseconds(1));
    harness.told.events.clear();  // a shared store begins with on_work(): there may be some
    co_await body(harness);
    co_await store->close();
    group.cancel(CancelReason::kShutdown);
  };
  co_await with_group(beside);
}

void StoreContract::run(Body body, StoreOptions options) {
  std::string folder = ::testing::TempDir() + "weft_contract_XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  {
    StatusOr<std::unique_ptr<Store>> opened = GetParam().open(folder, options);
    ASSERT_TRUE(opened.ok()) << opened.status();
    Harness harness(*std::move(opened));
    run_coro_test([&]() { return run_beside_store(harness, body); });
  }
  std::filesystem::remove_all(folder);
}

}  // namespace weft::testing
