// Registry: which handler runs which job type.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <weft/jobs/retry_policy.h>
#include <weft/worker/handler.h>

namespace weft {

struct HandlerOptions {
  // How many jobs of this type one worker runs at once, parked ones included. 0: no limit of its
  // own, but limits::kPlainHandlers for plain functions.
  size_t concurrency = 0;
  // What becomes of a job of this type when an attempt fails, as far as the job does not say:
  // {.retry = {.max_attempts = 5, .backoff = FixedBackoff{10s}}}.
  RetryPolicy retry = {};
};

class RegisteredHandler {
 public:
  RegisteredHandler(std::string job_type, Handler body, HandlerOptions handler_options)
      : type(std::move(job_type)), handler(std::move(body)), options(std::move(handler_options)) {}
  std::string type;
  Handler handler;
  HandlerOptions options;

  // The limit that counts. 0: none.
  size_t concurrency() const {
    return options.concurrency > 0 ? options.concurrency : handler.concurrency();
  }
};

// Filled before the worker starts. Thread: one at a time. Lifetime: outlives its workers.
class Registry {
 public:
  // A type is added once, named as check_job_type asks, and has a policy as check_retry_policy
  // asks; else the program stops: these are mistakes of its author.
  void add(std::string type, Handler handler, HandlerOptions options = {});
  // Null: no such type.
  const RegisteredHandler* find(std::string_view type) const;
  // Sorted.
  std::vector<std::string> types() const;

 private:
  std::map<std::string, RegisteredHandler, std::less<>> handlers_;
};

}  // namespace weft
