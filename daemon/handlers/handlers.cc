// The names under which the stock handlers are known.
#include "daemon/handlers/handlers.h"

#include <filesystem>
#include <system_error>

#include "daemon/handlers/http.h"

namespace weft {
namespace {

// Folders may be reached through symlinks by their own names; below them none is followed. A client
// may write such a folder either way.
handlers::Roots resolve(const std::vector<std::string>& folders) {
  auto roots = std::make_shared<std::vector<std::string>>();
  const auto add = [&](std::string root) {
    while (root.size() > 1 && root.back() == '/') root.pop_back();
    if (!root.empty()) roots->push_back(std::move(root));
  };
  for (const std::string& folder : folders) {
    std::error_code failed;
    const std::filesystem::path spelled = std::filesystem::absolute(folder, failed);
    if (failed) continue;
    add(spelled.lexically_normal().string());
    const std::filesystem::path real = std::filesystem::canonical(spelled, failed);
    if (!failed && real != spelled.lexically_normal()) add(real.string());
  }
  return roots;
}

}  // namespace

void register_stock_handlers(Registry& registry, StockOptions options) {
  registry.add("count", make_handler(handlers::count));
  const handlers::Roots roots = resolve(options.allow_roots);
  registry.add("digest", make_handler([roots, max_names = options.digest_names](Job job) {
                 return handlers::digest(std::move(job), roots, max_names);
               }));
  registry.add("echo", make_handler(handlers::echo));
  if (!options.allow_exec.empty()) {
    auto settings = std::make_shared<handlers::ExecSettings>();
    settings->allowed = std::move(options.allow_exec);
    settings->allowed_env = std::move(options.allow_exec_env);
    settings->roots = roots;
    settings->descriptors = options.exec_descriptors;
    settings->kill_ms = options.exec_kill_ms;
    registry.add("exec",
                 make_handler([settings](Job job) { return handlers::exec(job, settings); }),
                 {.concurrency = options.exec_concurrency});
  }
  registry.add("fail", make_handler(handlers::fail));
  if (!options.allow_hosts.empty()) {
    const auto settings = std::make_shared<handlers::HttpSettings>(options.allow_hosts);
    registry.add("http", make_handler([settings](Job job) {
                   return handlers::http(std::move(job), settings);
                 }));
  }
  registry.add("sleep", make_handler(handlers::sleep));
  registry.add("spin", make_handler(handlers::spin));
}

}  // namespace weft
