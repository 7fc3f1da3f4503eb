// Permanent: a failure that a handler reports for good.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace weft {

// Thrown by a handler for a failure that no second try can mend. `code` is the error_code of the
// job's outcome: one word.
class Permanent : public std::runtime_error {
 public:
  explicit Permanent(const std::string& message, std::string code = "handler_error")
      : std::runtime_error(message), code_(std::move(code)) {}
  const std::string& code() const { return code_; }

 private:
  std::string code_;
};

}  // namespace weft
