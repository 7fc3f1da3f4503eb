// The store contract: one suite of promises, run on every store that there is.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <weft/store/store.h>

#include "tests/store_contract/harness.h"
#include "tests/support/coro_test.h"

namespace weft::testing {

// How one kind of store is opened, empty, with a folder to itself.
struct StoreKind {
  std::string name;
  std::function<StatusOr<std::unique_ptr<Store>>(const std::string& folder, StoreOptions options)>
      open;
};
inline std::ostream& operator<<(std::ostream& out, const StoreKind& kind) {
  return out << kind.name;
}
// The kinds the suite runs on; another store joins by being added here.
std::vector<StoreKind> store_kinds();

class StoreContract : public ::testing::TestWithParam<StoreKind> {
 protected:
  using Body = Task<void> (*)(Harness&);
  void run(Body body, StoreOptions options = {});
};

}  // namespace weft::testing

// STORE_TEST(Name) { … harness … }: a promise, as a coroutine on virtual time.
#define STORE_TEST_WITH(name, options)                                      \
  static ::weft::Task<void> name##_body(::weft::testing::Harness& harness); \
  TEST_P(StoreContract, name) { run(&name##_body, options); }               \
  static ::weft::Task<void> name##_body([[maybe_unused]] ::weft::testing::Harness& harness)
#define STORE_TEST(name) STORE_TEST_WITH(name, ::weft::StoreOptions())
