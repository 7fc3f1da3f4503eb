// RetryPolicy: when an attempt that failed is followed by another. Pure: time and chance are given.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include <weft/base/limits.h>
#include <weft/base/status.h>

namespace weft {

// Each pause is `factor` times the one before, up to `max`.
struct ExponentialBackoff {
  std::chrono::milliseconds first{limits::kBackoffMs};
  double factor = 2;
  std::chrono::milliseconds max{limits::kBackoffMsMax};
  bool operator==(const ExponentialBackoff&) const = default;
};

struct FixedBackoff {
  std::chrono::milliseconds pause{limits::kBackoffMs};
  bool operator==(const FixedBackoff&) const = default;
};

// The pauses after the first, second, … failure; the last one also after all further ones.
struct ListedBackoff {
  std::vector<std::chrono::milliseconds> pauses;
  bool operator==(const ListedBackoff&) const = default;
};

using Backoff = std::variant<ExponentialBackoff, FixedBackoff, ListedBackoff>;

// {.max_attempts = 5, .backoff = FixedBackoff{10s}}
struct RetryPolicy {
  // Failures that end the job; 1: it is not retried.
  uint32_t max_attempts = limits::kAttempts;
  Backoff backoff = {};
  // 0 to 1: a pause p becomes a random one from p * (1 - jitter) to p * (1 + jitter), so that jobs
  // which failed together do not come back together.
  double jitter = 0.5;
  bool operator==(const RetryPolicy&) const = default;
};

// INVALID_ARGUMENT that names the field and what is allowed: pauses of 1 ms to 30 days, a factor of
// 1 to 10, 1 to limits::kAttemptsMax attempts, 1 to limits::kBackoffPauses listed pauses.
Status check_retry_policy(const RetryPolicy& policy);

// The pause after that many failures (1: after the first), without jitter.
std::chrono::milliseconds backoff_pause(const Backoff& backoff, uint32_t failures);
// No pause of the policy is longer, but for jitter.
std::chrono::milliseconds longest_pause(const RetryPolicy& policy);
// `random`: any 64 bits, uniform. At least 1 ms.
std::chrono::milliseconds with_jitter(std::chrono::milliseconds pause, double jitter,
                                      uint64_t random);

// What follows the failure that is the `failures`th: another attempt after this pause, or nothing:
// the job is dead. The pause is no shorter than `at_least`, as far as the policy's longest pause
// goes.
std::optional<std::chrono::milliseconds> decide_retry(const RetryPolicy& policy, uint32_t failures,
                                                      uint64_t random,
                                                      std::chrono::milliseconds at_least = {});

}  // namespace weft
