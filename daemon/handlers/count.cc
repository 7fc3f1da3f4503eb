// count: a lazy generator that can be steered while it runs.
#include <algorithm>

#include <weft/base/clock.h>
#include <weft/base/limits.h>

#include "daemon/handlers/handlers.h"
#include "daemon/handlers/payload.h"

namespace weft::handlers {
namespace {

constexpr int64_t kBytesMax = limits::kChunkBytes;
constexpr int64_t kDelayMsMax = int64_t{24} * 3600 * 1000;

class CountOptions {
 public:
  explicit CountOptions(const Fields& fields)
      : from(fields.integer("from", INT64_MIN, INT64_MAX).value_or(1)),
        to(fields.required_integer("to", INT64_MIN, INT64_MAX)),
        step(fields.integer("step", INT64_MIN, INT64_MAX).value_or(1)),
        delay_ms(fields.integer("delay_ms", 0, kDelayMsMax).value_or(0)),
        bytes(static_cast<size_t>(fields.integer("bytes", 0, kBytesMax).value_or(0))),
        stamp(fields.integer("stamp", 0, 1).value_or(0) == 1) {
    if (step == 0) {
      throw std::invalid_argument("the payload has a bad field 'step': it must not be 0");
    }
  }
  int64_t from;
  int64_t to;
  int64_t step;
  int64_t delay_ms;
  size_t bytes;
  bool stamp;
};

std::string chunk_of(int64_t value, const CountOptions& options) {
  std::string chunk = std::to_string(value);
  if (options.stamp) {
    chunk += ' ' + std::to_string(RealClock::instance().monotonic_ns());
  }
  if (chunk.size() < options.bytes) chunk.resize(options.bytes, ' ');
  return chunk;
}

// The step that a send asks for; the old one, and a line in the log, when it is no good.
int64_t steered(const Job& job, const nlohmann::json& sent, int64_t step) {
  try {
    const Fields fields("a send", sent, {"step"});
    const int64_t wanted = fields.required_integer("step", INT64_MIN, INT64_MAX);
    if (wanted != 0) return wanted;
    job.log("a send is ignored: its step must not be 0");
  } catch (const std::invalid_argument& error) {
    job.log(std::string("a send is ignored: ") + error.what());
  }
  return step;
}

}  // namespace

// Payload: {"from": 1, "to": N, "step": 1, "delay_ms": 0}; only `to` is needed. Yields from, from +
// step, … as text, up to and including `to`; a negative step counts down. As in Python's range, a
// step of 0 is refused and a step that leads away from `to` yields nothing. Waits delay_ms between
// values. For measuring: `bytes` pads each chunk with blanks to that size, and `stamp` 1 puts
// the daemon's monotonic clock behind the value, in nanoseconds. A send of {"step": K} changes the
// step from the next value on; any other send is ignored.
Stream<std::string, nlohmann::json> count(Job job) {
  const CountOptions options =
      read_payload(job, {"from", "to", "step", "delay_ms", "bytes", "stamp"},
                   [](const Fields& fields) { return CountOptions(fields); });
  int64_t step = options.step;
  int64_t value = options.from;
  while (step > 0 ? value <= options.to : value >= options.to) {
    std::optional<nlohmann::json> sent = co_yield chunk_of(value, options);
    if (sent) step = steered(job, *sent, step);
    if (__builtin_add_overflow(value, step, &value)) break;
    if (options.delay_ms > 0) co_await job.sleep(std::chrono::milliseconds(options.delay_ms));
  }
}

}  // namespace weft::handlers
