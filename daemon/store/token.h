// Token: a worker's proof that a job's attempt is its own.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace weft {

// 128 random bits that name one start of one worker process.
struct Incarnation {
  uint64_t high = 0;
  uint64_t low = 0;
  bool operator==(const Incarnation&) const = default;
};

// Settling, chunks and progress carry the whole token; a stale one is refused and changes nothing.
class Token {
 public:
  Token() = default;
  Token(std::string id, uint64_t attempt_number, Incarnation incarnation)
      : job_id(std::move(id)), attempt(attempt_number), worker(incarnation) {}
  bool operator==(const Token&) const = default;

  std::string job_id;
  uint64_t attempt = 0;
  Incarnation worker;
};

}  // namespace weft
