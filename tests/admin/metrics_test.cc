// Metric families, the admin pages, and the metrics of parts that have done nothing yet.
#include "daemon/admin/metrics.h"

#include <gmock/gmock.h>
#include <prometheus/text_serializer.h>

#include <map>
#include <set>
#include <string>

#include "daemon/admin/pages.h"
#include "daemon/admin/process_metrics.h"
#include "tests/support/coro_test.h"
#include "tests/support/store_wrapper.h"

namespace weft {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string text_of(MetricFamilies& families) {
  return prometheus::TextSerializer().Serialize(families.take());
}

TEST(MetricFamilies, SeriesOfOneNameShareOneFamily) {
  MetricFamilies families;
  families.gauge("weft_jobs", "Jobs.", 3, {{"state", "queued"}});
  families.gauge("weft_jobs", "Jobs.", 4, {{"state", "running"}});
  families.bounded("weft_readers", "Readers", 1, 10);
  EXPECT_EQ(text_of(families),
            "# HELP weft_jobs Jobs.\n# TYPE weft_jobs gauge\n"
            "weft_jobs{state=\"queued\"} 3\nweft_jobs{state=\"running\"} 4\n"
            "# HELP weft_readers Readers.\n# TYPE weft_readers gauge\nweft_readers 1\n"
            "# HELP weft_readers_limit Readers: the limit.\n# TYPE weft_readers_limit gauge\n"
            "weft_readers_limit 10\n");
}

TEST(MetricFamilies, ALabelCannotBreakTheFormat) {
  MetricFamilies families;
  families.counter("weft_x_total", "X.", 1, {{"type", "a\"b\\c\nd"}});
  EXPECT_THAT(text_of(families), HasSubstr("weft_x_total{type=\"a\\\"b\\\\c\\nd\"} 1\n"));
}

TEST(MetricFamilies, HistogramsAreCumulativeAndInSeconds) {
  Histogram histogram;
  histogram.add_ns(1'000);                     // 1 µs
  histogram.add_ns(2'000);                     // in (1, 4] µs
  histogram.add_ns(3'000'000'000);             // 3 s, in (1.05, 4.19] s
  histogram.add_ns(10'000LL * 1'000'000'000);  // beyond all buckets
  MetricFamilies families;
  families.histogram("weft_wait_seconds", "Wait.", histogram);
  const std::string text = text_of(families);
  EXPECT_THAT(text, HasSubstr("weft_wait_seconds_count 4\n"));
  EXPECT_THAT(text, HasSubstr("weft_wait_seconds_sum 10003.000003\n"));
  EXPECT_THAT(text, HasSubstr("weft_wait_seconds_bucket{le=\"1e-06\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("weft_wait_seconds_bucket{le=\"4e-06\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("weft_wait_seconds_bucket{le=\"1.048576\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("weft_wait_seconds_bucket{le=\"4.194304\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("weft_wait_seconds_bucket{le=\"4294.967296\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("weft_wait_seconds_bucket{le=\"+Inf\"} 4\n"));
}

TEST(MetricFamilies, FineHistogramsHaveTwiceTheBuckets) {
  Histogram histogram;
  histogram.add_ns(1'900'000);  // in (1.024, 2.048] ms
  MetricFamilies families;
  families.histogram("weft_lag_seconds", "Lag.", histogram, MetricBuckets::kFine);
  const std::string text = text_of(families);
  EXPECT_THAT(text, HasSubstr("weft_lag_seconds_bucket{le=\"0.001024\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("weft_lag_seconds_bucket{le=\"0.002048\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("weft_lag_seconds_bucket{le=\"4294.967296\"} 1\n"));
}

TEST(ProcessMetrics, TellWhatTheKernelTells) {
  MetricFamilies families;
  add_process_metrics(families);
  std::map<std::string, double> values;
  for (const prometheus::MetricFamily& family : families.take()) {
    const bool counts = family.type == prometheus::MetricType::Counter;
    values[family.name] = counts ? family.metric[0].counter.value : family.metric[0].gauge.value;
  }
  const double now = static_cast<double>(time(nullptr));
  EXPECT_LE(values["process_start_time_seconds"], now + 2);
  EXPECT_GT(values["process_start_time_seconds"], now - 3600);
  EXPECT_GT(values["process_resident_memory_bytes"], 1 << 20);
  EXPECT_GE(values["process_open_fds"], 3);
  EXPECT_LT(values["process_open_fds"], values["process_max_fds"]);
  EXPECT_GT(values["process_cpu_seconds_total"], 0);
}

class NoMetrics final : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override { return {}; }
};

HttpReply reply_of(const std::vector<HttpPage>& pages, const std::string& path) {
  for (const HttpPage& page : pages) {
    if (page.path == path) return page.reply();
  }
  return {.status = 404, .body = ""};
}

TEST(AdminPages, ReadyFollowsTheStoreAndAliveDoesNot) {
  const NoMetrics metrics;
  StoreStats stats;
  const auto pages = admin_pages(metrics, [&stats] { return store_not_ready(stats); });
  EXPECT_EQ(reply_of(pages, "/readyz").status, 200);
  EXPECT_EQ(reply_of(pages, "/readyz").body, "ok\n");
  stats.health = make_status(StatusCode::kUnavailable, "the disk is full: free some space");
  EXPECT_EQ(reply_of(pages, "/readyz").status, 503);
  EXPECT_EQ(reply_of(pages, "/readyz").body,
            "the store cannot commit: the disk is full: free some space\n");
  EXPECT_EQ(reply_of(pages, "/livez").status, 200);
  stats.health = Status();
  EXPECT_EQ(reply_of(pages, "/readyz").status, 200);
  stats.admission = make_status(StatusCode::kResourceExhausted, "little room: free some space");
  EXPECT_EQ(reply_of(pages, "/readyz").status, 503);
  EXPECT_EQ(reply_of(pages, "/readyz").body,
            "new jobs are refused: little room: free some space\n");
  EXPECT_EQ(reply_of(pages, "/livez").status, 200);
}

CORO_TEST(Metrics, OfAnIdleProcessAreCompleteAndNamedAsTheyShould) {
  auto store = open_store("memory:");
  WEFT_ASSERT(store.ok());
  {
    Executor executor;
    StreamHub hub(**store);
    MetricSources sources;
    sources.version = "1.2.3";
    sources.store = store->get();
    sources.hub = &hub;
    sources.executor = &executor;
    // It looks by the real clock at a loop on a virtual one: nothing may seem long to it.
    const Keeper keeper(*EventLoop::current(), {.stall_ms = 100'000'000'000});
    sources.keeper = &keeper;
    const ScheduleRunner schedules(**store);
    sources.schedules = &schedules;
    sources.calls = [] {
      return CallMetrics{.held_bytes = 5,
                         .held_bytes_limit = 9,
                         .finished = {{"weft.v1.JobService/Get", "OK", 3},
                                      {"weft.v1.JobService/Get", "NOT_FOUND", 2}}};
    };
    sources.admin = [] { return HttpServerStats(); };
    sources.log_lines_dropped = [] { return uint64_t{7}; };
    const Metrics metrics(std::move(sources));
    const auto families = metrics.Collect();
    std::set<std::string> names;
    for (const prometheus::MetricFamily& family : families) {
      EXPECT_TRUE(names.insert(family.name).second) << family.name << " comes twice";
      EXPECT_NE(family.help, "") << family.name;
      EXPECT_EQ(family.name.ends_with("_total"), family.type == prometheus::MetricType::Counter)
          << family.name;
      EXPECT_TRUE(family.name.starts_with("weft_") || family.name.starts_with("process_"))
          << family.name;
    }
    const std::string text = prometheus::TextSerializer().Serialize(families);
    EXPECT_THAT(text, HasSubstr("weft_build_info{version=\"1.2.3\"} 1\n"));
    EXPECT_THAT(text, HasSubstr("weft_store_healthy 1\n"));
    EXPECT_THAT(text, HasSubstr("weft_log_lines_dropped_total 7\n"));
    EXPECT_THAT(text, HasSubstr("weft_live_tail_bytes_limit 67108864\n"));
    EXPECT_THAT(text, HasSubstr("weft_loop_stalls_total 0\n"));
    EXPECT_THAT(text, HasSubstr("weft_loop_longest_stall_seconds 0\n"));
    const std::string get =
        "weft_grpc_calls_finished_total{method=\"weft.v1.JobService/Get\",code=";
    EXPECT_THAT(text, HasSubstr(get + "\"OK\"} 3\n" + get + "\"NOT_FOUND\"} 2\n"));
    EXPECT_THAT(text, HasSubstr("weft_grpc_held_bytes 5\n"));
    EXPECT_THAT(text, HasSubstr("weft_grpc_held_bytes_limit 9\n"));
    EXPECT_THAT(text, HasSubstr("\nweft_slots 0\n"));
    EXPECT_THAT(text, Not(HasSubstr("weft_slots_used"))) << "no worker, none in use";
  }
  Task<void> close = (*store)->close();
  co_await close;
}

// A store that a server keeps for many daemons.
class ServedStore final : public testing::StoreWrapper {
 public:
  using StoreWrapper::StoreWrapper;
  bool shared() const override { return true; }
  StoreStats stats() const override {
    StoreStats stats = inner->stats();
    stats.connects = 2;
    stats.timeouts = 1;
    stats.refusals = {{"OOM", 3}, {"LOADING", 4}};
    stats.lease_losses = 5;
    stats.leases_expired = 6;
    return stats;
  }
};

CORO_TEST(Metrics, OfASharedStoreTellOfItsServerAndOfLeases) {
  ServedStore store(*open_store("memory:"));
  {
    Executor executor;
    StreamHub hub(store);
    MetricSources sources;
    sources.store = &store;
    sources.hub = &hub;
    sources.executor = &executor;
    const Keeper keeper(*EventLoop::current(), {.stall_ms = 100'000'000'000});
    sources.keeper = &keeper;
    const ScheduleRunner schedules(store);
    sources.schedules = &schedules;
    sources.calls = [] { return CallMetrics(); };
    sources.admin = [] { return HttpServerStats(); };
    sources.log_lines_dropped = [] { return uint64_t{0}; };
    const Metrics metrics(std::move(sources));
    const std::string text = prometheus::TextSerializer().Serialize(metrics.Collect());
    for (const char* line :
         {"weft_store_connects_total 2\n", "weft_store_timeouts_total 1\n",
          "weft_store_refusals_total{kind=\"OOM\"} 3\n",
          "weft_store_refusals_total{kind=\"LOADING\"} 4\n", "weft_leases_lost_total 5\n",
          "weft_leases_expired_total 6\n", "weft_keeper_renewals_total 0\n"}) {
      EXPECT_THAT(text, HasSubstr(line));
    }
  }
  Task<void> close = store.close();
  co_await close;
}

}  // namespace
}  // namespace weft
