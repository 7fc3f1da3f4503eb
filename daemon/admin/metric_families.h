// MetricFamilies: builds the metrics of one scrape.
#pragma once

#include <prometheus/metric_family.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include <weft/base/histogram.h>

namespace weft {

// A label's name and value.
using MetricLabel = std::pair<std::string, std::string>;
using MetricLabels = std::vector<MetricLabel>;

// How far apart the bounds of a histogram are: a factor of two, or of four with half the series.
enum class MetricBuckets { kFine, kCoarse };

// Series added under one name after each other are one family. Names end as Prometheus wants it:
// counters in _total, everything else in its base unit.
class MetricFamilies {
 public:
  void gauge(const std::string& name, const std::string& help, double value,
             MetricLabels labels = {});
  void counter(const std::string& name, const std::string& help, double value,
               MetricLabels labels = {});
  // In seconds. The buckets are those of Histogram, from 1 µs to about an hour.
  void histogram(const std::string& name, const std::string& help, const Histogram& histogram,
                 MetricBuckets buckets = MetricBuckets::kCoarse, MetricLabels labels = {});
  // What is in use of something bounded, and `name`_limit.
  void bounded(const std::string& name, const std::string& help, double used, double limit);

  std::vector<prometheus::MetricFamily> take() { return std::move(families_); }

 private:
  prometheus::ClientMetric& add(const std::string& name, const std::string& help,
                                prometheus::MetricType type, MetricLabels labels);
  std::vector<prometheus::MetricFamily> families_;
};

}  // namespace weft
