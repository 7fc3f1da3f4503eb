// The admin pages: what weftd tells monitoring.
#pragma once

#include <prometheus/collectable.h>

#include <functional>
#include <string>
#include <vector>

#include <weft/store/store.h>

#include "daemon/admin/http_server.h"

namespace weft {

// Empty while the daemon takes jobs, else a sentence that says why it does not.
using NotReady = std::function<std::string()>;

// Why a store takes no jobs, as NotReady says it; empty when it does.
std::string store_not_ready(const StoreStats& stats);

// /metrics, /livez and /readyz. Lifetime: `metrics` outlives the pages.
std::vector<HttpPage> admin_pages(const prometheus::Collectable& metrics, NotReady not_ready);

}  // namespace weft
