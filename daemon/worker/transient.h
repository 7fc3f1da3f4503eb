// Transient: a failure that another try may mend.
#pragma once

#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>

namespace weft {

// Any exception of a handler is retried by the job's policy; this one also has a word for what went
// wrong (`code`, as in Permanent) and may know how long to wait: the pause is no shorter than
// `retry_after`, though no longer for that than the longest one of the policy.
class Transient : public std::runtime_error {
 public:
  explicit Transient(const std::string& message, std::string code = "handler_error",
                     std::chrono::milliseconds retry_after = {})
      : std::runtime_error(message), code_(std::move(code)), retry_after_(retry_after) {}
  const std::string& code() const { return code_; }
  std::chrono::milliseconds retry_after() const { return retry_after_; }

 private:
  std::string code_;
  std::chrono::milliseconds retry_after_;
};

}  // namespace weft
