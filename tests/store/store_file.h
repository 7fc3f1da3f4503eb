// A store file in a folder of its own, opened and closed as often as a test likes.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include <weft/store/sqlite/sqlite_store.h>

#include "tests/store_contract/harness.h"
#include "tests/support/coro_test.h"

namespace weft::testing {

class StoreFile : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "weft_store_XXXXXX";
    ASSERT_NE(mkdtemp(folder_.data()), nullptr);
    path_ = folder_ + "/weft.db";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // Opens the store, runs `body(harness)` on a fresh loop, closes it.
  template <typename Body>
  void session(Body body) {
    StatusOr<std::unique_ptr<Store>> opened = open_sqlite_store(path_, options_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    Harness harness(*std::move(opened));
    run_coro_test([&]() -> Task<void> {
      return [](Harness& h, Body test) -> Task<void> {
        co_await test(h);
        co_await h.store().close();
      }(harness, body);
    });
  }
  Status open_status() { return open_sqlite_store(path_).status(); }

  std::string folder_;
  std::string path_;
  StoreOptions options_;
};

}  // namespace weft::testing
