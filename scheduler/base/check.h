// CHECK and DCHECK: broken invariants crash with a message; never used on outside input.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace weft::internal {

[[noreturn]] inline void check_failed(const char* file, int line, const char* what) {
  std::fprintf(stderr, "weft: broken invariant at %s:%d: %s\n", file, line, what);
  std::abort();
}

}  // namespace weft::internal

#define WEFT_CHECK(condition, message) \
  ((condition) ? (void)0               \
               : ::weft::internal::check_failed(__FILE__, __LINE__, #condition ": " message))

#ifdef NDEBUG
#define WEFT_DCHECK(condition, message) ((void)0)
#else
#define WEFT_DCHECK(condition, message) WEFT_CHECK(condition, message)
#endif
