// GatedStore: takes submissions at once and answers them when the test says so.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include <weft/runtime/event.h>

#include "tests/support/store_wrapper.h"

namespace weft::testing {

// Thread: the loop's.
class GatedStore final : public StoreWrapper {
 public:
  using StoreWrapper::StoreWrapper;

  Task<std::vector<StatusOr<Submitted>>> submit(std::vector<v1::JobSpec> specs) override {
    ++calls;
    jobs += specs.size();
    co_await gate.wait();
    co_return co_await inner->submit(std::move(specs));
  }

  Event gate;  // set: answers at once
  size_t calls = 0;
  size_t jobs = 0;
};

}  // namespace weft::testing
