// FunctionMail: a function that another thread sends to the loop.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include <weft/runtime/mailbox.h>

namespace weft::testing {

// Made with new, posted once; deletes itself after it ran.
class FunctionMail final : public Mail {
 public:
  explicit FunctionMail(std::function<void()> function) : function_(std::move(function)) {}

 private:
  void deliver() override {
    const std::unique_ptr<FunctionMail> self(this);
    function_();
  }
  std::function<void()> function_;
};

}  // namespace weft::testing
