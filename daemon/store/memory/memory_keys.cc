// Idempotency keys by name and by time.
#include <weft/base/status.h>
#include <weft/store/memory/memory_keys.h>

namespace weft {
namespace {

constexpr int64_t kNever = INT64_MAX;

// Keys of all queues are in one map; a queue's name has no line end.
std::string name_of(const v1::JobSpec& spec) {
  return spec.queue() + "\n" + spec.idempotency_key();
}

}  // namespace

const MemoryKeys::Key* MemoryKeys::find(const v1::JobSpec& spec, int64_t now_ms) {
  if (spec.idempotency_key().empty()) return nullptr;
  const auto known = keys_.find(to_absl(name_of(spec)));
  if (known == keys_.end()) return nullptr;
  if (known->second.expire_ms > now_ms) return &known->second;
  expiring_.erase({known->second.expire_ms, known->first});
  keys_.erase(known);
  return nullptr;
}

void MemoryKeys::add(const v1::JobSpec& spec, std::string fingerprint) {
  if (spec.idempotency_key().empty()) return;
  keys_.emplace(name_of(spec), Key{spec.id(), std::move(fingerprint), kNever});
}

void MemoryKeys::expire(const v1::JobSpec& spec, int64_t expire_ms) {
  if (spec.idempotency_key().empty()) return;
  const auto known = keys_.find(to_absl(name_of(spec)));
  if (known == keys_.end() || known->second.job_id != spec.id()) return;
  known->second.expire_ms = expire_ms;
  expiring_.emplace(expire_ms, known->first);
}

size_t MemoryKeys::sweep(int64_t now_ms, size_t max_keys) {
  size_t count = 0;
  for (; count < max_keys && !expiring_.empty(); ++count) {
    const auto& [expire_ms, name] = *expiring_.begin();
    if (expire_ms > now_ms) break;
    keys_.erase(to_absl(name));
    expiring_.erase(expiring_.begin());
  }
  return count;
}

}  // namespace weft
