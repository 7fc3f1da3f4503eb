// Registry: which handler runs which job type.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <weft/worker/handler.h>

namespace weft {

struct HandlerOptions {
  // How many jobs of this type one worker runs at once, parked ones included. 0: no limit of its
  // own, but limits::kPlainHandlers for plain functions.
  size_t concurrency = 0;
};

class RegisteredHandler {
 public:
  RegisteredHandler(std::string job_type, Handler body, HandlerOptions handler_options)
      : type(std::move(job_type)), handler(std::move(body)), options(handler_options) {}
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
  // A type is added once, and named as check_job_type asks; else the program stops: both are
  // mistakes of its author.
  void add(std::string type, Handler handler, HandlerOptions options = {});
  // Null: no such type.
  const RegisteredHandler* find(std::string_view type) const;
  // Sorted.
  std::vector<std::string> types() const;

 private:
  std::map<std::string, RegisteredHandler, std::less<>> handlers_;
};

}  // namespace weft
