// Seeding from the kernel.
#include <sys/random.h>

#include <weft/base/check.h>
#include <weft/base/random.h>

namespace weft {

Random Random::from_system() {
  uint64_t seed = 0;
  WEFT_CHECK(getrandom(&seed, sizeof(seed), 0) == sizeof(seed), "the kernel gives random bytes");
  return Random(seed);
}

}  // namespace weft
