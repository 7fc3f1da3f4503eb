// What each admin page answers.
#include "daemon/admin/pages.h"

#include <prometheus/text_serializer.h>

#include <utility>

namespace weft {
namespace {

HttpReply show_metrics(const prometheus::Collectable& metrics) {
  return {.content_type = "text/plain; version=0.0.4; charset=utf-8",
          .body = prometheus::TextSerializer().Serialize(metrics.Collect())};
}

HttpReply show_readiness(const NotReady& not_ready) {
  const std::string reason = not_ready();
  if (reason.empty()) return {.body = "ok\n"};
  return {.status = 503, .body = reason + "\n"};
}

}  // namespace

std::string store_not_ready(const StoreStats& stats) {
  if (!stats.health.ok()) {
    return "the store cannot commit: " + std::string(from_absl(stats.health.message()));
  }
  if (!stats.admission.ok()) {
    return "new jobs are refused: " + std::string(from_absl(stats.admission.message()));
  }
  return "";
}

std::vector<HttpPage> admin_pages(const prometheus::Collectable& metrics, NotReady not_ready) {
  auto alive = [] { return HttpReply{.body = "ok\n"}; };  // the loop that says so turns
  auto measure = [&metrics] { return show_metrics(metrics); };
  auto ready = [reason = std::move(not_ready)] { return show_readiness(reason); };
  return {{"/livez", "200 while the loop turns", alive},
          {"/readyz", "200 while new jobs are taken, else 503 and why", ready},
          {"/metrics", "numbers for Prometheus", measure}};
}

}  // namespace weft
