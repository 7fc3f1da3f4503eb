// echo, sleep and fail: the smallest handlers, for trying things out.
#include <stdexcept>

#include <weft/base/limits.h>

#include "daemon/handlers/handlers.h"
#include "daemon/handlers/payload.h"

namespace weft::handlers {
namespace {

constexpr int64_t kSleepMsMax = int64_t{366} * 24 * 3600 * 1000;

}  // namespace

// Payload: any bytes. Yields them as one chunk (as several where they are over the limit of one)
// and returns them.
Stream<std::string> echo(Job job) {
  const std::string& payload = job.payload();
  size_t at = 0;
  do {
    co_yield payload.substr(at, limits::kChunkBytes);
    at += limits::kChunkBytes;
  } while (at < payload.size());
  job.set_result(payload);
}

// Payload: {"ms": N}. Returns nothing after N milliseconds.
Task<void> sleep(Job job) {
  const int64_t ms = read_payload(job, {"ms"}, [](const Fields& fields) {
    return fields.required_integer("ms", 0, kSleepMsMax);
  });
  co_await job.sleep(std::chrono::milliseconds(ms));
}

// Payload: {"message": TEXT, "times": N}. Fails with the message: the first N times, or always.
Task<void> fail(Job job) {
  std::string message;
  std::optional<int64_t> times;
  read_payload(job, {"message", "times"}, [&](const Fields& fields) {
    message = fields.text("message").value_or("failed as asked for");
    times = fields.integer("times", 0, limits::kAttemptsMax);
    return true;
  });
  if (!times || job.failures() < *times) throw std::runtime_error(message);
  co_return;
}

}  // namespace weft::handlers
