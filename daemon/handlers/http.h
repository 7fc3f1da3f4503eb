// HttpSettings: what all http jobs of a daemon share.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "daemon/handlers/http_client.h"

namespace weft::handlers {

// Lifetime: made and destroyed on the loop's thread; outlives the jobs.
class HttpSettings {
 public:
  explicit HttpSettings(const std::vector<std::string>& allow_hosts, HttpClientOptions options = {})
      : allowed(allow_hosts), client(std::move(options)) {}
  const AllowedHosts allowed;
  HttpClient client;
};

}  // namespace weft::handlers
