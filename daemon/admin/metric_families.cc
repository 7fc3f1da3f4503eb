// From numbers to metric families.
#include "daemon/admin/metric_families.h"

#include <limits>

namespace weft {

prometheus::ClientMetric& MetricFamilies::add(const std::string& name, const std::string& help,
                                              prometheus::MetricType type, MetricLabels labels) {
  if (families_.empty() || families_.back().name != name) {
    families_.push_back({.name = name, .help = help, .type = type, .metric = {}});
  }
  prometheus::ClientMetric& metric = families_.back().metric.emplace_back();
  for (MetricLabel& label : labels) {
    metric.label.push_back({.name = std::move(label.first), .value = std::move(label.second)});
  }
  return metric;
}

void MetricFamilies::gauge(const std::string& name, const std::string& help, double value,
                           MetricLabels labels) {
  add(name, help, prometheus::MetricType::Gauge, std::move(labels)).gauge.value = value;
}

void MetricFamilies::counter(const std::string& name, const std::string& help, double value,
                             MetricLabels labels) {
  add(name, help, prometheus::MetricType::Counter, std::move(labels)).counter.value = value;
}

void MetricFamilies::histogram(const std::string& name, const std::string& help,
                               const Histogram& histogram, MetricBuckets buckets,
                               MetricLabels labels) {
  const size_t step = buckets == MetricBuckets::kFine ? 1 : 2;
  auto& metric = add(name, help, prometheus::MetricType::Histogram, std::move(labels)).histogram;
  metric.sample_count = histogram.count();
  metric.sample_sum = static_cast<double>(histogram.sum_ns()) / 1e9;
  uint64_t so_far = 0;
  for (size_t i = 0; i < Histogram::kBuckets - 1; ++i) {
    so_far += histogram.in_bucket(i);
    if (i % step == 0) {
      metric.bucket.push_back({so_far, static_cast<double>(Histogram::upper_us(i)) / 1e6});
    }
  }
  metric.bucket.push_back({histogram.count(), std::numeric_limits<double>::infinity()});
}

void MetricFamilies::bounded(const std::string& name, const std::string& help, double used,
                             double limit) {
  gauge(name, help + ".", used);
  gauge(name + "_limit", help + ": the limit.", limit);
}

}  // namespace weft
