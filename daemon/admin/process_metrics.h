// What the kernel knows about this process, under the names every Prometheus client uses.
#pragma once

#include "daemon/admin/metric_families.h"

namespace weft {

// CPU time, memory, descriptors, start time, context switches. Reads /proc: a few microseconds.
void add_process_metrics(MetricFamilies& families);

}  // namespace weft
