// Registry: which handler runs which job type.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <weft/worker/handler.h>

namespace weft {

class RegisteredHandler {
 public:
  RegisteredHandler(std::string job_type, Handler body)
      : type(std::move(job_type)), handler(std::move(body)) {}
  std::string type;
  Handler handler;
};

// Filled before the worker starts. Thread: one at a time. Lifetime: outlives its workers.
class Registry {
 public:
  // A type is added once, and named as check_job_type asks; else the program stops: both are
  // mistakes of its author.
  void add(std::string type, Handler handler);
  // Null: no such type.
  const RegisteredHandler* find(std::string_view type) const;
  // Sorted.
  std::vector<std::string> types() const;

 private:
  std::map<std::string, RegisteredHandler, std::less<>> handlers_;
};

}  // namespace weft
