// Pauses and their bounds.
#include <algorithm>
#include <cmath>
#include <string>

#include <weft/jobs/retry_policy.h>

namespace weft {
namespace {

using std::chrono::milliseconds;

constexpr int64_t kPauseMsMax = limits::kDurationSecondsMax * 1000;
constexpr double kFactorMax = 10;

template <typename... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <typename... F>
Overloaded(F...) -> Overloaded<F...>;

milliseconds bounded(double pause_ms) {
  // Also turns NaN into the least.
  if (!(pause_ms >= 1)) return milliseconds(1);
  return milliseconds(
      static_cast<int64_t>(std::min(pause_ms, 2 * static_cast<double>(kPauseMsMax))));
}

// In [0, 1).
double unit(uint64_t random) { return std::ldexp(static_cast<double>(random >> 11), -53); }

Status check_pause(const char* field, milliseconds pause) {
  if (pause.count() >= 1 && pause.count() <= kPauseMsMax) return absl::OkStatus();
  return field_error(field, std::string(field) + " of " + std::to_string(pause.count()) +
                                " ms is out of bounds: use 1 ms to 30 days");
}

Status check_backoff(const ExponentialBackoff& backoff) {
  WEFT_RETURN_IF_ERROR(check_pause("first", backoff.first));
  WEFT_RETURN_IF_ERROR(check_pause("max", backoff.max));
  if (!(backoff.factor >= 1 && backoff.factor <= kFactorMax)) {
    return field_error("factor", "factor is out of bounds: use 1 to 10");
  }
  if (backoff.first <= backoff.max) return absl::OkStatus();
  return field_error("first", "first is longer than max: no pause may be longer than that");
}

Status check_backoff(const FixedBackoff& backoff) { return check_pause("pause", backoff.pause); }

Status check_backoff(const ListedBackoff& backoff) {
  if (backoff.pauses.empty() || backoff.pauses.size() > limits::kBackoffPauses) {
    return field_error("pauses", "there are " + std::to_string(backoff.pauses.size()) +
                                     " pauses: list 1 to " +
                                     std::to_string(limits::kBackoffPauses));
  }
  for (const milliseconds pause : backoff.pauses) {
    WEFT_RETURN_IF_ERROR(check_pause("pauses", pause));
  }
  return absl::OkStatus();
}

}  // namespace

Status check_retry_policy(const RetryPolicy& policy) {
  if (policy.max_attempts < 1 || policy.max_attempts > limits::kAttemptsMax) {
    return field_error("max_attempts", "max_attempts is out of bounds: use 1 to " +
                                           std::to_string(limits::kAttemptsMax));
  }
  if (!(policy.jitter >= 0 && policy.jitter <= 1)) {
    return field_error("jitter", "jitter is out of bounds: use 0 to 1");
  }
  return std::visit([](const auto& backoff) { return check_backoff(backoff); }, policy.backoff);
}

milliseconds backoff_pause(const Backoff& backoff, uint32_t failures) {
  const uint32_t before = std::max(failures, 1u) - 1;
  const auto exponential = [before](const ExponentialBackoff& given) {
    // A power beyond all numbers is infinite, and bounded like any other.
    const double pause = static_cast<double>(given.first.count()) * std::pow(given.factor, before);
    return std::min(bounded(pause), given.max);
  };
  const auto fixed = [](const FixedBackoff& given) { return given.pause; };
  const auto listed = [before](const ListedBackoff& given) {
    if (given.pauses.empty()) return milliseconds(limits::kBackoffMs);
    return given.pauses[std::min<size_t>(before, given.pauses.size() - 1)];
  };
  return std::visit(Overloaded{exponential, fixed, listed}, backoff);
}

milliseconds longest_pause(const RetryPolicy& policy) {
  const auto exponential = [](const ExponentialBackoff& given) { return given.max; };
  const auto fixed = [](const FixedBackoff& given) { return given.pause; };
  const auto listed = [](const ListedBackoff& given) {
    const auto longest = std::max_element(given.pauses.begin(), given.pauses.end());
    return longest == given.pauses.end() ? milliseconds(limits::kBackoffMs) : *longest;
  };
  return std::visit(Overloaded{exponential, fixed, listed}, policy.backoff);
}

milliseconds with_jitter(milliseconds pause, double jitter, uint64_t random) {
  const double part = 1 + jitter * (2 * unit(random) - 1);
  return bounded(std::round(static_cast<double>(pause.count()) * part));
}

std::optional<milliseconds> decide_retry(const RetryPolicy& policy, uint32_t failures,
                                         uint64_t random, milliseconds at_least) {
  if (failures >= policy.max_attempts) return std::nullopt;
  const milliseconds pause =
      with_jitter(backoff_pause(policy.backoff, failures), policy.jitter, random);
  const milliseconds asked = std::min(at_least, longest_pause(policy));
  if (pause >= asked) return pause;
  // Whoever asks for a pause asks many jobs for the same one.
  return bounded(static_cast<double>(asked.count()) * (1 + policy.jitter * unit(random)));
}

}  // namespace weft
