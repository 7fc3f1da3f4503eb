// The handlers by the name of their job type.
#include <weft/base/check.h>
#include <weft/base/id.h>
#include <weft/worker/registry.h>

namespace weft {

void Registry::add(std::string type, Handler handler, HandlerOptions options) {
  WEFT_CHECK(check_job_type("type", type).ok(), "a job type matches [A-Za-z0-9._-]{1,64}");
  WEFT_CHECK(check_retry_policy(options.retry).ok(),
             "pauses are 1 ms to 30 days, attempts 1 to 100, a factor 1 to 10, jitter 0 to 1");
  std::string key = type;
  RegisteredHandler registered(std::move(type), std::move(handler), std::move(options));
  const bool added = handlers_.emplace(std::move(key), std::move(registered)).second;
  WEFT_CHECK(added, "a job type has one handler");
}

const RegisteredHandler* Registry::find(std::string_view type) const {
  const auto found = handlers_.find(type);
  return found == handlers_.end() ? nullptr : &found->second;
}

std::vector<std::string> Registry::types() const {
  std::vector<std::string> names;
  for (const auto& [type, handler] : handlers_) names.push_back(type);
  return names;
}

}  // namespace weft
